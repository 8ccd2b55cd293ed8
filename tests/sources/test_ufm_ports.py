"""UFM's list of ports: a fabric that UFM shows is the fabric that it is of."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from emulator.ufm_server import ports
from small_fabrics import two_levels

from fabctl.model.fabric import Fabric
from fabctl.sources.reading import load_fabric
from fabctl.sources.ufm_ports import parse

FABRICS: dict[str, Callable[[Path], Fabric]] = {
    "rails": lambda project: two_levels(6, 3, 2, rails=2),
    "dgx1": lambda project: load_fabric(str(project / "topologies/dgx1-16.yaml")).fabric,
    "dragonfly": lambda project: load_fabric(str(project / "topologies/dragonfly-1056.yaml")).fabric,
}


def cables(fabric: Fabric) -> list[tuple[str, int, int]]:
    channels = range(len(fabric.channel_port))
    return sorted((fabric.cable_label(c), int(fabric.channel_lanes[c]), int(fabric.channel_speed[c])) for c in channels)


@pytest.mark.parametrize("name", FABRICS)
@pytest.mark.parametrize("indent", [None, 4])
def test_what_ufm_shows_is_read_back(project: Path, name: str, indent: int | None) -> None:
    fabric = FABRICS[name](project)
    shown: list[dict[str, Any]] = ports(fabric)
    random.Random(7).shuffle(shown)
    read, report = parse(json.dumps(shown, indent=indent), "ports.json")
    remarks = (report.unknown, report.one_sided, report.undeclared, report.disagreements, report.duplicates)
    assert not any(remarks)
    assert cables(read) == cables(fabric)
    assert read.node_name == fabric.node_name
    assert read.node_kind.tolist() == fabric.node_kind.tolist()
    assert [read.node_lid(node) for node in range(read.n_nodes)] == [fabric.node_lid(node) for node in range(fabric.n_nodes)]
    assert read.port_guid[read.endpoints].tolist() == fabric.port_guid[fabric.endpoints].tolist()
