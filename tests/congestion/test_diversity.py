"""Hashes, LIDs and local choices: every queue pair on an allowed path, seeds that reproduce, and published bandwidths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from adaptive_oracles import group_of
from hypothesis import given, settings
from hypothesis import strategies as st
from routing_oracles import plain_path, random_fabrics

from fabctl.congestion.adaptive_groups import Groups, adaptive_groups
from fabctl.congestion.adaptive_local import local_channels
from fabctl.congestion.adaptive_quality import Ask, adaptive_quality, bisection, fluid_lay, local_lay
from fabctl.congestion.diversity import hashed_channels, lid_channels
from fabctl.congestion.load import flow_channels
from fabctl.congestion.quality import effective_bisection
from fabctl.errors import InputError, RefusedError
from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric
from fabctl.model.flows import Flows, unit_flows
from fabctl.model.phases import Channels
from fabctl.model.tables import RoutingTables
from fabctl.routing.compute import compute_tables
from fabctl.sources.reading import load_fabric

LMC = "family: leaf-spine\nhosts_per_leaf: 4\nleaves: 4\nspines: 4\nspeed: EDR\nlmc: 2\n"


def clos512(project: Path) -> RoutingTables:
    """512 hosts on 32-port crossbars, at most three on a path."""
    return compute_tables(load_fabric(str(project / "topologies/xgft-512.yaml")).fabric, "ftree")


def paths(channels: Channels) -> list[list[int]]:
    return [channels.index[channels.ptr[flow] : channels.ptr[flow + 1]].tolist() for flow in range(len(channels))]


def is_way(groups: Groups, path: set[int], src: int, dst: int) -> bool:
    """Return whether channels, in any order, are one path of the groups from port to port."""
    fabric = groups.fabric
    if src == dst:
        return not path
    left, channel = set(path), int(fabric.channel_of_port[src])
    while channel in left:
        left.remove(channel)
        node = int(fabric.channel_dst[channel])
        if node >= fabric.n_switches:
            return not left and node == fabric.port_node[dst]
        nexts = group_of(groups, node, dst) or {int(fabric.channel_reverse[fabric.channel_of_port[dst]])}
        channel = next(iter(nexts & left), -1)
    return False


@settings(max_examples=40, deadline=None)
@given(random_fabrics(), st.integers(0, 1000), st.integers(1, 6), st.sampled_from(["tree", "lag"]))
def test_every_queue_pair_takes_a_way_of_the_groups(fabric: Fabric, seed: int, qps: int, mode: str) -> None:
    tables = compute_tables(fabric, "minhop")
    src, dst = np.random.default_rng(seed).choice(fabric.endpoints, (2, 8)).astype(np.int32)
    flows = unit_flows(src, dst)
    groups = adaptive_groups(tables, dst, mode)
    one, share = hashed_channels(tables, flows, mode, seed=seed, groups=groups)
    assert set(share.tolist()) <= {1.0}
    local = local_channels(tables, flows, mode, seed=seed, groups=groups)
    probing = local_channels(tables, flows, mode, seed=seed, groups=groups, probing=True)
    for found in (one, local, probing):
        assert all(is_way(groups, set(path), *pair) for path, *pair in zip(paths(found), src.tolist(), dst.tolist(), strict=True))
    again, same = hashed_channels(tables, flows, mode, seed=seed, qps=qps)
    out = np.bincount(fabric.channel_src[again.index], same, fabric.n_nodes) + np.bincount(
        fabric.port_node[dst], src != dst, fabric.n_nodes
    )
    into = np.bincount(fabric.channel_dst[again.index], same, fabric.n_nodes) + np.bincount(
        fabric.port_node[src], src != dst, fabric.n_nodes
    )
    np.testing.assert_allclose(out, into)
    np.testing.assert_allclose(same * qps, np.rint(same * qps))


def test_seeds_reproduce_and_differ(project: Path) -> None:
    tables = clos512(project)
    ports = tables.fabric.endpoints
    flows = unit_flows(ports, np.roll(ports, 100))
    for lay in (
        lambda seed: hashed_channels(tables, flows, "tree", seed=seed, qps=2)[0].index,
        lambda seed: local_channels(tables, flows, "tree", seed=seed).index,
    ):
        np.testing.assert_array_equal(lay(1), lay(1))
        assert lay(1).tolist() != lay(2).tolist()


def test_a_hash_neither_prefers_ports_nor_follows_the_switch_below(project: Path) -> None:
    """Queue pairs of 512 flows to other leaves spread over 16 ports: chi-squared with 15 degrees of freedom stays below 60."""
    tables = clos512(project)
    fabric, ports = tables.fabric, tables.fabric.endpoints
    flows = unit_flows(ports, np.roll(ports, 160))
    channels, share = hashed_channels(tables, flows, "tree", seed=9, qps=16)
    up = (fabric.channel_src[channels.index] < fabric.n_switches) & (
        fabric.tiers[np.minimum(fabric.channel_dst[channels.index], fabric.n_switches - 1)] == 1
    )
    up &= fabric.channel_dst[channels.index] < fabric.n_switches
    spine = fabric.channel_dst[channels.index[up]]
    count = np.bincount(spine, share[up] * 16)
    count = count[count > 0]
    assert (len(count), count.sum()) == (16, 512 * 16)
    assert ((count - 512) ** 2 / 512).sum() < 60


def test_hashed_flows_are_the_published_random_routes(project: Path) -> None:
    """Flows on random nearest common ancestors: eBB 0.6853 on XGFT(2;16,32;1,16), against 0.8118 by D-mod-k."""
    tables = clos512(project)
    ports = tables.fabric.endpoints
    groups = adaptive_groups(tables, ports, "tree")
    found = bisection(ports, lambda flows, _: hashed_channels(tables, flows, "tree", seed=3, groups=groups), samples=150, seed=1)
    assert found.mean == pytest.approx(0.6853, abs=found.ci99 + 0.001)


def test_adaptive_routing_of_512_nodes(project: Path) -> None:
    """docs/adaptive.md: the published 38 % and 77 % lie where static random and probing routes put exchanges."""
    tables = clos512(project)
    ports = tables.fabric.endpoints
    groups = adaptive_groups(tables, ports, "tree")
    assert bisection(ports, fluid_lay(tables, groups), samples=20, seed=1).mean == 1.0
    static = effective_bisection(tables, ports, samples=60)
    local = bisection(ports, local_lay(tables, groups, 1), samples=60, seed=1)
    assert local.mean == pytest.approx(static.mean, abs=0.015)

    def probing(flows: Flows, turn: int) -> tuple[Channels, None]:
        return local_channels(tables, flows, "tree", seed=turn, probing=True, groups=groups), None

    hashed = bisection(
        ports, lambda flows, _: hashed_channels(tables, flows, "tree", seed=3, groups=groups), samples=40, seed=1, exchange=True
    )
    probed = bisection(ports, probing, samples=20, seed=1, exchange=True)
    assert hashed.mean == pytest.approx(0.40, abs=0.02)
    assert probed.mean == pytest.approx(0.73, abs=0.02)
    assert bisection(ports, probing, samples=20, seed=1).mean > 0.99


def test_exchanges_count_the_slower_way(project: Path) -> None:
    tables = compute_tables(load_fabric(str(project / "topologies/xgft-16.yaml")).fabric, "ftree")
    ports = tables.fabric.endpoints
    found = bisection(ports, lambda flows, _: (Channels(*flow_channels(tables, flows)), None), samples=30, seed=2, exchange=True)
    order = np.random.default_rng(2).permuted(np.broadcast_to(ports, (30, 16)), axis=1)
    means = []
    for row in order.tolist():
        pairs = list(zip(row[:8], row[8:], strict=True))
        there = [plain_path(tables, one, other) for one, other in pairs]
        back = [plain_path(tables, other, one) for one, other in pairs]
        load = np.bincount(np.concatenate(there + back))
        means.append(np.mean([1 / max(load[one].max(), load[other].max()) for one, other in zip(there, back, strict=True)]))
    assert found.mean == pytest.approx(np.mean(means))


# ---- LIDs ----------------------------------------------------------------------------------------------------------


def test_queue_pairs_take_turns_at_the_lids_of_a_port() -> None:
    tables = compute_tables(parse(LMC, "spec.yaml")[0], "minhop")
    fabric, ports = tables.fabric, tables.fabric.endpoints
    flows = unit_flows(np.repeat(ports[:2], 2), np.repeat(ports[9:11], 2))
    ptr, index = flow_channels(tables, flows)
    for qps, turns in ((1, [[0], [1]] * 2), (4, [[0, 1, 2, 3]] * 4), (3, [[0, 1, 2], [3, 0, 1]] * 2)):
        channels, share = lid_channels(tables, flows, qps=qps)
        for flow, offsets in enumerate(turns):
            wanted = np.zeros(len(fabric.channel_port))
            for offset in offsets:
                lids = fabric.port_lid.copy()
                lids[flows.dst[flow]] += offset
                wanted[
                    plain_path(replace(tables, fabric=replace(fabric, port_lid=lids)), int(flows.src[flow]), int(flows.dst[flow]))
                ] += 1 / qps
            part = slice(channels.ptr[flow], channels.ptr[flow + 1])
            np.testing.assert_allclose(np.bincount(channels.index[part], share[part], len(wanted)), wanted)
    assert sorted(lid_channels(tables, flows)[0].index[: ptr[1]].tolist()) == sorted(index[: ptr[1]].tolist())


def test_without_an_lmc_lids_change_nothing(project: Path) -> None:
    tables = compute_tables(load_fabric(str(project / "topologies/xgft-64.yaml")).fabric, "ftree")
    ports = tables.fabric.endpoints
    flows = unit_flows(ports, np.roll(ports, 5))
    channels, share = lid_channels(tables, flows, seed=4, qps=3)
    ptr, index = flow_channels(tables, flows)
    assert [sorted(path) for path in paths(channels)] == [sorted(path) for path in paths(Channels(ptr, index))]
    np.testing.assert_allclose(share, 1.0)


def test_lids_beyond_the_tables_are_named() -> None:
    tables = compute_tables(parse(LMC, "spec.yaml")[0], "minhop")
    ports = tables.fabric.endpoints
    last = ports[np.argmax(tables.fabric.port_lid[ports])]
    cut = replace(tables, lft=tables.lft[:, : tables.fabric.port_lid[last] + 1])
    with pytest.raises(InputError, match="no table has an entry for LID"):
        lid_channels(cut, unit_flows(ports[:1], np.array([last])), qps=4)


def test_more_queue_pairs_spread_better() -> None:
    """Hottest channel of a shift over 20 seeds: 16 queue pairs per flow beat one."""
    tables = compute_tables(parse(LMC, "spec.yaml")[0], "minhop")
    ports = tables.fabric.endpoints
    flows = unit_flows(ports, np.roll(ports, 4))

    def hottest(qps: int, seed: int) -> float:
        channels, share = lid_channels(tables, flows, seed=seed, qps=qps)
        return float(np.bincount(channels.index, share).max())

    assert np.mean([hottest(16, seed) for seed in range(20)]) < 0.9 * np.mean([hottest(1, seed) for seed in range(20)])
    ebb = effective_bisection(tables, ports, samples=20)
    quality = adaptive_quality(tables, ports, flows, Ask(hash_seed=3, qps=16), traffic="shift:4", static_ebb=ebb, samples=20)
    assert [spread.name for spread in quality.spreads] == ["static", "hash"]
    assert quality.spreads[1].hottest == hottest(16, 3)


def test_nothing_to_choose_is_refused(project: Path) -> None:
    fabric = load_fabric(str(project / "topologies/xgft-64.yaml")).fabric
    tables = compute_tables(fabric, "ftree")
    ports = tables.fabric.endpoints
    ebb = effective_bisection(tables, ports, samples=2)
    for ask, why in ((Ask("lag"), "no group has more than one port"), (Ask(hash_seed=1), "LMC 0")):
        with pytest.raises(RefusedError, match=why):
            adaptive_quality(tables, ports, None, ask, traffic="all-to-all", static_ebb=ebb, samples=2)
