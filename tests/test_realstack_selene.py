"""A real supercomputer's fabric, routed by the real OpenSM, scored by fabctl: the numbers were computed without fabctl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from realstack import Ibsim


@pytest.mark.parametrize(("engine", "alltoall", "ebb"), [("minhop", 0.338, 0.570), ("sssp", 0.542, 0.626)])
def test_scores_of_opensm_s_routes(run: Any, fixtures: Path, tmp_path: Path, engine: str, alltoall: float, ebb: float) -> None:
    net = fixtures / "ibnetdiscover/selene-compute-2021.txt"
    tables = tmp_path / "tables.txt"
    with Ibsim(net, tmp_path, host="H-0c42a103002559fe") as sim:
        sim.opensm(engine, dump=False)
        tables.write_text(sim.dump_fts())
    data = json.loads(run("route", net, "--tables", tables, "-o", "json").out)["data"]
    quality = data["quality"]
    assert (quality["hca_ports"], quality["alltoall_ideal_load"]) == (3664, 3663)
    assert quality["alltoall_fraction"] == pytest.approx(alltoall, abs=0.0005)
    assert quality["ebb_fraction"] == pytest.approx(ebb, abs=0.005)
    if engine == "minhop":
        assert quality["alltoall_max_load"] == 10_830
    assert data["verification"]["lost_hca_pairs"] == 0
    assert data["verification"]["credit_loop"], "neither engine avoids credit loops"
