from __future__ import annotations

import pytest
from small_fabrics import two_levels

from fabctl.bench.nccl.constants import BASE_US, PLATEAU
from fabctl.bench.nccl.ring import Ranks, latency_us
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.job import JobSpec
from fabctl.traffic.placement import Job, place


def job(hosts: int, ranks: int) -> Job:
    return place(JobSpec(ranks_per_host=ranks), two_levels(hosts, 8, 4))


def latency(name: str, hosts: int, ranks: int, protocol: str, size: int = 8) -> float:
    placed = job(hosts, ranks)
    return latency_us(name, COLLECTIVES.load(name).steps(placed), Ranks(hosts, ranks, placed.ports.shape[1]), protocol, size)


@pytest.mark.parametrize(("hosts", "protocol", "microseconds"), [(4, "Simple", 282.8), (4, "LL", 78.8), (128, "Simple", 9657.2)])
def test_all_reduce_is_priced_as_nccl_does(hosts: int, protocol: str, microseconds: float) -> None:
    """Worked values of NCCL's tuner for 8 GPUs a node on NVLink."""
    assert latency("all_reduce", hosts, 8, protocol) == pytest.approx(microseconds)


def test_half_a_ring_has_half_the_steps() -> None:
    for protocol, base_us in BASE_US["Ring"].items():
        whole = latency("all_reduce", 4, 8, protocol) - base_us
        for name in ("reduce_scatter", "all_gather"):
            assert latency(name, 4, 8, protocol) - base_us == pytest.approx(whole / 2)


def test_one_rank_per_host_pays_the_exposed_network_latency() -> None:
    assert latency("all_gather", 4, 1, "LL") == pytest.approx(6.6 + 3 * 5.0)
    assert latency("all_gather", 4, 2, "LL") == pytest.approx(6.6 + 4 * 1.0 + 3 * 2.7)


def test_the_plateau_begins_at_64_bytes_per_rank_and_channel() -> None:
    below, at = 64 * 32 - 1, 64 * 32
    plain = latency("all_reduce", 4, 8, "Simple", below)
    assert plain == pytest.approx(282.8)
    assert latency("all_reduce", 4, 8, "Simple", at) == pytest.approx(PLATEAU * plain)
    for name, protocol in (("all_reduce", "LL128"), ("all_gather", "Simple")):
        assert latency(name, 4, 8, protocol, at) == latency(name, 4, 8, protocol, below)


def test_alltoall_is_one_hop_and_a_post_per_peer() -> None:
    assert latency("alltoall", 4, 8, "LL") == pytest.approx(6.6 + 2.7 + 23 * 1.0)
    assert latency("alltoall", 4, 8, "Simple") == pytest.approx(8.4 + 14.0 + 23 * 3.0)
