"""A pair explained: routes and loads by plain walks, rates by hand, and changes that keep what they promise once made."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from families import build
from pair_oracles import fair_rates_by_hand, job_of, routed
from small_fabrics import dmodk, two_levels, walked

from fabctl.cli.job_files import read_jobs
from fabctl.congestion.explain import pairs_through
from fabctl.congestion.load import channel_loads
from fabctl.congestion.pair import Question, explain_pair
from fabctl.congestion.phases import phase_channels
from fabctl.congestion.slowdown import interference
from fabctl.congestion.trace import trace, with_entry
from fabctl.errors import RefusedError
from fabctl.model.builder import FabricBuilder
from fabctl.model.ends import RailPair, find_end, rail_pairs
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.flows import Flows, unit_flows
from fabctl.model.lookup import find_switch
from fabctl.model.pairs import PairExplanation, Trial
from fabctl.model.phases import Channels, JobTraffic, Phase
from fabctl.model.rates import payload_rates
from fabctl.model.tables import RoutingTables
from fabctl.routing.verify import verify
from fabctl.sources.reading import load_fabric
from fabctl.traffic.patterns import alltoall
from fabctl.traffic.phases import jobs_traffic
from fabctl.units import Speed

GB = 1e9


def ask(
    tables: RoutingTables, first: str, second: str, *jobs: JobTraffic, command: str = "", safe: bool | None = None
) -> PairExplanation:
    fabric = tables.fabric
    pairs = rail_pairs(fabric, find_end(fabric, first), find_end(fabric, second))
    question = Question(pairs, jobs, lambda changed: verify(changed).safe if safe is None else safe, command)
    return explain_pair(tables, payload_rates(fabric), question)


def trial_of(found: PairExplanation, kind: str) -> Trial:
    return next(trial for trial in found.trials if trial.kind == kind)


def with_trial(tables: RoutingTables, what: str) -> RoutingTables:
    """Return tables with the entry that a trial names."""
    match = re.fullmatch(
        r"at (?P<switch>\S+) send LID (?P<lid>\d+) \(.*\) out of port (?P<port>\d+) instead of (?P<old>\d+)", what
    )
    assert match is not None
    switch, lid = find_switch(tables.fabric, match["switch"]), int(match["lid"])
    assert tables.lft[switch, lid] == int(match["old"])
    return with_entry(tables, switch, lid, int(match["port"]))


def random_job(fabric: Fabric, seed: int) -> JobTraffic:
    rng = np.random.default_rng(seed)
    n = len(fabric.endpoints)
    pairs = [(a, b) for a, b in enumerate(rng.permutation(n).tolist()) if a != b]
    return job_of(fabric, None, pairs, GB)


# ---- what is said --------------------------------------------------------------------------------------------------------


def test_a_collision_is_named_with_its_flow_and_its_cure() -> None:
    fabric = two_levels(8, 4, 2)
    tables, rates = dmodk(fabric), payload_rates(fabric)
    traffic = job_of(fabric, range(8), [(0, 4), (1, 6)], GB)  # both LIDs even: both by spine 0
    found = ask(tables, "n0000", "n0004", traffic)
    leg = found.legs[found.worst]
    assert [hop.cable.label for hop in leg.hops] == [
        "n0000 mlx5_0/P1 -> leaf-0/P1",
        "leaf-0/P5 -> spine-0/P1",
        "spine-0/P2 -> leaf-1/P5",
        "leaf-1/P1 -> n0004 mlx5_0/P1",
    ]
    assert leg.hops[leg.now_binds].cable.label == "leaf-0/P5 -> spine-0/P1"
    assert (leg.alone_gb_s, leg.now_gb_s) == (pytest.approx(rates[0] / 1e9), pytest.approx(rates[0] / 2e9))
    assert [hop.step_bytes for hop in leg.hops] == [GB, 2 * GB, 2 * GB, GB]
    assert {hop.own_bytes for hop in leg.hops} == {GB}
    assert [(pair.source, pair.target) for pair in found.competitors] == [("n0001:0", "n0006:0")]
    assert found.competitors[0].gb_s == pytest.approx(rates[0] / 2e9)
    assert found.advice == trial_of(found, "entry")
    assert found.advice.what == "at leaf-0 send LID 1028 (n0004 mlx5_0/P1) out of port 6 instead of 5"
    assert found.advice.after_gb_s == pytest.approx(rates[0] / 1e9)
    assert found.advice.slowest == pytest.approx(0.5)


def test_the_way_back_is_a_leg_of_its_own() -> None:
    fabric = two_levels(8, 4, 2)
    found = ask(dmodk(fabric), "n0001", "n0004", job_of(fabric, range(8), [(0, 4)], GB))
    there, back = found.legs
    assert (there.source, there.target) == (back.target, back.source)
    assert [hop.cable.source[0] for hop in back.hops] == ["n0004 mlx5_0", "leaf-1", "spine-1", "leaf-0"]


def test_on_one_leaf_the_route_is_one_switch_and_the_host_cable_binds() -> None:
    fabric = two_levels(8, 4, 2)
    found = ask(dmodk(fabric), "n0000", "n0001", job_of(fabric, range(8), [(2, 5)], GB))
    assert [len(leg.hops) for leg in found.legs] == [2, 2]
    assert found.trials[0].kind == "none"
    assert found.trials[0].what.startswith("the host's own cable binds, n0000 mlx5_0/P1 -> leaf-0/P1")
    assert found.advice is None


def test_an_incast_is_no_fault_of_the_routes() -> None:
    fabric = two_levels(12, 4, 4)
    traffic = job_of(fabric, range(12), [(0, 4), (1, 4), (8, 4)], GB)
    found = ask(dmodk(fabric), "n0000", "n0004", traffic, command="fabctl route f --engine jobs")
    leg = found.legs[0]
    assert leg.hops[leg.now_binds].cable.label == "leaf-1/P1 -> n0004 mlx5_0/P1"
    assert trial_of(found, "entry").what == "no other next hop of equal length avoids the cable that binds"
    assert trial_of(found, "engine").command == "fabctl route f --engine jobs"


def test_two_rails_of_a_pair_that_share_a_cable() -> None:
    """The pair of NCCL issue 325: nothing else runs, and its own two rails collide between the switches."""
    fabric = build("xgft", "small")
    pairs = rail_pairs(fabric, find_end(fabric, "node-0001"), find_end(fabric, "node-0005"))
    tables = routed(fabric)
    fabric = tables.fabric
    ports = fabric.endpoints
    clash = next(
        (a, b)
        for a in range(4, 16)
        for b in range(a + 1, 16)
        if trace(tables, int(ports[0]), int(ports[a])).channels[1] == trace(tables, int(ports[1]), int(ports[b])).channels[1]
    )
    pairs = tuple(RailPair(-1, (int(ports[here]), int(ports[there]))) for here, there in enumerate(clash))
    rates = payload_rates(fabric)
    found = explain_pair(tables, rates, Question(pairs, (job_of(fabric, [15, 14], [(0, 1)], GB),), lambda changed: True))
    shared = found.legs[::2]
    assert [leg.alone_gb_s for leg in shared] == [pytest.approx(rates[0] / 2e9)] * 2
    assert trial_of(found, "entry").after_gb_s == pytest.approx(rates[0] / 1e9)


# ---- routes, loads and rates against oracles -----------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["xgft-faults", "torus", "dragonfly-plus", "rail-optimised", "random-regular"])
@pytest.mark.parametrize("seed", [1, 2])
def test_loads_and_rates_against_plain_python(family: str, seed: int) -> None:
    fabric = build(family, "small")
    tables = routed(fabric)
    fabric, rates = tables.fabric, payload_rates(tables.fabric)
    traffic = random_job(fabric, seed)
    phase = traffic.phases[0]
    first, second = (fabric.hosts.name[host] for host in (0, len(fabric.hosts.name) - 1))
    found = ask(tables, first, second, traffic)
    loads, counts = walked(tables, phase.flows), walked(tables, unit_flows(phase.flows.src, phase.flows.dst))
    own = {
        end
        for pair in rail_pairs(fabric, find_end(fabric, first), find_end(fabric, second))
        for end in (pair.ports, pair.ports[::-1])
    }
    others = [row for row in range(len(phase.flows)) if (int(phase.flows.src[row]), int(phase.flows.dst[row])) not in own]
    ends = [
        next(end for end in own if fabric.port_label(end[0]) == leg.source and fabric.port_label(end[1]) == leg.target)
        for leg in found.legs
    ]
    flows = Flows(
        np.concatenate(([end[0] for end in ends], phase.flows.src[others])).astype(np.int32),
        np.concatenate(([end[1] for end in ends], phase.flows.dst[others])).astype(np.int32),
        np.ones(len(ends) + len(others)),
    )
    together = replace(phase, flows=flows)
    by_hand = fair_rates_by_hand(phase_channels(tables, together), rates)
    alone = fair_rates_by_hand(
        phase_channels(
            tables, replace(phase, flows=Flows(flows.src[: len(ends)], flows.dst[: len(ends)], flows.weight[: len(ends)]))
        ),
        rates,
    )
    labels = [fabric.cable_label(channel) for channel in range(len(rates))]
    for row, leg in enumerate(found.legs):
        assert leg.now_gb_s * 1e9 == pytest.approx(by_hand[row])
        assert leg.alone_gb_s * 1e9 == pytest.approx(alone[row])
        assert walked(tables, Flows(flows.src[row : row + 1], flows.dst[row : row + 1], np.ones(1))).sum() == len(leg.hops)
        for hop in leg.hops:
            channel = labels.index(hop.cable.label)
            assert hop.step_bytes == loads[channel]
            assert sum(share.flows for share in hop.shares) == counts[channel]


@pytest.mark.parametrize("family", ["xgft-faults", "torus", "leaf-spine"])
def test_loads_of_an_all_to_all(family: str) -> None:
    fabric = build(family, "small")
    tables = routed(fabric)
    fabric, rates = tables.fabric, payload_rates(tables.fabric)
    loads = walked(tables, alltoall(fabric.endpoints))
    labels = [fabric.cable_label(channel) for channel in range(len(rates))]
    found = ask(tables, fabric.hosts.name[0], fabric.hosts.name[-1])
    n = len(fabric.endpoints)
    assert found.all_to_all_ports == n
    for leg in found.legs:
        channels = [labels.index(hop.cable.label) for hop in leg.hops]
        assert [hop.sources for hop in leg.hops] == loads[channels].tolist()
        assert leg.now_gb_s * 1e9 == pytest.approx(min(rates[channel] * (n - 1) / loads[channel] for channel in channels))


@pytest.mark.parametrize("family", ["xgft-faults", "torus", "leaf-spine"])
def test_flows_of_an_all_to_all_that_are_named_are_on_the_cable(family: str) -> None:
    tables = routed(build(family, "middle"))
    ports = tables.fabric.endpoints
    every = alltoall(ports)
    loads = walked(tables, every) if len(ports) < 70 else channel_loads(tables, every)
    for channel in np.linspace(0, len(loads) - 1, 25).astype(int).tolist():
        pairs = pairs_through(tables, ports, channel, 4)
        assert bool(pairs) is bool(loads[channel])
        assert len({target for _, target in pairs}) == len(pairs)
        for source, target in pairs:
            assert channel in trace(tables, source, target).channels


# ---- promises ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "size", "jobs"),
    [
        ("xgft", "small", True),
        ("xgft-faults", "small", True),
        ("xgft-faults", "middle", False),
        ("leaf-spine", "middle", True),
        ("leaf-spine", "middle", False),
        ("dragonfly-plus", "middle", True),
        ("torus", "middle", True),
    ],
)
def test_an_entry_gives_what_was_promised(family: str, size: str, jobs: bool) -> None:
    tables = routed(build(family, size))
    fabric = tables.fabric
    kept = 0
    for host in range(1, min(len(fabric.hosts.name), 12)):
        pair = fabric.hosts.name[0], fabric.hosts.name[-host]
        traffic = (random_job(fabric, host),) if jobs else ()
        if pair[0] == pair[1]:
            continue
        before = ask(tables, *pair, *traffic)
        trial = next((trial for trial in before.trials if trial.kind == "entry"), None)
        if trial is None or trial.after_gb_s is None:
            continue
        after = ask(with_trial(tables, trial.what), *pair, *traffic).legs[before.worst]
        assert after.now_gb_s == pytest.approx(trial.after_gb_s)
        assert after.hops[after.now_binds].cable.label == trial.binds
        assert len(after.hops) == len(before.legs[before.worst].hops)
        assert trial.helps is (trial.after_gb_s >= 1.01 * before.legs[before.worst].now_gb_s and (trial.slowest or 0) <= 1 + 1e-6)
        kept += 1
    assert kept


@pytest.mark.parametrize("seed", range(6))
def test_a_swap_gives_what_was_promised(seed: int) -> None:
    fabric = two_levels(16, 4, 4)
    tables = dmodk(fabric)
    rng = np.random.default_rng(seed)
    hosts = rng.permutation(16).tolist()
    ring = [(rank, (rank + 1) % 16) for rank in range(16)]
    pair = tuple(fabric.hosts.name[hosts[rank]] for rank in (0, 1))
    before = ask(tables, *pair, job_of(fabric, hosts, ring, GB))
    trial = next((trial for trial in before.trials if trial.kind == "swap"), None)
    if trial is None or trial.after_gb_s is None:
        return
    match = re.fullmatch(r"swap (n\d+) and (n\d+) in the rank order of job", trial.what)
    assert match is not None
    moved = {int(match[1][1:]): int(match[2][1:]), int(match[2][1:]): int(match[1][1:])}
    swapped = [moved.get(host, host) for host in hosts]
    names = [fabric.hosts.name[swapped[rank]] for rank in (0, 1)]
    after = ask(tables, *names, job_of(fabric, swapped, ring, GB))
    assert after.legs[before.worst].now_gb_s == pytest.approx(trial.after_gb_s)


def test_some_swap_was_promised() -> None:
    fabric = two_levels(8, 4, 2)
    traffic = job_of(fabric, range(8), [(0, 4), (1, 6), (2, 5), (3, 7)], GB)
    found = ask(dmodk(fabric), "n0000", "n0004", traffic)
    assert trial_of(found, "swap").helps


def test_the_other_rail_is_as_fast_as_is_said() -> None:
    fabric = two_levels(8, 4, 2, rails=2)
    tables, rates = dmodk(fabric), payload_rates(fabric)
    rail_0 = [port for port in fabric.endpoints.tolist() if fabric.labels[fabric.port_node[port]].endswith("mlx5_0")]
    src, dst = (np.array([rail_0[row] for row in rows], dtype=np.int32) for rows in ((0, 1), (4, 6)))
    phase = Phase("p", Flows(src, dst, np.full(2, GB)), np.array([0, 2], dtype=np.int32), np.array([8, 12], dtype=np.int32))
    traffic = JobTraffic("job", fabric.hosts.name, 2, (phase,))
    found = ask(tables, "n0000", "n0004", traffic)
    assert [leg.rail for leg in found.legs] == [0, 0, 1, 1]
    trial = trial_of(found, "rail")
    assert (trial.helps, trial.after_gb_s) == (True, pytest.approx(rates[0] / 1e9))
    assert trial.what.startswith("use rail 1 (n0000 mlx5_1/P1 > n0004 mlx5_1/P1)")


# ---- slow cables ---------------------------------------------------------------------------------------------------------


def degraded(fabric: Fabric, channel: int, *, lanes: int, speed: int) -> Fabric:
    port = int(fabric.channel_port[channel])
    ends = [port, int(fabric.port_peer[port])]
    port_lanes, port_speed = fabric.port_lanes.copy(), fabric.port_speed.copy()
    port_lanes[ends], port_speed[ends] = lanes, speed
    return replace(fabric, port_lanes=port_lanes, port_speed=port_speed)


@pytest.mark.parametrize(("lanes", "speed"), [(1, Speed.NDR), (4, Speed.EDR)], ids=["narrow", "slow"])
@pytest.mark.parametrize("hop", [0, 1, 2, 3])
@pytest.mark.parametrize("jobs", [True, False], ids=["job", "all-to-all"])
def test_a_slow_cable_on_the_way_comes_first(hop: int, lanes: int, speed: int, jobs: bool) -> None:
    whole = two_levels(12, 4, 4)
    traffic = (job_of(whole, range(12), [(0, 4), (8, 1)], GB),) if jobs else ()
    healthy = ask(dmodk(whole), "n0000", "n0004", *traffic)
    label = healthy.legs[0].hops[hop].cable.label
    channel = next(channel for channel in range(len(whole.channel_port)) if whole.cable_label(channel) == label)
    fabric = degraded(whole, channel, lanes=lanes, speed=speed)
    found = ask(dmodk(fabric), "n0000", "n0004", *traffic)
    first = found.trials[0]
    assert found.advice is first
    assert first.kind == "cable"
    assert label in first.what or label in first.what.replace("->", "<-")
    assert first.what.endswith(": its kind runs at 4xNDR")
    leg = found.legs[found.worst]
    assert first.after_gb_s == pytest.approx(healthy.legs[found.worst].now_gb_s)
    assert leg.hops[leg.now_binds].slower_than == "4xNDR"


def test_a_slow_cable_that_is_full_of_nothing_is_not_advised() -> None:
    whole = two_levels(8, 4, 2)
    tables = dmodk(whole)
    traffic = job_of(whole, range(8), [(0, 4), *((1, 6) for _ in range(9))], GB)
    channel = next(channel for channel in range(len(whole.channel_port)) if whole.cable_label(channel).startswith("leaf-1/P1 "))
    fabric = degraded(whole, channel, lanes=4, speed=Speed.HDR)
    found = ask(replace(tables, fabric=fabric), "n0000", "n0004", traffic)
    assert found.trials[0].kind == "cable"
    assert not found.trials[0].helps
    assert found.advice is not None
    assert found.advice.kind == "entry"


# ---- routes that are broken, and rates that are unknown ------------------------------------------------------------------


def test_a_lost_route_names_where_it_stops() -> None:
    fabric = two_levels(8, 4, 2)
    tables = dmodk(fabric)
    broken = with_entry(tables, find_switch(fabric, "spine-0"), 0x404, 255)
    found = ask(broken, "n0000", "n0004")
    (finding,) = found.findings
    assert (finding.code, finding.severity) == ("RTE201", "error")
    assert "spine-0 has no route to LID 1028 (n0004 mlx5_0/P1)" in finding.message
    assert [hop.cable.target[0] for hop in found.legs[0].hops] == ["leaf-0", "spine-0"]
    assert found.legs[1].problem == ""
    assert found.advice is None


def test_a_loop_names_where_it_turns() -> None:
    fabric = two_levels(8, 4, 2)
    tables = dmodk(fabric)
    broken = with_entry(tables, find_switch(fabric, "spine-0"), 0x404, 1)
    (finding,) = ask(broken, "n0000", "n0004").findings
    assert finding.code == "RTE202"
    assert "it is at leaf-0 again: LID 1028 loops" in finding.message


def test_traffic_that_ends_at_another_host() -> None:
    fabric = two_levels(8, 4, 2)
    broken = with_entry(dmodk(fabric), find_switch(fabric, "leaf-1"), 0x404, 2)
    (finding,) = ask(broken, "n0000", "n0004").findings
    assert "it ends at n0005 mlx5_0/P1" in finding.message


def test_a_loss_elsewhere_leaves_the_pair_explained() -> None:
    fabric = two_levels(8, 4, 2)
    broken = with_entry(dmodk(fabric), find_switch(fabric, "spine-1"), 0x405, 255)
    found = ask(broken, "n0000", "n0004")
    assert found.findings == ()
    assert found.notes[0].startswith("loads are not known: spine-1 has no route to LID 1029")
    assert found.legs[0].now_gb_s == pytest.approx(found.legs[0].alone_gb_s)


def test_unknown_rates_are_refused() -> None:
    fabric = two_levels(8, 4, 2, up_speed=Speed.UNKNOWN)
    with pytest.raises(RefusedError, match="no known rate, the first: leaf-0/P5 -> spine-0/P1"):
        ask(dmodk(fabric), "n0000", "n0004")


def test_an_entry_that_closes_a_loop_of_credits_is_not_offered() -> None:
    fabric = two_levels(8, 4, 2)
    traffic = job_of(fabric, range(8), [(0, 4), (1, 6)], GB)
    pairs = rail_pairs(fabric, find_end(fabric, "n0000"), find_end(fabric, "n0004"))
    found = explain_pair(dmodk(fabric), payload_rates(fabric), Question(pairs, (traffic,), lambda changed: False))
    assert trial_of(found, "entry").helps is False
    assert "could close a loop of credits" in trial_of(found, "entry").what


# ---- which leg it is about -----------------------------------------------------------------------------------------------


def test_legs_that_jobs_use_come_before_slower_ones_that_they_do_not() -> None:
    fabric = two_levels(8, 4, 2)
    crowd = [(4, 0), (5, 1)]  # both LIDs even: collide on spine 0 on the way back, where n0004 > n0000 is not in the job
    used = ask(dmodk(fabric), "n0000", "n0005", job_of(fabric, range(8), [(0, 5), (6, 2), (7, 0)], GB))
    assert used.worst == 0
    unused = ask(dmodk(fabric), "n0001", "n0006", job_of(fabric, range(8), crowd, GB))
    assert unused.legs[unused.worst].now_gb_s == min(leg.now_gb_s for leg in unused.legs)


def test_the_host_s_cable_binds_where_several_are_full() -> None:
    fabric = two_levels(8, 4, 2)
    found = ask(dmodk(fabric), "n0000", "n0004", job_of(fabric, range(8), [(0, 4)], GB))
    assert {leg.now_binds for leg in found.legs} == {0}
    assert found.trials[-1].kind == "none"


def test_the_worst_flow_of_eight_jobs_on_selene(fixtures: Path, project: Path) -> None:
    """The cable is the one that `fabctl job slowdown` names, and the loss is the job's."""
    fabric = load_fabric(str(fixtures / "ibnetdiscover/selene-compute-2021.txt")).fabric
    specs, _ = read_jobs([str(project / "topologies/jobs/selene-8.yaml")])
    jobs, tables, rates = jobs_traffic(specs, fabric), routed(fabric), payload_rates(fabric)
    worst = max(interference(tables, jobs, rates).jobs, key=lambda row: row.slowdown)
    assert worst.binding is not None
    job = next(job for job in jobs if job.name == worst.name)
    flows = job.phases[0].flows
    channels = phase_channels(tables, job.phases[0])
    labels = [fabric.cable_label(channel) for channel in channels.index.tolist()]
    flow = int(np.searchsorted(channels.ptr, labels.index(worst.binding.cable.label), side="right") - 1)
    names = [fabric.port_label(int(port[flow])) for port in (flows.src, flows.dst)]
    found = ask(tables, *names, *jobs, safe=True)  # minhop's tables have credit loops on Selene as they are
    leg = found.legs[found.worst]
    assert leg.hops[leg.now_binds].cable.label == worst.binding.cable.label
    assert leg.alone_gb_s / leg.now_gb_s == pytest.approx(worst.slowdown, rel=0.01)
    assert {share.job for share in found.competing} == {name for name, _ in worst.binding.others}
    trial = trial_of(found, "entry")
    after = ask(with_trial(tables, trial.what), *names, *jobs, safe=True).legs[found.worst]
    assert after.now_gb_s == pytest.approx(trial.after_gb_s)
    assert trial.helps


@pytest.mark.parametrize("phases", [0, 1])
def test_jobs_that_send_nothing(phases: int) -> None:
    fabric = two_levels(8, 4, 2)
    idle = job_of(fabric, range(8), [], GB)
    found = ask(dmodk(fabric), "n0000", "n0004", JobTraffic(idle.name, idle.hosts, 1, idle.phases[:phases]))
    assert found.phases == ()
    assert [leg.now_gb_s for leg in found.legs] == [leg.alone_gb_s for leg in found.legs]
    assert [trial.kind for trial in found.trials] == ["none"]


def test_flows_that_no_table_routes_stay_where_they_are() -> None:
    fabric = two_levels(8, 4, 2)
    tables, rates = dmodk(fabric), payload_rates(fabric)
    tree = job_of(fabric, range(8), [(1, 4)], GB)
    phase = tree.phases[0]
    way = phase_channels(tables, phase)
    fixed = JobTraffic("sharp", tree.hosts, 1, (replace(phase, fixed=Channels(way.ptr, way.index)),))
    found = ask(tables, "n0000", "n0004", fixed)
    assert [(pair.source, pair.target, pair.target_port) for pair in found.competitors] == [("n0001:0", "(tree)", "(tree)")]
    leg = found.legs[found.worst]
    assert leg.now_gb_s * 1e9 == pytest.approx(rates[0] / 2)
    trial = trial_of(found, "entry")
    assert trial.after_gb_s is not None
    assert trial.after_gb_s * 1e9 == pytest.approx(rates[0] / 2)  # the host's cable is shared whatever the way


def test_a_pair_cabled_back_to_back() -> None:
    builder = FabricBuilder()
    for host in (1, 2):
        builder.node(NodeKind.CA, host, f"n{host} mlx5_0", ports=1)
        builder.port(host, 1, port_guid=host, lid=host)
    builder.link(1, 1, 2, 1, lanes=4, speed=Speed.HDR)
    builder.link(2, 1, 1, 1, lanes=4, speed=Speed.HDR)
    fabric = builder.build()
    tables = RoutingTables(fabric, np.full((0, 3), 255, dtype=np.uint8), "none")
    found = ask(tables, "n1", "n2")
    assert [len(leg.hops) for leg in found.legs] == [1, 1]
    assert found.trials[0].kind == "none"
