"""SHARP plans, their limits on real cables and switches, and the times of small messages, against slow and obvious versions."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from small_fabrics import two_levels

from fabctl.bench.mpi import MpiPricer
from fabctl.bench.sharp import SharpPlan, collnet_plan, sharp_plan
from fabctl.bench.sharp_limit import streaming_limit
from fabctl.bench.sharp_time import (
    AGGREGATION_US,
    HOST_US,
    STREAMING_SHARE,
    SWITCH_US,
    host_based_us,
    low_latency_us,
    streaming_us,
)
from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.predictions import Limit
from fabctl.model.rates import data_rates
from fabctl.sources.reading import load_fabric
from fabctl.traffic.job import parse_job
from fabctl.traffic.placement import Job, place
from fabctl.traffic.switch_trees import TreeMaker
from fabctl.units import Speed

SWITCH_IB_2, QUANTUM, QUANTUM_2, QUANTUM_3 = 0xCF08, 0xD2F0, 0xD2F2, 0xD2F4
CONNECTX_5, CONNECTX_6, CONNECTX_7 = 0x1017, 0x101B, 0x1021


def with_devices(fabric: Fabric, switch: int, hca: int) -> Fabric:
    """Return the fabric with these device ids."""
    device_id = np.where(np.arange(fabric.n_nodes) < fabric.n_switches, switch, hca).astype(np.uint32)
    return replace(fabric, device_id=device_id)


def job_on(fabric: Fabric, hosts: str = "all") -> Job:
    """Return a job on some hosts."""
    return place(parse_job(f"hosts: {hosts}\ncollective: all_reduce\n", "job.yaml"), fabric)


def plan_on(fabric: Fabric) -> SharpPlan:
    """Return the plan of a job on all hosts."""
    return sharp_plan(job_on(fabric))


# ---- what can reduce -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("switch", "hca", "version", "streaming", "payload_bytes"),
    [
        (SWITCH_IB_2, CONNECTX_6, 1, False, 256),
        (QUANTUM, CONNECTX_5, 2, False, 1024),
        (QUANTUM, CONNECTX_6, 2, True, 1024),
        (QUANTUM_2, CONNECTX_7, 3, True, 1024),
        (QUANTUM_3, 0x1023, 4, True, 0),
        (QUANTUM_2, 0xBEEF, 3, False, 1024),
    ],
)
def test_capabilities_follow_from_device_ids(switch: int, hca: int, version: int, streaming: bool, payload_bytes: int) -> None:
    plan = plan_on(with_devices(two_levels(8, 4, 2), switch, hca))
    assert (plan.version, plan.streaming, plan.payload_bytes) == (version, streaming, payload_bytes)


@pytest.mark.parametrize(
    ("switch", "hca", "message", "hint"),
    [
        (0, CONNECTX_6, "it is unknown whether switches of device id 0x0000 have SHARP: leaf-0 is one", "Switch-IB 2, Quantum"),
        (
            0xCB20,
            CONNECTX_6,
            "Switch-IB switches have no SHARP: leaf-0 is one",
            "without sharp the hosts reduce",
        ),
        (
            SWITCH_IB_2,
            CONNECTX_6,
            "Switch-IB 2 switches do not stream (leaf-0 is one)",
            "up to 4096 bytes can use low-latency trees",
        ),
        (
            QUANTUM,
            CONNECTX_5,
            "ConnectX-5 HCAs do not stream (n0000 mlx5_0 is one; ConnectX-6 and later do)",
            "HCOLL_ENABLE_SHARP=2",
        ),
        (QUANTUM, 0xBEEF, "it is unknown whether HCAs of device id 0xbeef stream (n0000 mlx5_0 is one)", "rings and trees"),
    ],
)
def test_what_nccl_cannot_use_is_refused_with_the_nearest_that_works(switch: int, hca: int, message: str, hint: str) -> None:
    job = job_on(with_devices(two_levels(8, 4, 2), switch, hca))
    with pytest.raises(RefusedError) as caught:
        collnet_plan(job)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_nccl_needs_gpudirect_rdma_for_sharp() -> None:
    job = job_on(with_devices(two_levels(8, 4, 2), QUANTUM, CONNECTX_6))
    with pytest.raises(RefusedError, match="needs GPUDirect RDMA"):
        collnet_plan(job, gdr=False)


def test_one_old_switch_on_a_tree_keeps_it_from_streaming_and_one_off_the_trees_does_not() -> None:
    fabric = with_devices(two_levels(8, 4, 2), QUANTUM, CONNECTX_6)
    old_leaf = fabric.device_id.copy()
    old_leaf[fabric.labels.index("leaf-1")] = SWITCH_IB_2
    mixed = replace(fabric, device_id=old_leaf)
    assert plan_on(mixed).not_streaming == "Switch-IB 2 switches do not stream (leaf-1 is one)"
    assert plan_on(mixed).payload_bytes == 256
    assert collnet_plan(job_on(mixed, "n[0000-0003]")).version == 2


def test_aggregation_nodes_and_the_subnet_managers_port_are_told(project: Path) -> None:
    fabric = with_devices(two_levels(8, 4, 2), QUANTUM, CONNECTX_6)
    assert "the source shows no aggregation nodes" in plan_on(fabric).reasons[1]
    assert plan_on(replace(fabric, sm_lid=0x402)).reasons[-1].startswith("n0002 mlx5_0/P1 is the subnet manager's own port")
    planned = load_fabric(str(project / "topologies/superpod-4su.yaml")).fabric
    assert len(plan_on(planned).reasons) == 1
    leaf = planned.labels.index("leaf-su01-rail0")
    node = next(node for node in np.flatnonzero(planned.is_aggregation) if planned.channel_dst[planned.channel_ptr[node]] == leaf)
    device_id, names = planned.device_id.copy(), list(planned.node_name)
    device_id[node], names[node] = CONNECTX_7, "switched off"
    job = job_on(replace(planned, device_id=device_id, node_name=tuple(names)), "dgx-[0001-0128]")
    assert "1 of 40 switches on SHARP's trees show no aggregation node (leaf-su01-rail0)" in sharp_plan(job).reasons[1]


@pytest.mark.parametrize(("name", "version", "depth", "rails"), [("selene-compute-2021", 2, 2, 8), ("dgx-ndr-2025", 3, 1, 4)])
def test_real_dumps(fixtures: Path, name: str, version: int, depth: int, rails: int) -> None:
    fabric = load_fabric(str(fixtures / f"ibnetdiscover/{name}.txt")).fabric
    plan = collnet_plan(job_on(fabric))
    assert (plan.version, plan.depth, len(plan.trees)) == (version, depth, rails)
    assert len(plan.reasons) == 1, "all switches on the trees show their aggregation nodes"


@pytest.mark.parametrize("source", ["superpod-4su", "selene-plan", "oversubscribed-2to1", "random-regular-1200", "torus-44"])
def test_trees_are_the_shallowest_of_shortest_ways(project: Path, source: str) -> None:
    fabric = load_fabric(str(project / f"topologies/{source}.yaml")).fabric
    graph = nx.Graph()
    graph.add_nodes_from(range(fabric.n_switches))
    ends = zip(fabric.channel_src.tolist(), fabric.channel_dst.tolist(), strict=True)
    graph.add_edges_from((src, dst) for src, dst in ends if max(src, dst) < fabric.n_switches)
    maker, rng = TreeMaker(fabric), np.random.default_rng(1)
    for size in (2, 5, 40, 400):
        ports = rng.choice(fabric.endpoints, min(size, len(fabric.endpoints)), replace=False)
        tree = maker.tree(ports)
        assert fabric.channel_port[tree.up[: len(ports)]].tolist() == ports.tolist()
        above = {int(fabric.channel_src[up]): int(fabric.channel_dst[up]) for up in tree.up}
        assert len(above) == len(tree.up), "one edge out of each HCA and switch"
        to_root = nx.single_source_shortest_path_length(graph, tree.root)
        leaves = {above[int(fabric.port_node[port])] for port in ports}
        for leaf in leaves:
            way = [leaf]
            while way[-1] != tree.root:
                way.append(above[way[-1]])
            assert len(way) - 1 == to_root[leaf]
        from_leaves = [nx.single_source_shortest_path_length(graph, leaf) for leaf in leaves]
        assert tree.depth == min(max(far[switch] for far in from_leaves) for switch in range(fabric.n_switches))


def test_trees_of_rails_keep_apart(fixtures: Path) -> None:
    fabric = load_fabric(str(fixtures / "ibnetdiscover/dgx-ndr-2025.txt")).fabric
    plan = plan_on(fabric)
    assert len({tree.root for tree in plan.trees}) == 4
    limit = streaming_limit(plan, data_rates(fabric))
    assert limit.algbw_gb_s == pytest.approx(4 * 50 * STREAMING_SHARE), (
        "although two rails share leaves: their cables are different ones"
    )


# ---- what streams ------------------------------------------------------------------------------------------------------------


def slow_limit(plan: SharpPlan, rates: np.ndarray) -> Fraction:
    """Return microseconds per byte: cables by what they carry, switches with one tree at a time by their trees in turn."""
    fabric = plan.fabric
    cable: dict[int, Fraction] = defaultdict(Fraction)
    turns: dict[int, Fraction] = defaultdict(Fraction)
    for tree in plan.trees:
        at_switch: dict[int, Fraction] = defaultdict(Fraction)
        for up in tree.up.tolist():
            for channel in (up, int(fabric.channel_reverse[up])):
                us = Fraction(8, len(plan.trees)) / (Fraction(float(rates[channel])) * 1000)
                cable[channel] += us
                for node in (int(fabric.channel_src[channel]), int(fabric.channel_dst[channel])):
                    at_switch[node] = max(at_switch[node], us)
        for node, us in at_switch.items():
            if fabric.device_id[node] == QUANTUM:
                turns[node] += us
    return max(*cable.values(), *turns.values())


@pytest.mark.parametrize("switch", [QUANTUM, QUANTUM_2, QUANTUM_3])
@pytest.mark.parametrize(
    ("hosts", "per_leaf", "spines", "rails", "host_speed", "up_speed"),
    [
        (8, 4, 2, 1, Speed.HDR, Speed.HDR),
        (8, 4, 4, 4, Speed.HDR, Speed.HDR),
        (8, 4, 2, 4, Speed.HDR, Speed.HDR),
        (12, 3, 3, 5, Speed.HDR, Speed.EDR),
        (6, 2, 1, 3, Speed.NDR, Speed.HDR),
        (4, 4, 1, 2, Speed.EDR, Speed.HDR),
    ],
)
def test_limit_is_the_slow_versions(
    switch: int, hosts: int, per_leaf: int, spines: int, rails: int, host_speed: int, up_speed: int
) -> None:
    fabric = two_levels(hosts, per_leaf, spines, rails=rails, host_speed=host_speed, up_speed=up_speed)
    plan = plan_on(with_devices(fabric, switch, CONNECTX_7))
    rates = data_rates(fabric)
    limit = streaming_limit(plan, rates)
    assert limit.algbw_gb_s == pytest.approx(STREAMING_SHARE / float(slow_limit(plan, rates)) / 1e3)
    assert limit.kind == "cable" or switch == QUANTUM


def test_rails_on_one_quantum_take_turns_and_on_one_quantum_2_do_not() -> None:
    def limit(switch: int) -> tuple[str, str, float]:
        fabric = with_devices(two_levels(4, 4, 1, rails=1, host_speed=Speed.HDR), switch, CONNECTX_6)
        job = job_on(fabric)
        two_rails = replace(job, ports=np.stack([job.ports[:2, 0], job.ports[2:, 0]], axis=1), hosts=job.hosts[:2], rails=(0, 1))
        found = streaming_limit(sharp_plan(two_rails), data_rates(fabric))
        return found.kind, found.name, round(found.algbw_gb_s, 6)

    assert limit(QUANTUM) == ("switch", "leaf-0, whose 2 streaming trees take turns", 23.75)
    assert limit(QUANTUM_2) == ("cable", "leaf-0/P1 -> n0000 mlx5_0/P1", 47.5)


def test_unknown_rates_are_refused() -> None:
    fabric = with_devices(two_levels(8, 4, 2, up_speed=Speed.UNKNOWN), QUANTUM, CONNECTX_6)
    with pytest.raises(RefusedError, match="have no known rate"):
        streaming_limit(plan_on(fabric), data_rates(fabric))


# ---- small messages ----------------------------------------------------------------------------------------------------------


def simulated_tasks(depth: int, operations: int, *, multicast: bool) -> float:
    """Return when the last result leaves, in tasks: one server for each level, first come first served."""
    free = [0.0] * (depth + 1)
    waiting = [(0.0, operation, 0, True) for operation in range(operations)]
    end = 0.0
    while waiting:
        waiting.sort()
        time, operation, level, up = waiting.pop(0)
        free[level] = done = max(time, free[level]) + 1
        if up:
            waiting.append((done, operation, min(level + 1, depth), level < depth))
        elif multicast or level == 0:
            end = max(end, done)
        else:
            waiting.append((done, operation, level - 1, False))
    return end


@pytest.mark.parametrize("multicast", [False, True])
@pytest.mark.parametrize("operations", [1, 2, 3, 16])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_low_latency_trees_take_what_a_simulation_of_their_nodes_takes(depth: int, operations: int, multicast: bool) -> None:
    tasks = simulated_tasks(depth, operations, multicast=multicast)
    expected = HOST_US + (2 * depth + 1) * SWITCH_US + tasks * AGGREGATION_US
    size = 256 * operations - 100
    assert low_latency_us(depth, 256, size, multicast=multicast) == pytest.approx(expected)


def test_host_based_grows_with_hosts_and_size() -> None:
    sizes = [8, 1024, 4096, 4097, 65536, 1 << 20, 1 << 28]
    times = [host_based_us(128, size, 12.0) for size in sizes]
    assert times == sorted(times)
    assert host_based_us(100, 8, 12.0) == host_based_us(128, 8, 12.0) > host_based_us(64, 8, 12.0)
    assert host_based_us(128, 1 << 30, 12.0) == pytest.approx(2 * 127 / 128 * 2**30 / 12e3, rel=1e-3)


# ---- MPI between hosts without GPUs ------------------------------------------------------------------------------------------

PAIRS = (Limit("cable", "host", 6.0), Limit("hca", "PCIe", 6.1))
TREES = (Limit("hca", "PCIe", 12.0), Limit("cable", "host", 11.8))


def ways(plan: SharpPlan | None, sizes: list[int]) -> list[str]:
    """Return what HCOLL takes for each size."""
    pricer = MpiPricer(8, PAIRS, TREES if plan else (), plan)
    return [f"{way.algorithm} {way.protocol}" for size in sizes for way in pricer.options(size)]


def test_mpi_takes_low_latency_trees_for_small_and_streaming_trees_for_large_messages() -> None:
    sizes = [8, 4096, 4097, 16383, 16384, 1 << 30]
    host_based = [
        "doubling MPI",
        "doubling MPI",
        "halving-doubling MPI",
        "halving-doubling MPI",
        "halving-doubling MPI",
        "halving-doubling MPI",
    ]
    old, new = (plan_on(with_devices(two_levels(8, 4, 2), switch, CONNECTX_6)) for switch in (SWITCH_IB_2, QUANTUM))
    unpublished = plan_on(with_devices(two_levels(8, 4, 2), QUANTUM_3, 0x1023))
    assert ways(None, sizes) == host_based
    assert ways(old, sizes) == ["sharp LLT", "sharp LLT", *host_based[2:]]
    assert ways(new, sizes) == [
        "sharp LLT",
        "sharp LLT",
        "halving-doubling MPI",
        "halving-doubling MPI",
        "sharp SAT",
        "sharp SAT",
    ]
    assert ways(unpublished, sizes) == [*host_based[:4], "sharp SAT", "sharp SAT"]


@pytest.mark.parametrize("size", [8, 1024, 4096, 4097, 65536, 1 << 30])
def test_mpis_times_are_those_of_the_model_and_the_slowest_link_binds_in_the_end(size: int) -> None:
    plan = plan_on(with_devices(two_levels(8, 4, 2), QUANTUM, CONNECTX_6))
    without, with_it = MpiPricer(8, PAIRS).options(size)[0], MpiPricer(8, PAIRS, TREES, plan).options(size)[0]
    assert without.time_us == pytest.approx(host_based_us(8, size, 6.0 * 2 * 7 / 8))
    assert min(without.latency_us, with_it.latency_us) > 0
    assert without.limits[0].name == "host"
    if size <= 4096:
        assert with_it.time_us == pytest.approx(low_latency_us(1, 1024, size))
    if size >= 16384:
        assert with_it.time_us == pytest.approx(streaming_us(size, 11.8 / STREAMING_SHARE))
