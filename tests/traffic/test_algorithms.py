"""Every algorithm does its operations on real vectors, and sends over the fabric exactly what its closed form says."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabctl.traffic.algorithm import collective_phases, load_algorithm
from fabctl.traffic.collectives import ALGORITHMS
from fabctl.traffic.group import Group
from fabctl.traffic.schedule import Schedule
from fabctl.traffic.shape import Shape, shape_of

CASES = [(name, operation) for name in ALGORITHMS.names() for operation in ALGORITHMS.load(name).operations]
SIZE = 1 << 20
IN_SWITCHES = ("sharp", "multicast")


def make_group(node: list[int], rail: list[int], first_rank: int = 0) -> Group:
    """Return a group on hosts and rails of these numbers; each HCA port has a number of its own."""
    host, column = np.array(node, dtype=np.int32), np.array(rail, dtype=np.int32)
    return Group(np.arange(first_rank, first_rank + len(host), dtype=np.int32), host, (host * 16 + column).astype(np.int32))


def one_per_host(n: int) -> Group:
    return make_group(list(range(n)), [0] * n)


def whole_hosts(n_hosts: int, rails: int, per_rail: int = 1) -> Group:
    per_host = rails * per_rail
    return make_group(
        [host for host in range(n_hosts) for _ in range(per_host)],
        [local // per_rail for _ in range(n_hosts) for local in range(per_host)],
    )


@st.composite
def any_group(draw: st.DrawFn) -> Group:
    """Members anywhere: hosts in any order and of unequal sizes, any rails."""
    n = draw(st.integers(2, 40))
    hosts = draw(st.integers(1, n))
    node = draw(st.lists(st.integers(0, hosts - 1), min_size=n, max_size=n))
    return make_group(node, draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))


# ---- the oracle: vectors moved message by message -----------------------------------------------------------------------


def execute(schedule: Schedule, shape: Shape, operation: str) -> tuple[np.ndarray, np.ndarray]:
    """Run a schedule on random vectors; return the vectors, shape (n, pieces), and the buffers in the end."""
    n, rng = len(shape), np.random.default_rng(7)
    x = rng.integers(1, 1 << 40, (n, schedule.pieces))
    nodes = 1 + max(n - 1, *(int(max(one.src.max(), one.dst.max())) for one in schedule if len(one.src)))
    buffer = np.zeros((nodes, schedule.pieces + schedule.room), dtype=np.int64)
    if operation == "broadcast":
        buffer[0, : schedule.pieces] = x[0]
    elif operation == "all_gather":
        block = schedule.pieces // n
        for rank in range(n):
            buffer[rank, rank * block : (rank + 1) * block] = x[rank, rank * block : (rank + 1) * block]
    else:
        buffer[:n, : schedule.pieces] = x
    for one in schedule:
        columns = zip(*(column.tolist() for column in (one.src, one.dst, one.first, one.count, one.into)), strict=True)
        messages = [(dst, into, buffer[src, first : first + count].copy()) for src, dst, first, count, into in columns]
        written = set()
        for dst, into, what in messages:
            place = slice(into, into + len(what))
            assert len(what) == len(buffer[dst, place]) > 0, "a message leaves the buffer"
            if one.adds:
                buffer[dst, place] += what
            else:
                slots = {(dst, slot) for slot in range(into, into + len(what))}
                assert not slots & written, "two messages of one step overwrite each other"
                written |= slots
                buffer[dst, place] = what
    return x, buffer


def check(schedule: Schedule, shape: Shape, operation: str) -> None:
    """Assert the contract of `Schedule`'s docstring."""
    n, pieces = len(shape), schedule.pieces
    x, buffer = execute(schedule, shape, operation)
    final, block = buffer[:n, :pieces], pieces // n
    if operation == "all_reduce":
        assert np.array_equal(final, np.tile(x.sum(axis=0), (n, 1)))
    elif operation == "broadcast":
        assert np.array_equal(final, np.tile(x[0], (n, 1)))
    elif operation == "sendrecv":
        assert np.array_equal(buffer[1:n, pieces : 2 * pieces], x[:-1])
    else:
        assert pieces == block * n
        of_block, got = x.reshape(n, n, block), final.reshape(n, n, block)
        ranks = np.arange(n)
        if operation == "reduce_scatter":
            assert np.array_equal(got[ranks, ranks], of_block.sum(axis=0))
        elif operation == "all_gather":
            assert np.array_equal(got, np.tile(of_block[ranks, ranks], (n, 1, 1)))
        else:
            assert operation == "alltoall"
            assert np.array_equal(got, of_block.transpose(1, 0, 2))


def sent(schedule: Schedule, group: Group, size_bytes: float) -> dict[tuple[int, int], float]:
    """Return the bytes of each ordered pair of ports on different hosts, message by message.

    Numbers from n on are the NVLink switches of the nodes.
    """
    node, n = shape_of(group).node.tolist(), len(group)
    node += range(max(node) + 1)
    total: defaultdict[tuple[int, int], float] = defaultdict(float)
    for one in schedule:
        for src, dst, out, enter, count in zip(one.src, one.dst, one.out, one.enter, one.count, strict=True):
            assert (node[src], node[dst]) == (node[out], node[enter])
            if node[src] != node[dst]:
                assert max(out, enter) < n, "an NVLink switch has no HCA"
                total[int(group.port[out]), int(group.port[enter])] += float(count) * size_bytes / schedule.pieces
    return dict(total)


# ---- the battery ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "operation"), CASES)
def test_operations_end_with_the_right_result_on_n_hosts(name: str, operation: str) -> None:
    for n in range(2, 41):
        shape = shape_of(one_per_host(n))
        check(load_algorithm(operation, name).schedule(shape, operation), shape, operation)


@pytest.mark.parametrize(("name", "operation"), CASES)
@settings(max_examples=25)
@given(group=any_group(), channels=st.integers(0, 5), cross_nic=st.integers(0, 2))
def test_operations_end_with_the_right_result_anywhere(
    name: str, operation: str, group: Group, channels: int, cross_nic: int
) -> None:
    shape = shape_of(group, channels, cross_nic)
    check(load_algorithm(operation, name).schedule(shape, operation), shape, operation)


@pytest.mark.parametrize(("name", "operation"), [case for case in CASES if case[0] not in IN_SWITCHES])
@settings(max_examples=25)
@given(group=any_group(), channels=st.integers(0, 5), cross_nic=st.integers(0, 2))
def test_closed_forms_are_what_the_schedules_send(name: str, operation: str, group: Group, channels: int, cross_nic: int) -> None:
    algorithm, shape = load_algorithm(operation, name), shape_of(group, channels, cross_nic)
    expected = sent(algorithm.schedule(shape, operation), group, SIZE)
    got: defaultdict[tuple[int, int], float] = defaultdict(float)
    for phase in collective_phases(operation, name, [group], SIZE, channels=channels, cross_nic=cross_nic):
        flows = phase.flows
        pairs = list(zip(flows.src.tolist(), flows.dst.tolist(), strict=True))
        assert len(set(pairs)) == len(pairs) > 0, "flows between the same ports are one flow"
        assert np.all(flows.weight > 0)
        owner = {int(port): int(rank) for port, rank in zip(group.port[::-1], group.rank[::-1], strict=True)}
        if not any(np.count_nonzero(group.port == port) > 1 for port in group.port):
            assert [owner[port] for port in flows.src.tolist()] == phase.src_rank.tolist()
            assert [owner[port] for port in flows.dst.tolist()] == phase.dst_rank.tolist()
        for pair, weight in zip(pairs, flows.weight.tolist(), strict=True):
            got[pair] += weight * phase.times
    assert dict(got) == pytest.approx(expected)
