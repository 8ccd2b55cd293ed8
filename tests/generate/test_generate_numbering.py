"""GUIDs, LIDs, ports and names follow the tree: what destination-modulo routing counts on."""

from __future__ import annotations

import os
import subprocess
import sys
from math import prod
from pathlib import Path

import numpy as np
import pytest

from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric

LEAF_SPINE = "family: leaf-spine\nhosts_per_leaf: 3\nleaves: 4\nspines: 2\ncables: 2\nspeed: EDR\n"


def fabric_of(text: str) -> Fabric:
    return parse(text, "spec.yaml")[0]


def dmodk_loads(m: list[int], w: list[int], flows: list[tuple[int, int]]) -> list[int]:
    """Send flows by the paper's rule and port numbers alone; return the load of each used channel.

    At level l towards host d: in d's subtree down on port ``a_l + 1``, else up on port ``m_l + b_{l+1} + 1`` with
    ``b_{l+1} = d // (w_1 ... w_l) % w_{l+1}``.
    """
    fabric = fabric_of(f"family: xgft\nm: {m}\nw: {w}\nspeed: EDR\n")
    starts = np.cumsum([0, *(prod(m[level:]) * prod(w[:level]) for level in range(1, len(m) + 1))]).tolist()
    loads: dict[int, int] = {}
    for source, destination in flows:
        channel = int(fabric.channel_ptr[fabric.n_switches + source])
        for _ in range(2 * len(m)):
            loads[channel] = loads.get(channel, 0) + 1
            switch = int(fabric.channel_dst[channel])
            if switch >= fabric.n_switches:
                break
            level = next(level for level in range(1, len(m) + 1) if switch < starts[level])
            subtree = (switch - starts[level - 1]) // prod(w[:level])
            if subtree == destination // prod(m[:level]):
                port = destination // prod(m[: level - 1]) % m[level - 1] + 1
            else:
                port = m[level - 1] + destination // prod(w[:level]) % w[level] + 1
            channel = int(fabric.channel_at[switch, port])
        assert fabric.channel_dst[channel] == fabric.n_switches + destination
    return list(loads.values())


@pytest.mark.parametrize(("m", "w"), [([4, 4], [1, 4]), ([4, 4, 4], [1, 4, 4]), ([2, 3, 4], [1, 2, 3]), ([2] * 4, [1, 2, 2, 2])])
def test_dmodk_on_these_ports_makes_every_shift_free_of_contention(m: list[int], w: list[int]) -> None:
    hosts = prod(m)
    for shift in range(1, hosts):
        assert max(dmodk_loads(m, w, [(host, (host + shift) % hosts) for host in range(hosts)])) == 1


def test_tapered_leaves_carry_the_closed_form_all_to_all() -> None:
    flows = [(source, destination) for source in range(128) for destination in range(128) if source != destination]
    assert max(dmodk_loads([16, 8], [1, 8], flows)) == 16 * 112 // 8 == 224


def test_ports_go_down_first_then_up_in_the_order_of_the_neighbours() -> None:
    fabric = fabric_of(LEAF_SPINE)
    assert [fabric.cable_label(channel) for channel in range(fabric.channel_ptr[1])] == [
        "leaf-01/P1 -> node-0001 mlx5_0/P1",
        "leaf-01/P2 -> node-0002 mlx5_0/P1",
        "leaf-01/P3 -> node-0003 mlx5_0/P1",
        "leaf-01/P4 -> spine-01/P1",
        "leaf-01/P5 -> spine-01/P2",
        "leaf-01/P6 -> spine-02/P1",
        "leaf-01/P7 -> spine-02/P2",
    ]
    assert fabric.cable_label(int(fabric.channel_ptr[4]) + 2) == "spine-01/P3 -> leaf-02/P4"


def test_switches_come_level_by_level_and_hosts_by_leaf_and_port() -> None:
    fabric = fabric_of("family: fat-tree\nradix: 4\nlevels: 3\nspeed: EDR\n")
    switches, hcas = fabric.n_switches, np.arange(fabric.n_switches, fabric.n_nodes)
    assert np.all(np.diff(fabric.node_guid.astype(object)) > 0)
    assert np.all(np.diff(fabric.tiers) >= 0)
    leaf = fabric.channel_dst[fabric.channel_ptr[hcas]]
    port = fabric.port_number[fabric.port_peer[fabric.channel_port[fabric.channel_ptr[hcas]]]]
    places = list(zip(leaf.tolist(), port.tolist(), strict=True))
    assert places == sorted(places)
    assert [fabric.labels[node] for node in hcas] == sorted(fabric.labels[node] for node in hcas)
    assert fabric.labels[:switches] == (
        *(f"leaf-0{number}" for number in range(1, 9)),
        *(f"spine-0{number}" for number in range(1, 9)),
        *(f"core-0{number}" for number in range(1, 5)),
    )


def test_lids_are_dense_hcas_first_then_switches_then_aggregation_nodes() -> None:
    fabric = fabric_of(LEAF_SPINE + "aggregation_nodes: true\n")
    lids = [fabric.node_lid(node) for node in range(fabric.n_nodes)]
    assert lids == [*range(13, 19), *range(1, 13), *range(19, 25)]
    assert sorted(fabric.port_lid[fabric.port_lid > 0].tolist()) == list(range(1, 25))
    assert fabric.port_of_lid.tolist().count(-1) == 1


def test_guids_are_locally_administered_and_unique_down_to_the_port() -> None:
    fabric = fabric_of(LEAF_SPINE + "aggregation_nodes: true\n")
    first_octet = fabric.node_guid >> np.uint64(56)
    assert set(first_octet.tolist()) == {0x02}
    named = fabric.port_guid[fabric.port_guid > 0]
    assert len(named) == fabric.n_nodes
    assert len(set(named.tolist())) == fabric.n_nodes
    assert fabric.guid_text(0) == "0x02fab00100000000"
    assert fabric.guid_text(4) == "0x02fab00200000000"
    assert fabric.guid_text(6) == "0x02fab04000000000"


def test_only_joined_ports_have_speed_and_width() -> None:
    fabric = fabric_of(LEAF_SPINE + "width: 2\n")
    joined = fabric.port_peer >= 0
    assert set(fabric.port_lanes[joined].tolist()) == {2}
    assert set(fabric.port_number[~joined].tolist()) == {0}
    assert not fabric.port_lanes[~joined].any()
    assert not fabric.port_speed[~joined].any()


def test_the_same_spec_gives_the_same_bytes_in_every_process(project: Path) -> None:
    code = (
        "import sys; from fabctl.sources.reading import load_fabric\n"
        "print(*(load_fabric(path).fabric.digest for path in sys.argv[1:]))"
    )
    paths = sorted(str(path) for path in (project / "topologies").glob("*.yaml"))
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, *paths],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(project)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(set(digests.pop().split())) == len(paths)
