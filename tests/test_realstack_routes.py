"""fabctl's routes before the real judges: OpenSM installs them, the switches read back equal, ibdmchk finds nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from realstack import Dumps, Ibsim, ibdmchk

from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing import ENGINES
from fabctl.routing.opensm_files import lft_dump
from fabctl.routing.verify import verify
from fabctl.sources.reading import load_fabric, load_tables


def install(sim: Ibsim, tables: RoutingTables, folder: Path) -> tuple[Dumps, RoutingTables]:
    """Give tables to OpenSM's file engine; return its dumps and what the switches hold afterwards."""
    lfts = folder / "fabctl.lfts"
    lfts.write_text("".join(lft_dump(tables)))
    dumps = sim.opensm("file", lfts)
    read_back = folder / "read-back.txt"
    read_back.write_text(sim.dump_fts())
    return dumps, load_tables(str(read_back), tables.fabric)


@pytest.mark.parametrize("engine", ENGINES.names())
def test_routes_on_a_discovered_fabric(engine: str, fixtures: Path, tmp_path: Path) -> None:
    net = fixtures / "tool-output/ibnetdiscover.txt"
    tables = ENGINES.load(engine)(load_fabric(str(net)).fabric)
    with Ibsim(net, tmp_path) as sim:
        dumps, installed = install(sim, tables, tmp_path)
    np.testing.assert_array_equal(installed.lft, tables.lft)
    verdict = ibdmchk(dumps.subnet, dumps.fdbs, tmp_path)
    assert (verdict.paths, verdict.lost, verdict.credit_loop) == (56, 0, ())
