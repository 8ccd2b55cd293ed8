"""Placement: the factors of random orders on whole trees, oracles of the search's loads, and proposals that never lose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fabrics import dmodk, two_levels

from fabctl.bench.place import propose
from fabctl.bench.place_search import Ground, bounds, price, search, template
from fabctl.congestion.phases import phase_loads
from fabctl.congestion.slowdown import beside, interference, lay, step_s
from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.model.neighbourhoods import neighbourhoods
from fabctl.model.phases import JobTraffic
from fabctl.model.rates import payload_rates
from fabctl.model.tables import RoutingTables
from fabctl.routing.compute import compute_tables
from fabctl.sources import SOURCES
from fabctl.traffic.job import JobSpec, parse_jobs
from fabctl.traffic.phases import job_traffic, placed_traffic
from fabctl.traffic.placement import Job, place, place_jobs


def topology(text: str) -> Fabric:
    fabric: Fabric = SOURCES.load("topology").parse(text, "topology.yaml")[0]
    return fabric


@pytest.fixture(scope="module")
def leaf_spine() -> RoutingTables:
    """XGFT(2;18,36;1,18): 648 hosts, whole; ftree's tables there are D-mod-k."""
    return compute_tables(topology("family: xgft\nm: [18, 36]\nw: [1, 18]\nspeed: EDR\n"), "ftree")


@pytest.fixture(scope="module")
def fat_tree() -> RoutingTables:
    """The whole tree of 1,024 hosts in three levels of 16-port switches."""
    return compute_tables(topology("family: fat-tree\nlevels: 3\nradix: 16\nspeed: EDR\n"), "ftree")


def asked(fabric: Fabric, text: str) -> list[tuple[JobSpec, Job]]:
    specs = parse_jobs(text, "jobs.yaml")
    return list(zip(specs, place_jobs(specs, fabric), strict=True))


def proposed(tables: RoutingTables, text: str, **options: int):
    return propose(tables, asked(tables.fabric, text), payload_rates(tables.fabric), **options)


# ---- the factors of models.md 1.4 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("routes", "mean"), [("leaf_spine", 4.71), ("fat_tree", 5.17)])
def test_a_ring_is_placed_as_fast_as_the_hosts_allow(request: pytest.FixtureRequest, routes: str, mean: float) -> None:
    tables = request.getfixturevalue(routes)
    found = proposed(tables, "hosts: all\norder: random\ncollective: all_reduce\nsize: 1G\n").jobs[0]
    assert found.proposed_s == pytest.approx(found.bound_s)
    assert found.gain_over_random == pytest.approx(mean, rel=0.1)
    assert found.gain >= 4


@pytest.mark.parametrize(("routes", "mean"), [("leaf_spine", 5.96 / 2), ("fat_tree", 6.27 / 2)])
def test_a_double_binary_tree_is_placed_at_twice_the_message(request: pytest.FixtureRequest, routes: str, mean: float) -> None:
    """2.00 S on the hottest channel in the tree's order; random order 5.96 S and 6.27 S on the mean."""
    tables = request.getfixturevalue(routes)
    fabric, rates = tables.fabric, payload_rates(tables.fabric)
    spec = parse_jobs("hosts: all\ncollective: all_reduce\nalgorithm: tree\nsize: 1G\n", "job.yaml")[0]
    job = place(spec, fabric)
    flows = template(job_traffic(spec, fabric), job.ports)
    tree = neighbourhoods(fabric, job.ports[:, 0])
    nobody = np.zeros(len(rates))
    ground = Ground(tables, job.ports, tree.leaf, rates, nobody, nobody)
    message = (1 << 30) / rates.max()
    every = np.arange(job.n_hosts)
    assert price(ground, flows, tree.packed(every, job.n_hosts)) == pytest.approx(2 * message)
    drawn = [price(ground, flows, np.random.default_rng(seed).permutation(job.n_hosts)) for seed in range(10)]
    assert np.mean(drawn) / (2 * message) == pytest.approx(mean, rel=0.1)
    scrambled = np.random.default_rng(1).permutation(job.n_hosts)
    best, cost = search(ground, flows, [scrambled, tree.packed(every, job.n_hosts)])
    assert cost == pytest.approx(2 * message)
    assert sorted(best) == every.tolist()


def test_moves_alone_bring_a_random_ring_to_the_bound(leaf_spine: RoutingTables) -> None:
    """Without the tree's order among the starts."""
    fabric, rates = leaf_spine.fabric, payload_rates(leaf_spine.fabric)
    spec = parse_jobs("hosts: all\ncollective: all_reduce\nsize: 1G\n", "job.yaml")[0]
    job = place(spec, fabric)
    flows = template(job_traffic(spec, fabric), job.ports)
    nobody = np.zeros(len(rates))
    ground = Ground(leaf_spine, job.ports, neighbourhoods(fabric, job.ports[:, 0]).leaf, rates, nobody, nobody)
    start = np.random.default_rng(3).permutation(job.n_hosts)
    best, cost = search(ground, flows, [start])
    assert price(ground, flows, start) > 4 * bounds(ground, flows).sum()
    assert cost == pytest.approx(bounds(ground, flows).sum())
    assert cost == pytest.approx(price(ground, flows, best))


# ---- oracles -----------------------------------------------------------------------------------------------------------

SMALL = two_levels(16, 4, 2, rails=2)
SMALL_TABLES = dmodk(SMALL)
SENDS = st.sampled_from(
    [
        "collective: all_reduce",
        "collective: alltoall",
        "collective: [all_gather, alltoall], pxn: true",
        "pattern: shift, shift: 1",
    ]
    + [f"collective: all_reduce, algorithm: {name}" for name in ("tree", "halving-doubling", "sharp")]
)


@given(SENDS, st.permutations(range(8)), st.integers(0, 1 << 30))
@settings(max_examples=40, deadline=None)
def test_the_price_is_that_of_the_traffic_at_these_hosts(sends: str, order: list[int], seed: int) -> None:
    """The template with other rows, against the job placed there by name; background by flows and by what they take."""
    rates = payload_rates(SMALL)
    names = [f"n{number:04}" for number in range(8)]
    spec = parse_jobs(f"{{hosts: [{', '.join(names)}], {sends}, size: 1M}}", "job.yaml")[0]
    job = place(spec, SMALL)
    flows = template(placed_traffic(spec, job), job.ports)
    rng = np.random.default_rng(seed)
    others, taken = rng.integers(0, 3, len(rates)).astype(float), rng.random(len(rates))
    taken[others == 0] = 0.0
    ground = Ground(SMALL_TABLES, job.ports, np.zeros(8, dtype=np.int64), rates, others, taken)
    moved = placed_traffic(spec, replace(job, hosts=tuple(names[at] for at in order), ports=job.ports[order]))
    expected = 0.0
    for phase in moved.phases:
        if phase.fixed is None:
            loads = phase_loads(SMALL_TABLES, phase)
            unit = replace(phase, flows=replace(phase.flows, weight=np.ones(len(phase.flows))))
            count = phase_loads(SMALL_TABLES, unit)
            share = np.maximum(1 - taken, count / np.maximum(count + others, 1e-300))
            expected += phase.times * float((loads / rates / share)[loads > 0].max(initial=0.0))
    assert price(ground, flows, np.array(order)) == pytest.approx(expected)
    assert (len(flows.skipped) > 0) == any(phase.fixed is not None for phase in moved.phases)


@given(st.lists(st.integers(0, 15), min_size=4, max_size=16, unique=True), st.integers(2, 16))
def test_packed_hosts_are_on_as_few_leaves_as_possible(hosts: list[int], count: int) -> None:
    tree = neighbourhoods(SMALL, SMALL.endpoints[::2])
    count = min(count, len(hosts))
    chosen = tree.packed(np.array(hosts), count)
    assert len(set(chosen.tolist())) == count
    assert set(chosen.tolist()) <= set(hosts)
    size = sorted(np.bincount(np.array(hosts) // 4, minlength=4), reverse=True)
    fewest = next(leaves for leaves in range(1, 5) if sum(size[:leaves]) >= count)
    assert len(set(chosen // 4)) == fewest
    spread = tree.spread(np.array(hosts), count)
    per_leaf = np.bincount(spread // 4, minlength=4)
    have = np.bincount(np.array(hosts) // 4, minlength=4)
    assert all(per_leaf[leaf] == have[leaf] or per_leaf[leaf] >= per_leaf.max() - 1 for leaf in range(4))


def test_neighbourhoods_nest_pods_and_leaves(fat_tree: RoutingTables) -> None:
    """1,024 hosts of a three-level tree of 16-port switches: 16 pods of 64 hosts, leaves of 8."""
    tree = neighbourhoods(fat_tree.fabric, fat_tree.fabric.endpoints)
    assert np.array_equal(tree.leaf, np.arange(1024) // 8)
    assert np.array_equal(tree.level[-2], np.arange(1024) // 8)
    assert np.array_equal(tree.level[-3], np.arange(1024) // 64)
    assert not tree.level[0].any()
    assert np.array_equal(tree.order, np.arange(1024))


# ---- proposals ---------------------------------------------------------------------------------------------------------


def check_proposals(tables: RoutingTables, requests: list[tuple[JobSpec, Job]], others: list[JobTraffic], found) -> None:
    """Hosts are right ones, once each; times are those of the definition; nobody loses on average."""
    rates = payload_rates(tables.fabric)
    used = [host for job in others for host in job.hosts]
    after = []
    for (spec, job), proposal in zip(requests, found.jobs, strict=True):
        assert len(proposal.hosts) == len(job.hosts)
        assert set(proposal.hosts) == set(job.hosts) or spec.count
        used += proposal.hosts
        named = "[" + ", ".join(proposal.hosts) + "]"
        again = replace(spec, hosts=parse_jobs(f"hosts: {named}", "x")[0].hosts, count=0, placement="given", order="as-given")
        after.append(job_traffic(again, tables.fabric))
    assert len(set(used)) == len(used)
    judged = interference(tables, [*after, *others], rates)
    before = interference(tables, [*(placed_traffic(spec, job) for spec, job in requests), *others], rates)
    ratios = []
    for number, proposal in enumerate(found.jobs):
        assert proposal.proposed_s == pytest.approx(judged.jobs[number].shared_s)
        assert proposal.given_s == pytest.approx(before.jobs[number].shared_s)
        ratios.append(proposal.proposed_s / proposal.given_s if proposal.given_s else 1.0)
    assert np.mean(ratios) <= 1 + 1e-9


FABRICS = {
    "leaves under spines": SMALL_TABLES,
    "2:1": compute_tables(topology("family: xgft\nm: [4, 4]\nw: [1, 2]\nspeed: EDR\n"), "minhop"),
    "damaged tree": compute_tables(
        topology("family: xgft\nm: [2, 2, 4]\nw: [1, 2, 2]\nspeed: EDR\nremove:\n  cables: 4\n"), "updn"
    ),
    "torus": compute_tables(topology("family: torus\ndims: [4, 4]\nhosts_per_switch: 1\nspeed: EDR\n"), "torus-2QoS"),
}


@st.composite
def plans(draw: st.DrawFn) -> tuple[str, str, int]:
    """A fabric, up to three jobs, some with named hosts, and how many of them stay."""
    name = draw(st.sampled_from(sorted(FABRICS)))
    free = draw(st.permutations(FABRICS[name].fabric.hosts.name))
    lines, at = [], 0
    for number in range(draw(st.integers(1, 3))):
        size = draw(st.integers(2, 5))
        hosts = f"[{', '.join(free[at : at + size])}]" if draw(st.booleans()) else str(size)
        at += size
        lines.append(f"- {{name: j{number}, hosts: {hosts}, {draw(SENDS)}, size: 1M}}\n")
    return name, "jobs:\n" + "".join(lines), draw(st.integers(0, len(lines) - 1))


@given(plans())
@settings(max_examples=40, deadline=None)
def test_a_proposal_never_loses(plan: tuple[str, str, int]) -> None:
    name, text, stay = plan
    tables = FABRICS[name]
    every = asked(tables.fabric, text)
    others = [placed_traffic(*one) for one in every[:stay]]
    found = propose(tables, every[stay:], payload_rates(tables.fabric), others, hops=20_000)
    check_proposals(tables, every[stay:], others, found)
    if len(found.jobs) == 1:
        assert found.jobs[0].gain >= 1 - 1e-9


def test_placed_jobs_avoid_each_other(leaf_spine: RoutingTables) -> None:
    text = "jobs:\n" + "".join(
        f"- {{name: j{number}, hosts: {18 * (1 + number % 2)}, placement: 'random:{number}', collective: all_reduce, size: 1G}}\n"
        for number in range(6)
    )
    requests = asked(leaf_spine.fabric, text)
    found = propose(leaf_spine, requests, payload_rates(leaf_spine.fabric))
    check_proposals(leaf_spine, requests, [], found)
    assert found.turns == ("j1", "j3", "j5", "j0", "j2", "j4")
    assert [proposal.proposed_s for proposal in found.jobs] == pytest.approx([proposal.bound_s for proposal in found.jobs])
    assert max(proposal.gain for proposal in found.jobs) >= 2
    assert {proposal.free for proposal in found.jobs} == {648}


def test_a_running_job_is_avoided_and_counted(leaf_spine: RoutingTables) -> None:
    """A job that fills the even leaves' cables: the new one takes hosts that its traffic does not meet."""
    fabric, rates = leaf_spine.fabric, payload_rates(leaf_spine.fabric)
    running = (
        "hosts: ["
        + ", ".join(f"node-{host:04}" for host in range(1, 10))
        + ", "
        + ", ".join(f"node-{host:04}" for host in range(37, 46))
        + "]\npattern: shift\nshift: 9\n"
    )
    spec = parse_jobs(running, "running.yaml")[0]
    others = [job_traffic(spec, fabric)]
    requests = asked(fabric, "hosts: 20\ncollective: all_reduce\nsize: 1G\n")
    taken = set(others[0].hosts)
    found = propose(leaf_spine, requests, rates, others).jobs[0]
    assert not taken & set(found.hosts)
    assert found.proposed_s == pytest.approx(found.bound_s)


def test_the_same_request_gives_the_same_hosts(leaf_spine: RoutingTables) -> None:
    text = "hosts: 50\nplacement: random:5\ncollective: [all_reduce, alltoall]\nsize: 1G\n"
    assert proposed(leaf_spine, text) == proposed(leaf_spine, text)


def test_hosts_that_are_named_only_change_places(leaf_spine: RoutingTables) -> None:
    found = proposed(leaf_spine, "hosts: node-[0001-0300]\norder: random\ncollective: all_reduce\nsize: 1G\n").jobs[0]
    assert sorted(found.hosts) == sorted(found.given)
    assert found.free == 300
    assert found.proposed_s == pytest.approx(found.bound_s)


def test_a_good_order_stays(leaf_spine: RoutingTables) -> None:
    found = proposed(leaf_spine, "hosts: node-[0001-0036]\ncollective: all_reduce\nsize: 1G\n").jobs[0]
    assert (found.changed, found.gain) == (0, 1.0)


def test_unroutable_hosts_are_not_chosen() -> None:
    """A host whose LIDs no table has an entry for is not proposed."""
    requests = asked(SMALL, "hosts: 4\nplacement: random:5\ncollective: all_reduce\nsize: 1M\n")
    lost = min(set(SMALL.hosts.name) - set(requests[0][1].hosts))
    node_host = SMALL.hosts.node_host[SMALL.port_node[SMALL.endpoints]]
    lft = SMALL_TABLES.lft.copy()
    lft[:, SMALL.port_lid[SMALL.endpoints[node_host == SMALL.hosts.name.index(lost)]]] = 255
    found = propose(replace(SMALL_TABLES, lft=lft), requests, payload_rates(SMALL)).jobs[0]
    assert lost not in found.hosts
    assert found.free == 15


def test_transfers_cannot_be_moved() -> None:
    spec, job = asked(SMALL, "hosts: [n0001, n0002]\ncollective: all_reduce\nsize: 1M\n")[0]
    from fabctl.traffic.explicit import Transfer

    fixed = replace(spec, transfers=(Transfer("n0001", "n0002", 5, "flows.csv:1"),))
    with pytest.raises(InputError, match="cannot be moved"):
        propose(SMALL_TABLES, [(fixed, job)], payload_rates(SMALL))


def test_times_of_the_report_are_completions(leaf_spine: RoutingTables) -> None:
    """Beside a running job, a step takes what the max-min model says, not what the search's estimate says."""
    fabric, rates = leaf_spine.fabric, payload_rates(leaf_spine.fabric)
    others = [job_traffic(parse_jobs("hosts: node-[0100-0200]\ncollective: alltoall\nsize: 1G\n", "other.yaml")[0], fabric)]
    requests = asked(
        fabric, "hosts: [" + ", ".join(f"node-{host:04}" for host in range(1, 99, 7)) + "]\ncollective: all_reduce\nsize: 1G\n"
    )
    found = propose(leaf_spine, requests, rates, others)
    check_proposals(leaf_spine, requests, others, found)
    laid = lay(leaf_spine, placed_traffic(*requests[0]), rates)
    background = [lay(leaf_spine, others[0], rates).busiest]
    assert found.jobs[0].given_s == pytest.approx(step_s(laid.job, beside(laid, background, rates)))


def test_a_tree_of_switches_moves_out_of_the_way(leaf_spine: RoutingTables) -> None:
    """The search knows nothing of trees: what it starts from is tried as it is."""
    fabric, rates = leaf_spine.fabric, payload_rates(leaf_spine.fabric)
    busy = "hosts: [" + ", ".join(f"node-{host:04}" for host in range(1, 325)) + "]\norder: random\n"
    others = [job_traffic(parse_jobs(f"{busy}collective: all_reduce\nsize: 1G\n", "busy.yaml")[0], fabric)]
    text = "hosts: 4\nplacement: random:1\ncollective: all_reduce\nalgorithm: sharp\nsize: 1G\n"
    found = propose(leaf_spine, asked(fabric, text), rates, others).jobs[0]
    assert found.gain > 1.5
    assert found.proposed_s == pytest.approx(found.bound_s)


def test_no_hosts_get_below_the_bound_of_a_tree_of_switches() -> None:
    found = propose(
        SMALL_TABLES, asked(SMALL, "hosts: 6\ncollective: all_reduce\nalgorithm: sharp\nsize: 1G\n"), payload_rates(SMALL)
    ).jobs[0]
    rails = len(SMALL.endpoints) // len(SMALL.hosts.name)
    assert found.bound_s == pytest.approx(2**30 / rails / payload_rates(SMALL)[SMALL.channel_of_port[SMALL.endpoints[0]]])
    assert found.proposed_s >= found.bound_s * (1 - 1e-9)
