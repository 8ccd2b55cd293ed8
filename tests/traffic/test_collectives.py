from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_fabrics import two_levels

from fabctl.traffic.collective import Demand
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.job import JobSpec
from fabctl.traffic.placement import Job, place

FABRICS = {rails: two_levels(12, 4, 2, rails=rails) for rails in (1, 2, 4)}
JOBS = st.builds(
    lambda rails, hosts, ranks, pxn: Job(
        fabric=FABRICS[rails],
        hosts=tuple(f"n{host:04}" for host in range(hosts)),
        ports=place(JobSpec(), FABRICS[rails]).ports[:hosts],
        rails=tuple(range(rails)),
        ranks_per_host=rails * ranks,
        pxn=pxn,
    ),
    rails=st.sampled_from([1, 2, 4]),
    hosts=st.integers(2, 12),
    ranks=st.integers(1, 3),
    pxn=st.booleans(),
)
MESSAGE = 1.0


def rank_port(job: Job, rank: int) -> int:
    host, local = divmod(rank, job.ranks_per_host)
    return int(job.ports[host, local // job.ranks_per_port])


def by_pair(demand: Demand) -> dict[tuple[int, int], float]:
    """Return the bytes of each ordered pair of ports, exchanges written out."""
    total: defaultdict[tuple[int, int], float] = defaultdict(float)
    for src, dst, weight in zip(demand.flows.src.tolist(), demand.flows.dst.tolist(), demand.flows.weight.tolist(), strict=True):
        total[src, dst] += weight
    for exchange in demand.exchanges:
        for a, here in enumerate(exchange.ports.tolist()):
            for b, there in enumerate(exchange.ports.tolist()):
                for src in here:
                    for dst in there:
                        if a != b:
                            total[src, dst] += exchange.weight
    return dict(total)


def simulated_ring(job: Job, rounds: int) -> dict[tuple[int, int], float]:
    """Run ``rounds (n - 1)`` steps of a ring over all ranks on each rail, a piece of 1/n a step; count what leaves a host."""
    total: defaultdict[tuple[int, int], float] = defaultdict(float)
    n_rails = job.ports.shape[1]
    for rail in range(n_rails):
        for _ in range(rounds * (job.n_ranks - 1)):
            for rank in range(job.n_ranks):
                here, there = rank // job.ranks_per_host, (rank + 1) % job.n_ranks // job.ranks_per_host
                if here != there:
                    total[int(job.ports[here, rail]), int(job.ports[there, rail])] += MESSAGE / n_rails / job.n_ranks
    return dict(total)


@pytest.mark.parametrize(("name", "rounds"), [("all_reduce", 2), ("reduce_scatter", 1), ("all_gather", 1)])
@given(job=JOBS)
def test_rings_carry_what_their_steps_add_up_to(name: str, rounds: int, job: Job) -> None:
    collective = COLLECTIVES.load(name)
    assert by_pair(collective.demand(job)) == pytest.approx(simulated_ring(job, rounds))
    steps = collective.steps(job)
    assert steps.intra + steps.inter == rounds * (job.n_ranks - 1)
    assert steps.inter == rounds * (job.n_hosts - 1)


@given(job=JOBS)
def test_broadcast_brings_the_whole_message_to_every_host_but_the_first(job: Job) -> None:
    collective = COLLECTIVES.load("broadcast")
    received = dict.fromkeys(range(job.n_hosts), 0.0)
    host = {int(port): row for row, line in enumerate(job.ports) for port in line}
    for (src, dst), volume in by_pair(collective.demand(job)).items():
        assert host[dst] == host[src] + 1
        assert np.argwhere(job.ports == src)[0, 1] == np.argwhere(job.ports == dst)[0, 1], "a chain stays on its rail"
        received[host[dst]] += volume
    assert list(received.values()) == pytest.approx([0.0] + [MESSAGE] * (job.n_hosts - 1))


@given(job=JOBS)
def test_alltoall_is_a_piece_for_every_pair_of_ranks_on_different_hosts(job: Job) -> None:
    expected: defaultdict[tuple[int, int], float] = defaultdict(float)
    for src in range(job.n_ranks):
        for dst in range(job.n_ranks):
            if src // job.ranks_per_host != dst // job.ranks_per_host:
                leaves = rank_port(job, src)
                if job.pxn:  # out by the HCA of the destination's rail
                    column = dst % job.ranks_per_host // job.ranks_per_port
                    leaves = int(job.ports[src // job.ranks_per_host, column])
                expected[leaves, rank_port(job, dst)] += MESSAGE / job.n_ranks
    assert by_pair(COLLECTIVES.load("alltoall").demand(job)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "factor"),
    [("all_reduce", 1.75), ("reduce_scatter", 0.875), ("all_gather", 0.875), ("alltoall", 0.875), ("broadcast", 1.0)],
)
def test_bus_factors_of_nccl_tests_for_eight_ranks(name: str, factor: float) -> None:
    assert COLLECTIVES.load(name).bus_factor(8) == factor
