"""Several jobs at once: closed forms on hand-made fabrics, and the definition followed word by word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fabrics import dmodk, two_levels

from fabctl.congestion.maxmin import complete
from fabctl.congestion.phases import phase_channels
from fabctl.congestion.slowdown import beside, interference, lay, step_s
from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.flows import Flows
from fabctl.model.phases import Channels, JobTraffic, Phase
from fabctl.model.rates import payload_rates
from fabctl.model.tables import RoutingTables

GB = 1e9


def port_of(fabric: Fabric, host: int) -> int:
    """Return the first HCA port of host `nHHHH`."""
    return int(fabric.endpoints[host * (len(fabric.endpoints) // len(fabric.hosts.name))])


def phase(fabric: Fabric, *flows: tuple[int, int, float], name: str = "send", times: int = 1) -> Phase:
    """Return a phase of flows (source host, destination host, bytes)."""
    src, dst, size = zip(*flows, strict=True) if flows else ((), (), ())
    ports = [np.array([port_of(fabric, host) for host in end], dtype=np.int32) for end in (src, dst)]
    zero = np.zeros(len(flows), dtype=np.int32)
    return Phase(name, Flows(ports[0], ports[1], np.array(size, dtype=float)), zero, zero, times)


def job(name: str, n_hosts: int, *phases: Phase) -> JobTraffic:
    return JobTraffic(name, tuple(f"n{host:04}" for host in range(n_hosts)), 1, phases)


@pytest.fixture(scope="module")
def tables() -> RoutingTables:
    """Two leaves of eight hosts under one spine: every flow between leaves takes the one cable up and the one down."""
    return dmodk(two_levels(16, 8, 1))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_two_jobs_with_k_flows_each_on_one_cable_halve_each_other(tables: RoutingTables, k: int) -> None:
    fabric = tables.fabric
    first = job("a", 2, phase(fabric, *((host, 8 + host, GB) for host in range(k))))
    second = job("b", 2, phase(fabric, *((host, 8 + host, 3 * GB) for host in range(4, 4 + k))))
    found = interference(tables, [first, second], payload_rates(fabric))
    assert [one.slowdown for one in found.jobs] == pytest.approx([2.0, 2.0])
    np.testing.assert_allclose(found.matrix, [[1, 2], [2, 1]])
    binding = found.jobs[0].binding
    assert binding is not None
    assert binding.cable.label == "leaf-0/P9 -> spine-0/P1"
    assert (binding.phase, binding.flows, binding.others, binding.cable.at_host) == ("send", k, (("b", k),), False)
    assert binding.pairs == tuple((name, "n0000:0", "n0000:0") for name in "ab" for _ in range(min(k, 3)))
    assert found.worst_pair == (0, 1)


def test_three_jobs_share_one_cable_by_their_flows(tables: RoutingTables) -> None:
    fabric = tables.fabric
    counts = {"a": 1, "b": 2, "c": 4}
    jobs, host = [], 0
    for name, k in counts.items():
        jobs.append(job(name, 2, phase(fabric, *((host + i, 8 + host + i, GB) for i in range(k)))))
        host += k
    found = interference(tables, jobs, payload_rates(fabric))
    assert [one.slowdown for one in found.jobs] == pytest.approx([7 / 1, 7 / 2, 7 / 4])
    np.testing.assert_allclose(found.matrix, [[1, 3, 5], [3 / 2, 1, 6 / 2], [5 / 4, 6 / 4, 1]])


def test_disjoint_jobs_do_not_meet(tables: RoutingTables) -> None:
    fabric = tables.fabric
    jobs = [job("a", 2, phase(fabric, (0, 1, GB), (1, 0, GB))), job("b", 2, phase(fabric, (2, 3, GB), (8, 9, GB)))]
    found = interference(tables, jobs, payload_rates(fabric))
    assert [one.slowdown for one in found.jobs] == [1.0, 1.0]
    assert np.array_equal(found.matrix, np.ones((2, 2)))
    assert found.worst_pair is None
    assert [one.binding.others for one in found.jobs if one.binding] == [(), ()]


def test_only_the_busiest_phase_is_background_and_it_meets_every_phase(tables: RoutingTables) -> None:
    """b's long phase stays inside a leaf; its short phases cross the cable of a, and do not count."""
    fabric = tables.fabric
    first = job("a", 2, phase(fabric, (0, 8, GB), name="across"), phase(fabric, (1, 2, GB), name="inside", times=3))
    second = job("b", 2, phase(fabric, (4, 12, GB), name="across"), phase(fabric, (3, 2, GB), name="inside", times=2))
    found = interference(tables, [first, second], payload_rates(fabric))
    assert found.jobs[0].slowdown == pytest.approx((1 + 3 * 2) / (1 + 3))
    assert found.jobs[1].slowdown == pytest.approx((1 + 2 * 2) / (1 + 2))
    assert found.jobs[0].binding is not None
    assert (found.jobs[0].binding.phase, found.jobs[0].binding.cable.at_host) == ("inside", True)


def test_times_choose_the_busiest_phase(tables: RoutingTables) -> None:
    fabric = tables.fabric
    first = job("a", 2, phase(fabric, (0, 8, GB)))
    for times, expected in ((1, 1.0), (3, 2.0)):
        second = job("b", 2, phase(fabric, (3, 2, 2 * GB)), phase(fabric, (4, 12, GB), times=times))
        assert interference(tables, [first, second], payload_rates(fabric)).jobs[0].slowdown == pytest.approx(expected)


def test_a_third_job_can_help(tables: RoutingTables) -> None:
    """c holds b back on b's own host cable, so that b takes less of the cable that it shares with a: no sum, no maximum."""
    fabric = tables.fabric
    first = job("a", 2, phase(fabric, (0, 8, GB)))
    second = job("b", 2, phase(fabric, (1, 9, GB)))
    third = job("c", 2, phase(fabric, *((1, host, GB) for host in (2, 3, 4))))
    found = interference(tables, [first, second, third], payload_rates(fabric))
    assert found.matrix[0] == pytest.approx([1, 2, 1])
    assert found.jobs[0].slowdown == pytest.approx(4 / 3)


def test_effective_bandwidth_is_bytes_per_host_and_time(tables: RoutingTables) -> None:
    fabric = tables.fabric
    rates = payload_rates(fabric)
    jobs = [job("a", 4, phase(fabric, (0, 8, GB), (1, 9, GB), times=5)), job("b", 2, phase(fabric, (2, 10, GB), (3, 11, GB)))]
    one = interference(tables, jobs, rates).jobs[0]
    assert one.fabric_bytes == 10 * GB
    assert one.shared_s == pytest.approx(5 * 4 * GB / rates.max())
    assert one.gb_s_per_host == pytest.approx(10 / 4 / one.shared_s)


def test_a_job_inside_its_hosts_is_not_slowed(tables: RoutingTables) -> None:
    fabric = tables.fabric
    jobs = [job("quiet", 2), job("silent", 2, phase(fabric)), job("b", 2, phase(fabric, (0, 8, GB)))]
    found = interference(tables, jobs, payload_rates(fabric))
    assert [(one.slowdown, one.shared_s, one.gb_s_per_host) for one in found.jobs[:2]] == [(1.0, 0.0, 0.0)] * 2
    assert [one.binding for one in found.jobs[:2]] == [None, None]
    assert np.array_equal(found.matrix, np.ones((3, 3)))


def test_fixed_trees_meet_flows(tables: RoutingTables) -> None:
    fabric = tables.fabric
    up = int(phase_channels(tables, phase(fabric, (0, 8, GB))).index[1])
    tree = Channels(np.array([0, 1]), np.array([up], dtype=np.int32))
    plain = phase(fabric, (0, 8, GB))
    fixed = Phase("sharp", plain.flows, plain.src_rank, plain.dst_rank, 1, tree)
    found = interference(tables, [job("a", 2, fixed), job("b", 2, phase(fabric, (1, 9, GB)))], payload_rates(fabric))
    assert [one.slowdown for one in found.jobs] == pytest.approx([2.0, 2.0])


def test_each_host_of_a_tree_sends_its_bytes(tables: RoutingTables) -> None:
    """One flow takes all edges of a tree: it is what every host sends, not what all send together."""
    fabric = tables.fabric
    plain = phase(fabric, (0, 1, GB))
    up = [int(fabric.channel_of_port[port_of(fabric, host)]) for host in range(4)]
    edges = np.array([*up, *(int(fabric.channel_reverse[channel]) for channel in up)], dtype=np.int32)
    tree = Phase("sharp", plain.flows, plain.src_rank, plain.dst_rank, 1, Channels(np.array([0, 8]), edges))
    (found,) = interference(tables, [job("a", 4, tree)], payload_rates(fabric)).jobs
    assert found.fabric_bytes == 4 * GB
    assert found.binding is not None
    assert found.binding.pairs == (("a", "n0000:0", "(tree)"),)
    assert found.gb_s_per_host == pytest.approx(payload_rates(fabric)[up[0]] / 1e9)


def test_split_flows_meet_with_their_shares() -> None:
    """Flows split evenly over two spines take half of each cable: two jobs of one flow each do not slow each other."""
    tables = dmodk(two_levels(8, 4, 2))
    fabric = tables.fabric
    static = interference(
        tables, jobs := [job("a", 2, phase(fabric, (0, 4, GB))), job("b", 2, phase(fabric, (1, 6, GB)))], payload_rates(fabric)
    )
    assert static.jobs[0].slowdown == pytest.approx(2.0)

    def split(one: Phase) -> tuple[Channels, np.ndarray]:
        over_first = phase_channels(tables, one).index
        to_other = phase(fabric, (0, 5, GB))
        over_second = phase_channels(tables, to_other).index
        index = np.concatenate([over_first[:1], over_first[1:3], over_second[1:3], over_first[3:]])
        return Channels(np.array([0, 6]), index), np.array([1.0, 0.5, 0.5, 0.5, 0.5, 1.0])

    found = interference(tables, jobs, payload_rates(fabric), split)
    assert [one.slowdown for one in found.jobs] == pytest.approx([1.0, 1.0])
    assert np.allclose(found.matrix, 1.0)


def test_unknown_rates_are_refused() -> None:
    tables = dmodk(two_levels(8, 4, 1, up_speed=0))
    jobs = [job("a", 2, phase(tables.fabric, (0, 4, GB)))]
    with pytest.raises(RefusedError, match="no known rate"):
        interference(tables, jobs, payload_rates(tables.fabric))


FABRIC = two_levels(12, 4, 2)
TABLES = dmodk(FABRIC)
FLOWS = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 11), st.sampled_from([GB, 2 * GB])).filter(lambda f: f[0] != f[1]), max_size=5
)
JOBS = st.lists(st.lists(st.tuples(FLOWS, st.integers(1, 3)), max_size=3), min_size=1, max_size=4)


@given(JOBS)
@settings(max_examples=60, deadline=None)
def test_the_definition_word_by_word(plan: list[list[tuple[list[tuple[int, int, float]], int]]]) -> None:
    """All flows of all jobs in one completion, none left out as unconcerned, none skipped as disjoint."""
    rates = payload_rates(FABRIC)
    jobs = [job(f"j{n}", 2, *(phase(FABRIC, *flows, times=times) for flows, times in phases)) for n, phases in enumerate(plan)]

    def makespan(one: Phase, background: list[Phase]) -> float:
        rows = [phase_channels(TABLES, each) for each in (one, *background)]
        length = np.concatenate([np.diff(row.ptr) for row in rows])
        channels = Channels(np.concatenate(([0], np.cumsum(length))), np.concatenate([row.index for row in rows]))
        endless = np.full(sum(len(each.flows) for each in background), np.inf)
        return complete(channels, np.concatenate([one.flows.weight, endless]), rates).makespan

    def step(one: JobTraffic, others: list[JobTraffic]) -> float:
        busiest = [max(other.phases, key=lambda each: each.times * makespan(each, [])) for other in others if other.phases]
        return sum(each.times * makespan(each, busiest) for each in one.phases)

    found = interference(TABLES, jobs, rates)
    for n, one in enumerate(jobs):
        alone = step(one, [])
        assert found.jobs[n].alone_s == pytest.approx(alone)
        assert found.jobs[n].shared_s == pytest.approx(step(one, [*jobs[:n], *jobs[n + 1 :]]))
        for k, other in enumerate(jobs):
            expected = step(one, [other]) / alone if alone and k != n else 1.0
            assert found.matrix[n, k] == pytest.approx(expected)
        if alone:
            assert found.jobs[n].binding is not None
            laid = lay(TABLES, one, rates)
            assert step_s(one, beside(laid, [], rates)) == laid.step_s
