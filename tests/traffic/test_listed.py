from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_fabrics import cable, two_levels

from fabctl.errors import InputError
from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.phases import Phase
from fabctl.traffic.explicit import Operation
from fabctl.traffic.inputs.reading import load_jobs
from fabctl.traffic.job import JobSpec, Placed
from fabctl.traffic.phases import job_traffic, placed_traffic
from fabctl.traffic.placement import place
from fabctl.traffic.scope import scope
from fabctl.units import Speed

FABRIC = two_levels(8, 4, 2, rails=2)


def listed(text: str) -> JobSpec:
    return load_jobs(("src,dst,bytes,phase\n" + text).encode(), "f.csv")[0]


def rows(phase: Phase, fabric: Fabric = FABRIC) -> list[tuple[str, str, float]]:
    ends = zip(phase.flows.src.tolist(), phase.flows.dst.tolist(), phase.flows.weight.tolist(), strict=True)
    return [(fabric.port_label(src), fabric.port_label(dst), size) for src, dst, size in ends]


def test_hosts_use_the_rails_that_both_have() -> None:
    job = job_traffic(listed("n0000,n0005,64K,\n"), FABRIC)
    (phase,) = job.phases
    assert rows(phase) == [
        ("n0000 mlx5_0/P1", "n0005 mlx5_0/P1", 32768.0),
        ("n0000 mlx5_1/P1", "n0005 mlx5_1/P1", 32768.0),
    ]
    assert (phase.name, job.hosts, job.ranks_per_host) == ("flows", ("n0000", "n0005"), 1)
    assert (phase.src_rank.tolist(), phase.dst_rank.tolist()) == ([0, 0], [1, 1])
    assert "in equal shares" in job.notes[0]


@pytest.mark.parametrize(
    ("src", "dst"),
    [
        ("n0001:mlx5_1", "n0006:mlx5_1"),
        ("n0001:mlx5_1/P1", "n0006"),
        ("n0001", "n0006 mlx5_1"),
        ("n0001 mlx5_1/P1", "n0006 mlx5_1/P1"),
        (f"0x{0x100101:x}", f"0x{0x100601:x}"),
    ],
)
def test_ends_have_many_names(src: str, dst: str) -> None:
    (phase,) = job_traffic(listed(f"{src},{dst},7,\n"), FABRIC).phases
    assert rows(phase) == [("n0001 mlx5_1/P1", "n0006 mlx5_1/P1", 7.0)]


def test_phases_keep_their_order_and_equal_flows_stay_apart() -> None:
    text = "n0000:mlx5_0,n0001:mlx5_0,1,late\nn0002:mlx5_0,n0001:mlx5_0,2,early\nn0000:mlx5_0,n0001:mlx5_0,3,late\n"
    phases = job_traffic(listed(text), FABRIC).phases
    assert [(phase.name, phase.flows.weight.tolist()) for phase in phases] == [("late", [1.0, 3.0]), ("early", [2.0])]


def test_a_list_holds_for_other_hosts() -> None:
    spec = listed("n0000:mlx5_1,n0004:mlx5_0,5,\nn0004,n0002,8,\n")
    there = place(JobSpec(hosts=tuple(Placed(name, "") for name in ("n0007", "n0003", "n0001"))), FABRIC)
    (phase,) = placed_traffic(spec, there).phases
    assert rows(phase) == [
        ("n0007 mlx5_1/P1", "n0003 mlx5_0/P1", 5.0),
        ("n0003 mlx5_0/P1", "n0001 mlx5_0/P1", 4.0),
        ("n0003 mlx5_1/P1", "n0001 mlx5_1/P1", 4.0),
    ]


def test_the_scope_of_a_list_is_all_that_it_sends() -> None:
    found = scope([listed("n0000,n0005,64K,a\nn0000:mlx5_0,n0006:mlx5_1,9,b\n")], FABRIC)
    assert found.flows is not None
    assert found.flows.weight.tolist() == [32768.0, 32768.0, 9.0]
    assert set(found.ports.tolist()) >= set(found.flows.src.tolist()) | set(found.flows.dst.tolist())


def damaged() -> Fabric:
    """Return a leaf with gpu-1, gpu-2 (an HCA of two ports, one without a cable) and gpu-3 (without a cable)."""
    builder = FabricBuilder()
    builder.node(NodeKind.SWITCH, 1, "leaf", ports=4)
    builder.port(1, 0, lid=1)
    for guid, name, ports in ((10, "gpu-1 mlx5_0", 1), (20, "gpu-2 mlx5_0", 2), (21, "gpu-2 mlx5_1", 1), (30, "gpu-3 mlx5_0", 1)):
        builder.node(NodeKind.CA, guid, name, ports=ports)
        for port in range(1, ports + 1):
            builder.port(guid, port, port_guid=guid + 100 * port, lid=guid + port)
    for port, there in ((1, (10, 1)), (2, (20, 1)), (3, (20, 2))):
        cable(builder, (1, port), there, Speed.NDR)
    return builder.build()


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        ("n0000,n0009,1,", "the fabric has no host 'n0009'", "n0007"),
        ("n0000,nO001,1,", "the fabric has no host 'nO001'", "n0001"),
        ("n0000:mlx5_7,n0001,1,", "host 'n0000' has no HCA 'mlx5_7'", "it has mlx5_0, mlx5_1"),
        ("n0000 mlx5_9,n0001,1,", "no node 'n0000 mlx5_9'", "n0000 mlx5_0"),
        ("n9999:mlx5_0,n0001,1,", "no node 'n9999:mlx5_0'", ""),
        ("leaf-0/P9,n0001,1,", "'leaf-0/P9' is no connected port of an HCA", "write it as fabctl does"),
        ("n0001,n0001:mlx5_1,1,", "begins and ends at n0001 mlx5_1/P1", ""),
        ("0xdead,n0001,1,", "'0xdead' is no connected port of an HCA", ""),
    ],
)
def test_ends_that_are_not_there(line: str, said: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        job_traffic(listed(f"n0000,n0001,1,\n{line}\n"), FABRIC)
    assert error.value.where == "f.csv:3"
    assert said in error.value.message
    assert hint in error.value.hint


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("gpu-2:mlx5_1", "'gpu-2:mlx5_1' is down: it has no cable"),
        ("gpu-3", "no HCA of host 'gpu-3' has a cable"),
        ("gpu-2:mlx5_0", "'gpu-2:mlx5_0' has 2 connected ports"),
    ],
)
def test_hcas_that_are_down_or_have_two_ports(end: str, said: str) -> None:
    fabric = damaged()
    with pytest.raises(InputError) as error:
        job_traffic(listed(f"gpu-1,{end},1,\n"), fabric)
    assert (error.value.where, error.value.message) == ("f.csv:2", said)
    (phase,) = job_traffic(listed("gpu-1,gpu-2:mlx5_0/P2,1,\n"), fabric).phases
    assert rows(phase, fabric) == [("gpu-1 mlx5_0/P1", "gpu-2 mlx5_0/P2", 1.0)]


# ---- operations --------------------------------------------------------------------------------------------------------

SPEC = JobSpec(collectives=(), hosts=tuple(Placed(f"n000{host}", "") for host in range(4)))


def test_equal_operations_of_groups_apart_run_at_once() -> None:
    pairs = [Operation("all_reduce", ranks, 64, "", 2) for ranks in ((0, 2), (1, 3), (4, 6), (5, 7))]
    across = [Operation("all_reduce", ranks, 64, "", 2) for ranks in ((0, 4), (2, 6))]
    phases = job_traffic(replace(SPEC, operations=(*pairs, *across)), FABRIC).phases
    assert [(len(phase.flows), phase.times) for phase in phases] == [(8, 2), (4, 2)]
    np.testing.assert_allclose(np.concatenate([phase.flows.weight for phase in phases]), 64)


def test_operations_inside_a_host_send_nothing() -> None:
    assert job_traffic(replace(SPEC, operations=(Operation("all_reduce", (0, 1), 64, ""),)), FABRIC).phases == ()


def test_a_trace_of_more_ranks_than_the_job() -> None:
    spec = replace(SPEC, operations=(Operation("all_reduce", (0, 15), 64, ""),), n_ranks=16, trace=Placed("t", "job.yaml:3:8"))
    with pytest.raises(InputError, match="the traces are of 16 ranks, the job has 8") as error:
        job_traffic(spec, FABRIC)
    assert error.value.where == "job.yaml:3:8"
