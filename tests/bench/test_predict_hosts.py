"""Predictions for hosts that are known: NCCL's choice, and the slowest of what it, the host and the fabric allow."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from small_fabrics import dmodk, two_levels

import fabctl.bench.cost as cost_module
from fabctl.bench.advice import advice
from fabctl.bench.cost import cost
from fabctl.bench.inside import inside_limits
from fabctl.bench.nccl.tuner import Tuner
from fabctl.bench.predict import Setup, Walked, predict, predict_inside, setup_of, with_ranks
from fabctl.bench.pricing import NCCL, WIRE_SHARE, Priced
from fabctl.bench.sizes import size_range
from fabctl.errors import InputError, RefusedError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.model.offloads import CPU_CENTRIC, Offloads
from fabctl.model.predictions import BenchTable, Limit, Prediction
from fabctl.model.rates import data_rates
from fabctl.model.tables import RoutingTables
from fabctl.nodes.reading import load_node
from fabctl.traffic.algorithm import collective_phases
from fabctl.traffic.collective import Demand
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.group import world
from fabctl.traffic.job import JobSpec
from fabctl.traffic.placement import Job, place
from fabctl.units import Speed

A100 = load_node("dgx-a100")
FABRIC = two_levels(8, 4, 2, rails=8, host_speed=Speed.HDR, up_speed=Speed.HDR)
SIZES = size_range(1024, 16 << 30, 8)
ON_WIRE = {"Ring": "ring", "Tree": "tree"}


def placed(fabric: Fabric = FABRIC, ranks: int = 8, order: str = "as-given") -> Job:
    return place(JobSpec(ranks_per_host=ranks, order=order), fabric)


def of(
    name: str, setup: Setup, fabric: Fabric = FABRIC, tables: RoutingTables | None = None, order: str = "as-given"
) -> Prediction:
    routes, rates = [tables or dmodk(fabric)], data_rates(fabric)
    return predict(placed(fabric, order=order), routes, [COLLECTIVES.load(name)], SIZES, rates, setup).predictions[0]


def one_spine(fabric: Fabric, hosts_per_leaf: int) -> RoutingTables:
    """Return routes on which every leaf sends all that leaves it up to the first of two spines."""
    tables = dmodk(fabric)
    lft = tables.lft.copy()
    leaves = lft[: fabric.n_switches - 2]
    leaves[leaves == hosts_per_leaf + 2] = hosts_per_leaf + 1
    return replace(tables, lft=lft)


# ---- the rule ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["all_reduce", "all_gather", "broadcast"])
def test_each_row_is_the_choice_of_nccl_over_the_slowest_part(name: str) -> None:
    """The rule of docs/bench.md, written out: nothing kept between sizes, everything walked again."""
    job, tables = placed(), dmodk(FABRIC)
    tuner = Tuner(A100, 8, 8, Offloads())
    for row in of(name, Setup(A100)).rows:
        choice = tuner.choose(name, row.size_bytes)
        phases = collective_phases(name, ON_WIRE[choice.algorithm], [world(job)], 1.0)
        fabric = [1 / cost(tables, Demand(phase.flows), data_rates(FABRIC)).us_per_byte / 1e3 for phase in phases]
        inside = inside_limits(A100, name, choice.algorithm, 8, 64, A100.hcas, Offloads())
        links = min([*fabric, *(limit.algbw_gb_s for limit in inside)]) * WIRE_SHARE[choice.protocol]
        time_us = choice.latency_us + row.size_bytes / 1e3 / min(links, choice.bandwidth_gb_s)
        assert (row.algorithm, row.protocol) == (choice.algorithm, choice.protocol)
        assert row.time_us == pytest.approx(time_us, rel=0.005)  # TIE: hardware is named where NCCL counts on a little less


def test_what_binds_takes_most_of_the_time() -> None:
    for row in of("all_reduce", Setup(A100)).rows:
        assert (row.binds == "latency") == (row.latency_us >= row.time_us / 2)
        assert bool(row.binds_at) == (row.binds != "latency")


@pytest.mark.parametrize("name", COLLECTIVES.names())
def test_peaks_are_not_passed(name: str) -> None:
    found = of(name, Setup(A100))
    peaks = {way.algorithm: way.peak_busbw_gb_s for way in found.ways}
    for row in found.rows:
        assert 0 < row.busbw_gb_s < peaks[row.algorithm] * (1 + 1e-9)
    for way in found.ways:
        assert [limit.algbw_gb_s for limit in way.limits if limit.kind != NCCL] == sorted(
            limit.algbw_gb_s for limit in way.limits if limit.kind != NCCL
        )


@pytest.mark.parametrize("name", COLLECTIVES.names())
def test_a_slower_fabric_is_never_faster(name: str) -> None:
    slow = two_levels(8, 4, 2, rails=8, host_speed=Speed.HDR, up_speed=Speed.EDR)
    for fast_row, slow_row in zip(of(name, Setup(A100)).rows, of(name, Setup(A100), slow).rows, strict=True):
        assert slow_row.time_us >= fast_row.time_us * (1 - 1e-9)


@pytest.mark.parametrize("name", COLLECTIVES.names())
def test_without_gpudirect_large_messages_bind_in_the_host(name: str) -> None:
    offloaded, staged = of(name, Setup(A100)), of(name, Setup(A100, CPU_CENTRIC))
    assert staged.rows[-1].time_us > 2 * offloaded.rows[-1].time_us
    assert staged.rows[-1].binds in ("pcie", "memory", NCCL)


def test_the_named_cable_is_the_collision() -> None:
    fabric = two_levels(8, 4, 2, rails=4, host_speed=Speed.EDR, up_speed=Speed.EDR)
    node = load_node("dgx-1-v100")
    good = of("all_reduce", Setup(node), fabric)
    bad = of("all_reduce", Setup(node), fabric, one_spine(fabric, 4), order="random")
    assert (good.rows[-1].binds, good.rows[-1].binds_at) == ("hca", "mlx5_0 -> PLX0")
    assert bad.bound is not None
    assert (bad.rows[-1].binds, bad.rows[-1].binds_at) == ("cable", bad.bound.label)
    assert bad.bound.flows > 1


# ---- other algorithms, offloads -----------------------------------------------------------------------------------------


def test_sharp_is_refused_where_switches_are_unknown() -> None:
    with pytest.raises(RefusedError, match="it is unknown whether switches"):
        of("all_reduce", Setup(A100, Offloads(sharp=True)))


@pytest.mark.parametrize("name", ["all_reduce", "alltoall"])
def test_adaptive_routing_undoes_a_collision(name: str) -> None:
    """Two spines hold what two hosts a leaf send; on one of them it collides, and balanced it does not."""
    fabric = two_levels(8, 2, 2, host_speed=Speed.EDR, up_speed=Speed.EDR)
    tables, job = one_spine(fabric, 2), placed(fabric, 1)
    collective, rates = COLLECTIVES.load(name), data_rates(fabric)
    static, adaptive, best = (
        predict(job, [routes], [collective], [1 << 30], rates, Setup(offloads=Offloads(adaptive=flag))).predictions[0]
        for routes, flag in ((tables, False), (tables, True), (dmodk(fabric), False))
    )
    assert static.peak_busbw_gb_s <= adaptive.peak_busbw_gb_s * (1 + 1e-9)
    assert adaptive.peak_busbw_gb_s == pytest.approx(best.peak_busbw_gb_s, rel=0.02)


def test_adaptive_alltoall_of_several_rails_leaves_pairs_inside_hosts_out() -> None:
    """No flow between the rails of one host; where nothing blocks, the hosts' cables bound as on static routes."""
    fabric = two_levels(4, 2, 4, rails=2)
    job, rates = placed(fabric, 2), data_rates(fabric)
    static, adaptive = (
        predict(job, [dmodk(fabric)], [COLLECTIVES.load("alltoall")], [1 << 30], rates, Setup(offloads=Offloads(adaptive=flag)))
        for flag in (False, True)
    )
    assert adaptive.predictions[0].host_busbw_gb_s == pytest.approx(static.predictions[0].host_busbw_gb_s)
    assert adaptive.predictions[0].peak_busbw_gb_s == pytest.approx(static.predictions[0].host_busbw_gb_s, rel=0.01)


def test_a_job_chooses_its_algorithm() -> None:
    forced = setup_of(JobSpec(algorithm="tree"), A100)
    assert {row.algorithm for row in of("all_reduce", forced).rows} == {"Tree"}
    with pytest.raises(RefusedError, match="NCCL does no all_reduce by NVLSTree here"):
        of("all_reduce", setup_of(JobSpec(algorithm="nvls-tree"), A100))
    with pytest.raises(InputError, match="this job asks for 'halving-doubling'"):
        setup_of(JobSpec(algorithm="halving-doubling"), A100)
    with pytest.raises(InputError, match="what they are is unknown"):
        setup_of(JobSpec(algorithm="tree"))
    assert setup_of(JobSpec(algorithm="sharp"), A100).offloads.sharp
    assert setup_of(JobSpec(algorithm="pxn")).offloads.pxn


def test_one_gpu_per_host_takes_pat() -> None:
    job = place(JobSpec(ranks_per_host=1), FABRIC)
    (found,) = predict(job, [dmodk(FABRIC)], [COLLECTIVES.load("all_gather")], SIZES, data_rates(FABRIC), Setup(A100)).predictions
    assert "PAT" in {row.algorithm for row in found.rows}


def test_channels_of_a_job_load_its_rails() -> None:
    """Three channels on two rails: the first carries two of them, 4/3 of its share."""
    fabric = two_levels(4, 4, 4, rails=2, host_speed=Speed.HDR, up_speed=Speed.HDR)
    job, rates, ring = placed(fabric, 2), data_rates(fabric), COLLECTIVES.load("all_reduce")
    even, odd = (
        predict(job, [dmodk(fabric)], [ring], [1 << 30], rates, Setup(channels=channels)).predictions[0] for channels in (2, 3)
    )
    assert even.peak_busbw_gb_s / odd.peak_busbw_gb_s == pytest.approx(4 / 3)


# ---- advice ------------------------------------------------------------------------------------------------------------


def priced(algorithm: str, size_bytes: int, gb_s: float, latency_us: float = 0.0) -> Priced:
    return Priced(algorithm, "Simple", size_bytes, latency_us, (Limit("cable", "leaf/P1 -> spine/P1", gb_s),))


def test_advice_names_the_sizes_the_setting_and_the_cable() -> None:
    options = [[priced("Tree", size, 10), priced("Ring", size, 20)] for size in (1 << 20, 2 << 20, 4 << 20)]
    (line,) = advice([[priced("Ring", 1 << 19, 20), priced("Tree", 1 << 19, 10)], *options])
    assert line.startswith("at 1M to 4M NCCL_ALGO=Ring NCCL_PROTO=Simple would take 50% of the time of NCCL's Tree")
    assert line.endswith("Tree meets leaf/P1 -> spine/P1")


def test_no_advice_where_nccl_chooses_well() -> None:
    assert advice([[priced("Tree", 8, 10), priced("Ring", 8, 10.9)]]) == ()


def test_advice_keeps_its_promise() -> None:
    """What the line says another setting would take is what a job that asks for it takes."""
    fabric = two_levels(8, 4, 2, rails=8, host_speed=Speed.HDR, up_speed=Speed.HDR)
    tables = one_spine(fabric, 4)
    found = of("all_reduce", Setup(A100), fabric, tables, "random")
    for line in found.advice:
        asked = line.split("NCCL_ALGO=")[1].split()[0]
        other = of("all_reduce", setup_of(JobSpec(algorithm=ON_WIRE[asked]), A100), fabric, tables, "random")
        share = float(line.split("would take ")[1].split("%")[0]) / 100
        ratios = [row.time_us / mine.time_us for row, mine in zip(other.rows, found.rows, strict=True)]
        assert any(ratio == pytest.approx(share, abs=0.006) for ratio in ratios)
    assert found.advice


# ---- one host; many predictions ------------------------------------------------------------------------------------------


def test_inside_one_host() -> None:
    h100 = load_node("dgx-h100")
    table = predict_inside(h100, 8, [COLLECTIVES.load("all_reduce")], SIZES)
    assert (table.n_hosts, table.n_ranks, table.routes) == (1, 8, ())
    assert table.predictions[0].bound is None
    assert table.predictions[0].rows[-1].algorithm == "NVLS"
    ring = predict_inside(h100, 8, [COLLECTIVES.load("all_reduce")], SIZES, Offloads(nvls=False)).predictions[0]
    assert 359 < ring.rows[-1].busbw_gb_s < 371 < table.predictions[0].rows[-1].busbw_gb_s


def test_alltoall_inside_one_host() -> None:
    (found,) = predict_inside(A100, 8, [COLLECTIVES.load("alltoall")], SIZES).predictions
    assert found.rows[-1].binds == "nvlink"
    assert found.rows[-1].busbw_gb_s == pytest.approx(240, rel=0.01)


def test_one_walk_serves_all_offloads(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real = cost_module.channel_loads
    monkeypatch.setattr(cost_module, "channel_loads", lambda *given: calls.append("") or real(*given))
    job, rates = placed(), data_rates(FABRIC)
    walked, tables = Walked(job, rates), dmodk(FABRIC)

    def table(offloads: Offloads, walked: Walked | None) -> BenchTable:
        return predict(job, [tables], [COLLECTIVES.load("all_reduce")], SIZES, rates, Setup(A100, offloads), walked=walked)

    first = table(Offloads(), walked)
    once = len(calls)
    table(CPU_CENTRIC, walked)
    assert len(calls) == once
    assert table(Offloads(), None) == first


def test_ranks_follow_the_gpus() -> None:
    spec = with_ranks(JobSpec(), A100)
    assert spec.ranks_per_host == 8
    assert "one rank per GPU of dgx-a100" in spec.notes[-1]
    assert with_ranks(JobSpec(ranks_per_host=4), A100).ranks_per_host == 4
    assert with_ranks(JobSpec(), None).ranks_per_host is None


def test_hosts_that_do_not_fit_are_named() -> None:
    with pytest.raises(UsageError, match="uses rail 7, and the HCAs of a dgx-1-v100 are numbered from 0 to 3"):
        of("all_reduce", Setup(load_node("dgx-1-v100")))
    with pytest.raises(UsageError, match="16 ranks per host, and a dgx-a100 has 8 GPUs"):
        predict(placed(ranks=16), [dmodk(FABRIC)], [COLLECTIVES.load("all_reduce")], SIZES, data_rates(FABRIC), Setup(A100))
    fewer = two_levels(8, 4, 2, rails=4)
    job = placed(fewer)
    table = predict(job, [dmodk(fewer)], [COLLECTIVES.load("all_reduce")], SIZES, data_rates(fewer), Setup(A100))
    assert any("have 4 HCAs each, a dgx-a100 has 8" in note for note in table.notes)


@pytest.mark.parametrize(
    "offloads", [Offloads(sharp=True), Offloads(gdr=False), Offloads(async_control=True), Offloads(nvls=False)]
)
def test_offloads_of_unknown_hosts_are_a_usage_error(offloads: Offloads) -> None:
    with pytest.raises(UsageError, match="depends on the hosts, and what they are is unknown"):
        of("all_reduce", Setup(offloads=offloads))


def test_times_grow_with_sizes_of_one_way() -> None:
    rows = of("all_reduce", Setup(A100)).rows
    for before, after in pairwise(rows):
        if (before.algorithm, before.protocol) == (after.algorithm, after.protocol):
            assert after.time_us > before.time_us
    assert np.all(np.diff([row.size_bytes for row in rows]) > 0)


@pytest.mark.parametrize(
    ("switch", "hca", "message"),
    [
        (0xBD36, 0x101B, "InfiniScale IV switches do not route adaptively"),
        (0xD2F0, 0x1013, "ConnectX-4 HCAs do not take packets"),
    ],
)
def test_hardware_that_cannot_is_refused(switch: int, hca: int, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        adaptive_table(switch, hca)


def test_unknown_hardware_is_assumed_to_route_adaptively_and_said() -> None:
    lines = adaptive_table(1, 2).assumptions
    assert any(line.startswith("that switches of device id 0x0001 route adaptively is assumed") for line in lines)
    assert any(line.startswith("that HCAs of device id 0x0002 take packets in any order") for line in lines)
    assert not any("is assumed" in line for line in adaptive_table(0xD2F0, 0x101B).assumptions)


def adaptive_table(switch: int, hca: int) -> BenchTable:
    """Return a prediction with adaptive routing on switches and HCAs of some device ids."""
    fabric = two_levels(4, 2, 2)
    ids = np.where(np.arange(fabric.n_nodes) < fabric.n_switches, switch, hca).astype(np.uint32)
    fabric = replace(fabric, device_id=ids)
    setup, collective = Setup(offloads=Offloads(adaptive=True)), COLLECTIVES.load("all_reduce")
    return predict(placed(fabric, 1), [dmodk(fabric)], [collective], [1 << 20], data_rates(fabric), setup)
