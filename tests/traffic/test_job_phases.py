"""Phases of jobs on small fabrics against loops over ranks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from small_fabrics import dmodk, two_levels

from fabctl.congestion.phases import step_loads
from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.model.phases import JobTraffic, Phase
from fabctl.traffic.algorithm import collective_phases
from fabctl.traffic.call import sent_share
from fabctl.traffic.collectives import ALGORITHMS
from fabctl.traffic.group import Group
from fabctl.traffic.job import parse_job
from fabctl.traffic.phases import job_traffic
from fabctl.traffic.placement import Job, place

EIGHT = two_levels(8, 4, 2, rails=4)
MODEL = "model: {layers: 8, hidden: 64, heads: 8, vocabulary: 1000}\nsequence_length: 128\n"


def traffic(text: str, fabric: Fabric = EIGHT) -> tuple[Job, JobTraffic]:
    spec = parse_job(text, "j.yaml")
    return place(spec, fabric), job_traffic(spec, fabric)


def pairs(job: Job, phase: Phase) -> dict[tuple[int, int], float]:
    """Return bytes by host and rail of both ends, as ``host * rails + rail``."""
    number = {int(port): index for index, port in enumerate(job.ports.ravel())}
    found: Counter[tuple[int, int]] = Counter()
    for src, dst, weight in zip(phase.flows.src.tolist(), phase.flows.dst.tolist(), phase.flows.weight.tolist(), strict=True):
        found[number[src], number[dst]] += weight
    return dict(found)


def test_pipelines_and_rings_flow_by_flow() -> None:
    """Rank `r` has tensor place r mod 4, then data place, then stage: 4 ranks per host make tp the rail."""
    text = f"hosts: all\nranks_per_host: 4\n{MODEL}parallelism: {{tp: 4, pp: 2, dp: 4, microbatches: 3}}\nprecision: fp16\n"
    job, step = traffic(text)
    by_name = {phase.name.partition(":")[0]: phase for phase in step.phases}
    assert set(by_name) == {"pp activations, forward", "pp gradients, backward", "dp gradients"}
    forward = by_name["pp activations, forward"]
    one = 128 * 64 * 2 / 4
    assert pairs(job, forward) == {(rank, rank + 16): one for rank in range(16)}
    assert pairs(job, by_name["pp gradients, backward"]) == {(rank + 16, rank): one for rank in range(16)}
    assert (forward.times, forward.kind, forward.groups, forward.group_size) == (3, "pp", 16, 2)
    assert forward.src_rank.tolist() == list(range(16))
    gradients = by_name["dp gradients"]
    layer = (12 * 64 * 64) / 4 + 2 * 64
    held = [4 * layer + 1000 * 64 / 4, 4 * layer + 1000 * 64 / 4 + 64]
    expected = {}
    for rank in range(32):
        stage, host = rank // 16, rank // 4 % 4
        following = stage * 16 + (host + 1) % 4 * 4 + rank % 4
        expected[rank, following] = 2 * 3 / 4 * held[stage] * 2
    found = pairs(job, gradients)
    assert found == pytest.approx(expected)
    assert (gradients.groups, gradients.group_size) == (8, 4)


def test_groups_within_a_host_stay_off_the_fabric() -> None:
    _, step = traffic(f"hosts: all\nranks_per_host: 4\n{MODEL}parallelism: {{tp: 4, cp: 1, dp: 8}}\n")
    assert {phase.kind for phase in step.phases} == {"dp"}


def test_groups_that_span_hosts_are_on_it() -> None:
    job, step = traffic(f"hosts: all\nranks_per_host: 4\n{MODEL}parallelism: {{tp: 8, dp: 4, sequence_parallel: false}}\n")
    tensor = [phase for phase in step.phases if phase.kind == "tp"]
    assert tensor
    assert {abs(a // 4 - b // 4) for phase in tensor for a, b in pairs(job, phase)} == {1}


def test_two_ranks_of_a_group_in_a_host_share_its_ring() -> None:
    """A group of all ranks forms one ring per rail over the hosts; it carries 2 (n - 1) / n S / 4 on each."""
    job, step = traffic("hosts: all\nranks_per_host: 4\nmodel: {parameters: 1000000}\nprecision: fp32\n")
    (gradients,) = step.phases
    share = 2 * 31 / 32 * 4e6 / 4
    assert pairs(job, gradients) == pytest.approx({(rank, (rank + 4) % 32): share for rank in range(32)})


def test_overlap_and_repetitions_reach_the_phases() -> None:
    text = f"hosts: all\nranks_per_host: 4\n{MODEL}parallelism: {{tp: 4, zero: 3, microbatches: 2}}\noverlap: dp\n"
    _, step = traffic(text)
    assert [(phase.name, phase.times, phase.overlapped) for phase in step.phases] == [
        ("dp parameters, forward: all_gather, ring", 16, True),
        ("dp parameters, backward: all_gather, ring", 16, True),
        ("dp gradients: reduce_scatter, ring", 16, True),
    ]


def test_an_algorithm_is_taken_where_it_fits() -> None:
    text = f"hosts: all\nranks_per_host: 4\nalgorithm: tree\n{MODEL}parallelism: {{tp: 4, zero: 0}}\n"
    assert {phase.name for phase in traffic(text)[1].phases} == {"dp gradients: all_reduce, tree"}
    assert "ring" in traffic(text.replace("zero: 0", "zero: 1"))[1].phases[0].name


def test_steps_of_halving_doubling_keep_their_order() -> None:
    _, step = traffic("hosts: all\nranks_per_host: 4\nalgorithm: halving-doubling\ncollective: all_reduce\nsize: 1M\n")
    sizes = [float(phase.flows.weight.max()) for phase in step.phases]
    assert len(step.phases) >= 3
    assert sizes == sorted(sizes) or sizes == sorted(sizes, reverse=True)


def test_pxn_stays_on_the_rail() -> None:
    job, step = traffic("hosts: all\nranks_per_host: 4\ncollective: alltoall\npxn: true\nsize: 1M\n")
    assert {(a % 4 - b % 4) for phase in step.phases for a, b in pairs(job, phase)} == {0}
    job, step = traffic("hosts: all\nranks_per_host: 4\ncollective: alltoall\nsize: 1M\n")
    assert {(a % 4 - b % 4) % 4 for phase in step.phases for a, b in pairs(job, phase)} == {0, 1, 2, 3}


def test_loads_of_a_step_are_conserved() -> None:
    """Every byte that leaves a host enters another: up-links of HCAs carry what their down-links do."""
    text = f"hosts: all\nranks_per_host: 4\n{MODEL}parallelism: {{tp: 2, pp: 2, cp: 2, dp: 4, microbatches: 2}}\n"
    _, step = traffic(text)
    loads = step_loads(dmodk(EIGHT), step)
    sent = sum(float(phase.flows.weight.sum()) * phase.times for phase in step.phases)
    is_hca = np.asarray(EIGHT.is_hca)
    assert loads[is_hca[EIGHT.channel_src]].sum() == pytest.approx(sent)
    assert loads[is_hca[EIGHT.channel_dst]].sum() == pytest.approx(sent)


def test_ranks_that_do_not_divide() -> None:
    with pytest.raises(InputError, match="the job has 32 ranks, and tp 8 x pp 8 is 64") as error:
        traffic(f"hosts: all\nranks_per_host: 4\n{MODEL}parallelism: {{tp: 8, pp: 8}}\n")
    assert error.value.where == "j.yaml:5:14"


def sent_by_hcas(fabric: Fabric, phase: Phase) -> float:
    if phase.fixed is None:
        return float(phase.flows.weight.sum())
    weight = np.repeat(phase.flows.weight, np.diff(phase.fixed.ptr))
    return float(weight[fabric.is_hca[fabric.channel_src[phase.fixed.index]]].sum())


@pytest.mark.parametrize("n", [2, 4, 5, 7, 8])
@pytest.mark.parametrize("algorithm", ALGORITHMS.names())
def test_ranks_send_what_is_said_of_them(algorithm: str, n: int) -> None:
    """With a rank per host all that it sends is on the fabric."""
    fabric = two_levels(8, 4, 2)
    for operation in ALGORITHMS.load(algorithm).operations:
        hosts = np.arange(n, dtype=np.int32)
        members = Group(hosts, hosts, fabric.endpoints[:n])
        phases = collective_phases(operation, algorithm, [members], 1000.0, fabric=fabric)
        total = sum(sent_by_hcas(fabric, phase) * phase.times for phase in phases)
        senders = n - 1 if operation == "sendrecv" else n
        folded = algorithm == "halving-doubling" and n & (n - 1)
        share = sent_share(operation, n, algorithm)
        assert total / senders / 1000 == pytest.approx(share) or (folded and total / senders / 1000 > share)


def test_channels_take_the_rails_in_turn() -> None:
    """S = 1 MiB on 6 channels over 4 rails: rails 0 and 1 carry two sixths of the ring, rails 2 and 3 one."""
    job, step = traffic("hosts: all\nranks_per_host: 4\ncollective: all_reduce\nsize: 1M\nchannels: 6\n")
    carried: Counter[int] = Counter()
    for (src, dst), weight in pairs(job, step.phases[0]).items():
        assert (dst // 4, dst % 4) == ((src // 4 + 1) % job.n_hosts, src % 4)
        carried[src % 4] += weight
    ring = 2 * (job.n_ranks - 1) / job.n_ranks * (1 << 20) * job.n_hosts
    assert carried == pytest.approx({0: ring / 3, 1: ring / 3, 2: ring / 6, 3: ring / 6})


def test_a_ring_that_may_change_rails_leaves_by_another_one() -> None:
    text = "hosts: all\nranks_per_host: 4\ncollective: all_reduce\nsize: 1M\ncross_nic: 1\n"
    job, step = traffic(text)
    assert all(src % 4 != dst % 4 for src, dst in pairs(job, step.phases[0]))
