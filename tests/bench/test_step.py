"""Steps of trainings on real fabrics: against `bench`, against closed forms of what groups side by side share, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from fabctl.bench.predict import predict, setup_of
from fabctl.bench.pricing import Priced
from fabctl.bench.scene import Setup
from fabctl.bench.step import predict_step
from fabctl.bench.step_calls import CallTimer
from fabctl.bench.step_scale import scale_step
from fabctl.errors import InputError, RefusedError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.model.offloads import Offloads
from fabctl.model.rates import data_rates
from fabctl.model.step_view import BUBBLE, Compute, StepView
from fabctl.model.tables import RoutingTables
from fabctl.nodes.reading import load_node
from fabctl.routing.compute import compute_tables
from fabctl.routing.options import DEFAULTS
from fabctl.sources.reading import load_fabric
from fabctl.traffic.call import Call
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.job import JobSpec, parse_job
from fabctl.traffic.placement import Job, place

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
DGX1, SUPERPOD = "dgx1-16", "superpod-4su"
NODES = {DGX1: "dgx-1-v100", SUPERPOD: "dgx-h100"}
LLAMA = "hosts: 16\nranks_per_host: 8\nmodel: llama3-8b\nparallelism: {tp: 8, pp: 4, zero: 1, microbatches: 8}\noverlap: dp\n"


@cache
def routed(name: str) -> tuple[Fabric, RoutingTables]:
    fabric = load_fabric(str(TOPOLOGIES / f"{name}.yaml")).fabric
    return fabric, compute_tables(fabric, "ftree", DEFAULTS)


def placed(name: str, text: str) -> tuple[JobSpec, Job, RoutingTables, np.ndarray]:
    fabric, tables = routed(name)
    spec = parse_job(text, "job.yaml")
    return spec, place(spec, fabric), tables, data_rates(fabric)


def step(name: str, text: str, offloads: Offloads | None = None, compute: Compute | None = None, node: str = "") -> StepView:
    return predict_step(*placed(name, text), load_node(node or NODES[name]), offloads, compute)


def timer(name: str, offloads: Offloads | None = None) -> CallTimer:
    spec, job, tables, rates = placed(name, "hosts: all\nranks_per_host: 8\nmodel: resnet-50\n")
    return CallTimer(spec, job, tables, rates, Setup(load_node(NODES[name]), offloads or Offloads()))


def side_by_side(operation: str, columns: int, hosts: int = 16, size_bytes: float = 1e9) -> Call:
    """Return groups of the ranks that have the same number in their hosts, `columns` of them in a host each."""
    ranks = np.arange(hosts * 8, dtype=np.int32).reshape(hosts, 8 // columns, columns)
    return Call("dp", operation, operation, ranks.transpose(1, 0, 2).reshape(8 // columns, -1), np.full(8 // columns, size_bytes))


def hca(priced: Priced) -> float:
    """Return what an HCA's own PCIe link allows."""
    return next(limit.algbw_gb_s for limit in priced.limits if limit.kind == "hca")


# ---- one group of all ranks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [DGX1, SUPERPOD])
@pytest.mark.parametrize("model", ["resnet-50", "bert-large"])
@pytest.mark.parametrize("offloads", [Offloads(), Offloads(gdr=False, nvls=False)], ids=["offloaded", "cpu-centric"])
def test_plain_data_parallelism_takes_what_bench_predicts(name: str, model: str, offloads: Offloads) -> None:
    text = f"hosts: 16\nranks_per_host: 8\nmodel: {model}\n"
    (phase,) = step(name, text, offloads).phases
    spec, job, tables, rates = placed(name, text)
    size = round(phase.message_bytes)
    setup = setup_of(spec, load_node(NODES[name]), offloads)
    (row,) = predict(job, [tables], [COLLECTIVES.load("all_reduce")], [size], rates, setup).predictions[0].rows
    assert row.size_bytes == size
    assert phase.seconds == pytest.approx(row.time_us * 1e-6, rel=1e-9)
    assert (phase.algorithm, phase.protocol, phase.binds) == (row.algorithm, row.protocol, row.binds)


def test_an_asked_algorithm_is_taken() -> None:
    text = "hosts: 16\nranks_per_host: 8\nmodel: resnet-50\nalgorithm: {}\n"
    assert {step(SUPERPOD, text.format(name)).phases[0].algorithm for name in ("ring", "tree")} == {"Ring", "Tree"}


# ---- groups side by side ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "offloads", "gb_s"),
    [
        (8, Offloads(), 48.0),
        (1, Offloads(), 6.0),
        (1, Offloads(gdr=False), 3.0),
    ],
    ids=["one group of 8 ranks a host on 4 HCAs", "8 groups of one, two on each HCA", "all bytes twice through PLX to root"],
)
def test_groups_share_the_hcas_of_a_dgx_1(columns: int, offloads: Offloads, gb_s: float) -> None:
    """A PCIe 3.0 x16 link carries 12 GB/s each way. Staged, a link from PLX to root takes all that two GPUs send up, and all that
    their HCA receives: 4 r up for a rate r of each rank."""
    call = side_by_side("all_gather", columns)
    priced = timer(DGX1, offloads).time(call)
    assert priced is not None
    n = call.ranks.shape[1]
    bus = priced.limits[0].algbw_gb_s * (n - 1) / n
    assert bus == pytest.approx(gb_s, rel=1e-3)
    assert priced.limits[0].kind in ("hca", "pcie")


def test_two_groups_on_one_hca_take_twice_as_long() -> None:
    whole, call = timer(DGX1), side_by_side("all_gather", 1)
    every_second = replace(call, ranks=call.ranks[::2], size_bytes=call.size_bytes[::2])
    alone, both = (whole.time(one) for one in (every_second, call))
    assert alone is not None
    assert both is not None
    assert hca(both) == pytest.approx(hca(alone) / 2, rel=1e-9)


def test_rails_do_not_disturb_each_other() -> None:
    """8 groups with an HCA each are as fast as one of them alone, and together as fast as one group of all."""
    whole, call = timer(SUPERPOD), side_by_side("all_gather", 1, hosts=64)
    alone = whole.time(replace(call, ranks=call.ranks[:1], size_bytes=call.size_bytes[:1]))
    both = whole.time(call)
    assert alone is not None
    assert both is not None
    assert both.time_us == pytest.approx(alone.time_us, rel=1e-6)


def test_a_small_group_beside_a_large_one_takes_its_share() -> None:
    call = side_by_side("all_gather", 1)
    uneven = replace(call, size_bytes=np.where(np.arange(8) % 2, 0.25, 1.0) * 1e9)
    whole = timer(DGX1)
    even, less = whole.time(call), whole.time(uneven)
    assert even is not None
    assert less is not None
    assert hca(less) == pytest.approx(hca(even) * 2 / 1.25, rel=1e-9)


@pytest.mark.parametrize("sequence_parallel", ["true", "false"])
def test_groups_within_a_host_beside_one_that_leaves_it(sequence_parallel: str) -> None:
    """Ranks 0 to 3 of 6 are one group, 4 and 5 are half of the next, which the fabric bounds; nobody asked for SHARP."""
    text = "hosts: 2\nranks_per_host: 6\nrails: [0, 1, 2, 3, 4, 5]\nmodel: llama3-8b\n"
    view = step(SUPERPOD, text + f"parallelism: {{tp: 4, sequence_parallel: {sequence_parallel}}}\n")
    layers = [phase for phase in view.phases if phase.name.startswith("tp activations")]
    assert {phase.algorithm for phase in layers} <= {"Ring", "Tree"}
    whole = step(SUPERPOD, text.replace("6\nrails", "4\nrails").replace(", 4, 5", "") + "parallelism: {tp: 4}\n")
    assert min(phase.seconds or 0 for phase in layers) > 2 * max(phase.seconds or 0 for phase in whole.phases[:4])


def test_transfers_between_stages_share_hcas_too() -> None:
    pairs = np.stack([np.arange(64), np.arange(64) + 64], axis=1).astype(np.int32)
    call = Call("pp", "forward", "sendrecv", pairs, np.full(64, 1e9), algorithm="pipeline")
    priced = timer(DGX1).time(call)
    assert priced is not None
    assert priced.limits[0].algbw_gb_s == pytest.approx(6.0)
    inside = Call("pp", "forward", "sendrecv", np.array([[0, 1]], dtype=np.int32), np.full(1, 1e9), algorithm="pipeline")
    priced = timer(DGX1).time(inside)
    assert priced is not None
    assert (priced.limits[0].kind, priced.limits[0].algbw_gb_s) == ("nvlink", pytest.approx(20.0))


# ---- a whole step -------------------------------------------------------------------------------------------------------


def test_a_step_is_the_sum_of_its_path() -> None:
    view = step(SUPERPOD, LLAMA, compute=Compute(efficiency=0.5))
    assert view.step_seconds == pytest.approx(view.compute_seconds + view.exposed_seconds + view.bubble_seconds)
    assert view.exposed_seconds == pytest.approx(sum(phase.exposed_seconds for phase in view.phases))
    whole = sum(phase.step_seconds or 0.0 for phase in view.phases)
    assert view.hidden_seconds == pytest.approx(whole - view.exposed_seconds)
    assert view.sequences == 8 * 4
    assert view.tokens == 8 * 4 * 8192
    assert view.mfu is not None
    assert 0 < view.mfu < 0.5
    assert view.tokens_per_s == pytest.approx(view.tokens / view.step_seconds)  # type: ignore[operator]


def test_faster_gpus_wait_more() -> None:
    slow, fast = (step(SUPERPOD, LLAMA, compute=Compute(ms=ms)) for ms in (4000.0, 10.0))
    assert fast.step_seconds < slow.step_seconds  # type: ignore[operator]
    assert fast.exposed_seconds > slow.exposed_seconds
    assert fast.hidden_seconds < slow.hidden_seconds


def test_without_compute_communication_stands_alone() -> None:
    view = step(SUPERPOD, LLAMA)
    assert (view.step_seconds, view.tokens_per_s, view.mfu, view.compute_seconds) == (None, None, None, 0.0)
    assert view.exposed_seconds == pytest.approx(sum(phase.step_seconds or 0.0 for phase in view.phases if not phase.overlapped))


def test_unknown_hosts_count_as_nothing_and_are_said() -> None:
    spec, job, tables, rates = placed(SUPERPOD, LLAMA)
    view = predict_step(spec, job, tables, rates)
    assert {phase.seconds for phase in view.phases if phase.kind == "tp"} == {None}
    assert all(phase.seconds for phase in view.phases if phase.kind != "tp")
    assert any("tp: within the hosts, whose inside is unknown" in note for note in view.notes)


def test_staging_through_the_host_costs() -> None:
    by = {gdr: step(SUPERPOD, LLAMA, Offloads(gdr=gdr), Compute(efficiency=0.5)).exposed_seconds for gdr in (True, False)}
    assert by[False] > by[True]


def test_a_jobs_algorithm_asks_for_sharp() -> None:
    text = "hosts: 64\nranks_per_host: 8\nmodel: bert-large\n"
    asked, switched = step(SUPERPOD, text + "algorithm: sharp\n"), step(SUPERPOD, text, Offloads(sharp=True))
    assert asked.phases[0].seconds == switched.phases[0].seconds
    assert "sharp" in asked.offloads
    with pytest.raises(InputError, match="asks for 'halving-doubling'"):
        step(SUPERPOD, text + "algorithm: halving-doubling\n")


def test_pxn_is_what_all_to_all_takes_where_it_is_asked_for() -> None:
    text = "hosts: 8\nranks_per_host: 8\nmodel: mixtral-8x7b\nparallelism: {ep: 8, tp: 4, pp: 2, sequence_parallel: true}\n"
    found = {pxn: step(SUPERPOD, text, Offloads(pxn=pxn)) for pxn in (False, True)}
    names = {pxn: {phase.algorithm for phase in view.phases if phase.kind == "ep"} for pxn, view in found.items()}
    assert names == {False: {"pairwise"}, True: {"pxn"}}


def test_adaptive_routing_is_no_slower() -> None:
    text = "hosts: 64\nplacement: random:3\nranks_per_host: 8\nmodel: llama3-70b\nparallelism: {tp: 8, zero: 1}\n"
    static, adaptive = (step(SUPERPOD, text, Offloads(adaptive=on)).exposed_seconds for on in (False, True))
    assert adaptive <= static * (1 + 1e-9)


def test_sharp_serves_a_group_of_all_ranks() -> None:
    text = "hosts: 64\nranks_per_host: 8\nmodel: bert-large\n"
    found = {sharp: step(SUPERPOD, text, Offloads(sharp=sharp)) for sharp in (False, True)}
    assert found[True].phases[0].algorithm in ("NVLS", "CollNetDirect", "CollNetChain")
    assert found[True].phases[0].seconds < found[False].phases[0].seconds  # type: ignore[operator]
    assert any("SHARP" in line for line in found[True].assumptions)
    divided = step(SUPERPOD, LLAMA.replace("zero: 1", "zero: 0"), Offloads(sharp=True))
    assert not {phase.algorithm for phase in divided.phases} & {"CollNetDirect", "CollNetChain"}


def test_sharp_serves_replicas_on_rails_of_their_own() -> None:
    """The gradients of one GPU of each host, eight times: each all-reduce is what it is alone, as NVIDIA's trees per port have it."""
    shape = "hosts: 16\nranks_per_host: 8\nmodel: llama3-8b\nparallelism: {tp: 8}\n"
    ring, tree = (step(SUPERPOD, shape, Offloads(sharp=sharp)).phases[-1] for sharp in (False, True))
    assert (ring.kind, tree.kind, tree.groups, tree.group_size) == ("dp", "dp", 8, 16)
    assert (ring.algorithm, tree.algorithm) == ("Ring", "CollNetChain")
    spec, job, tables, rates = placed(SUPERPOD, "hosts: 16\nranks_per_host: 1\n")
    setup = setup_of(spec, load_node("dgx-h100"), Offloads(sharp=True))
    size_bytes = int(tree.message_bytes) // 4 * 4
    row = predict(job, [tables], [COLLECTIVES.load("all_reduce")], [size_bytes], rates, setup).predictions[0].rows[0]
    assert tree.seconds == pytest.approx(row.time_us * 1e-6, rel=1e-6)
    assert (tree.algorithm, tree.binds) == (row.algorithm, row.binds)


def test_groups_that_share_an_hca_have_no_trees() -> None:
    shape = "hosts: 16\nranks_per_host: 8\nrails: [0, 1, 2, 3]\nmodel: llama3-8b\nparallelism: {tp: 8}\n"
    assert step(SUPERPOD, shape, Offloads(sharp=True)).phases[-1].algorithm in ("Ring", "Tree")


# ---- weak scaling -------------------------------------------------------------------------------------------------------


def test_scaling_begins_with_one_replica_and_ends_with_all() -> None:
    asked = (*placed(SUPERPOD, LLAMA.replace("hosts: 16", "hosts: 48")), load_node("dgx-h100"), None, Compute(efficiency=0.5))
    rows, view = scale_step(*asked), predict_step(*asked)
    assert [(row.n_hosts, row.dp) for row in rows] == [(4, 1), (8, 2), (16, 4), (32, 8), (48, 12)]
    assert (rows[0].efficiency, rows[-1].step_seconds) == (1.0, view.step_seconds)
    assert all(0 < row.efficiency <= 1 for row in rows)  # type: ignore[operator]
    assert rows[-1].tokens_per_s == pytest.approx(12 * rows[0].tokens_per_s * rows[-1].efficiency)  # type: ignore[operator]


def test_scaling_begins_within_a_host() -> None:
    asked = (*placed(DGX1, "hosts: 4\nranks_per_host: 8\nmodel: resnet-50\nprecision: fp32\n"), load_node("dgx-1-v100"), None)
    rows = scale_step(*asked, Compute(ms=100.0))
    assert [(row.n_hosts, row.n_ranks) for row in rows] == [(1, 8), (2, 16), (4, 32)]
    assert [row.waits_for for row in rows] == ["dp"] * 3
    assert rows[0].exposed_seconds < rows[1].exposed_seconds


def test_replicas_over_which_the_experts_do_not_divide_are_left_out() -> None:
    text = "hosts: 8\nranks_per_host: 8\nmodel: mixtral-8x7b\nparallelism: {ep: 8, tp: 4, etp: 4, zero: 1}\n"
    rows = scale_step(*placed(SUPERPOD, text), load_node("dgx-h100"))
    assert [row.dp for row in rows] == [8, 16]
    assert {row.efficiency for row in rows} == {None}


def test_less_of_everything_is_never_slower() -> None:
    """Hosts under one leaf are no slower than the same number in two units."""
    near, far = (
        step(SUPERPOD, LLAMA.replace("hosts: 16", hosts)).exposed_seconds
        for hosts in ("hosts: dgx-[0001-0016]", "hosts: dgx-[0025-0040]")
    )
    assert near <= far * (1 + 1e-9)


# ---- refused ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "offloads", "node", "error", "message"),
    [
        (DGX1, "hosts: 4\ncollective: all_reduce\n", None, "", UsageError, "no training"),
        (DGX1, LLAMA, Offloads(sharp=True), "", RefusedError, "NCCL uses SHARP for streaming aggregation only"),
        (SUPERPOD, LLAMA, None, "dgx-1-v100", UsageError, "the job uses rail 7"),
        (SUPERPOD, LLAMA.replace("ranks_per_host: 8", "ranks_per_host: 16"), None, "", UsageError, "16 ranks per host"),
        (DGX1, LLAMA, Offloads(gdr=False, async_control=True), "", RefusedError, "GPUDirect"),
        (SUPERPOD, LLAMA.replace("pp: 4", "pp: 3, layers_per_stage: [11, 11, 10]"), None, "", InputError, "128 ranks"),
    ],
    ids=["a collective", "SHARP on Switch-IB 2", "too few HCAs", "too few GPUs", "async without gdr", "ranks do not divide"],
)
def test_refused(name: str, text: str, offloads: Offloads | None, node: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        step(name, text, offloads, node=node)


def test_the_bubble_is_named() -> None:
    view = step(SUPERPOD, LLAMA, compute=Compute(ms=100.0))
    assert {segment.name for segment in view.path_segments} >= {"tp", "pp", "dp", BUBBLE}
