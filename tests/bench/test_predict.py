from __future__ import annotations

import pytest
from small_fabrics import dmodk, two_levels

import fabctl.bench.cost as cost_module
from fabctl.bench.nccl.ring import WIRE_SHARE
from fabctl.bench.predict import predict
from fabctl.bench.sizes import size_range
from fabctl.errors import RefusedError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.model.predictions import BenchTable
from fabctl.model.rates import data_rates
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.job import JobSpec
from fabctl.traffic.placement import place
from fabctl.units import Speed

DGX1 = two_levels(16, 16, 2, rails=4, host_speed=Speed.EDR)
SIZES = size_range(8, 16 << 30, 2)


def table(fabric: Fabric, *names: str, sizes: list[int] = SIZES, ranks: int | None = None) -> BenchTable:
    job = place(JobSpec(ranks_per_host=ranks), fabric)
    return predict(job, [dmodk(fabric)], [COLLECTIVES.load(name) for name in names], sizes, data_rates(fabric))


def test_sizes_are_those_of_nccl_tests() -> None:
    assert (SIZES[0], SIZES[-1], len(SIZES)) == (8, 17179869184, 32)
    assert size_range(8, 1000, 10) == [8, 80, 800]
    assert size_range(8, 8, 2) == [8]
    for wrong in ((0, 8, 2), (16, 8, 2), (8, 16, 1)):
        with pytest.raises(UsageError):
            size_range(*wrong)


@pytest.mark.parametrize(
    ("rails", "speed", "measured_gb_s", "above"),
    [
        (4, Speed.EDR, 48.0, 1.04),  # DGX-1; nccl-tests issue 29, which calls 12.2 GB/s of a port as good as it gets
        (8, Speed.HDR, 192.0, 1.04),  # DGX A100; nccl issue 812
        (2, Speed.HDR, 43.57, 1.15),  # 8 nodes on one switch; nccl issue 319
    ],
)
def test_large_all_reduces_are_bounds_from_above(rails: int, speed: Speed, measured_gb_s: float, above: float) -> None:
    fabric = two_levels(8, 8, 2, rails=rails, host_speed=speed)
    (prediction,) = table(fabric, "all_reduce", ranks=8).predictions
    assert measured_gb_s < prediction.rows[-1].busbw_gb_s < prediction.peak_busbw_gb_s < measured_gb_s * above
    assert prediction.bound.at_host


@pytest.mark.parametrize("name", COLLECTIVES.names())
def test_columns_agree_with_each_other(name: str) -> None:
    collective = COLLECTIVES.load(name)
    (prediction,) = table(DGX1, name, ranks=8).predictions
    assert prediction.rows[-1].size_bytes == 16 << 30
    times = [row.time_us for row in prediction.rows]
    assert times == sorted(times)
    for row in prediction.rows:
        assert row.algbw_gb_s == pytest.approx(row.size_bytes / 1e9 / (row.time_us / 1e6))
        assert row.busbw_gb_s == pytest.approx(row.algbw_gb_s * collective.bus_factor(128))
        assert 0 < row.latency_us < row.time_us
        transfer = row.size_bytes / 1e3 / (prediction.peak_busbw_gb_s / collective.bus_factor(128))
        assert row.time_us - row.latency_us == pytest.approx(transfer / WIRE_SHARE[row.protocol])
    assert prediction.mean_busbw_gb_s == pytest.approx(sum(row.busbw_gb_s for row in prediction.rows) / len(times))


def test_protocols_change_as_nccls_do() -> None:
    (prediction,) = table(DGX1, "all_reduce", ranks=8).predictions
    protocols = [row.protocol for row in prediction.rows]
    assert list(dict.fromkeys(protocols)) == ["LL", "LL128", "Simple"]
    (alltoall,) = table(DGX1, "alltoall", ranks=8).predictions
    assert list(dict.fromkeys(row.protocol for row in alltoall.rows)) == ["LL", "Simple"]


def test_sizes_and_counts_are_rounded_as_nccl_tests_rounds_them() -> None:
    """A split message has whole 16-byte pieces per rank; its count is per rank, that of others is the whole message's."""
    fabric = two_levels(12, 4, 4)
    result = table(fabric, "all_reduce", "alltoall", sizes=[3, 100, 300, 1000, 1 << 20])
    whole, split = result.predictions
    assert [(row.size_bytes, row.count) for row in whole.rows] == [(100, 25), (300, 75), (1000, 250), (1 << 20, 1 << 18)]
    assert [(row.size_bytes, row.count) for row in split.rows] == [(192, 4), (960, 20), (1048512, 21844)]
    assert any(note.startswith("alltoall: sizes are rounded down") for note in result.notes)


def test_messages_too_small_to_split_are_refused() -> None:
    with pytest.raises(RefusedError, match="all_gather over 12 ranks needs messages of at least 192 bytes"):
        table(two_levels(12, 4, 4), "all_gather", sizes=[8, 16])


def test_all_sizes_cost_one_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("channel_loads", "alltoall_loads"):
        real = getattr(cost_module, name)
        monkeypatch.setattr(cost_module, name, lambda *given, real=real, name=name: calls.append(name) or real(*given))
    table(two_levels(12, 4, 4), "all_reduce", "alltoall")
    assert calls == ["channel_loads", "channel_loads", "alltoall_loads"]


def test_routes_stand_side_by_side() -> None:
    fabric = two_levels(12, 4, 4)
    job = place(JobSpec(), fabric)
    good, bad = dmodk(fabric), dmodk(fabric)
    up = bad.lft[:3, 0x400:]
    up[up > 4] = 5  # every leaf sends all up to the first spine
    bad = type(bad)(fabric, bad.lft, "one-spine")
    collectives = [COLLECTIVES.load(name) for name in ("all_gather", "alltoall")]
    result = predict(job, [good, bad], collectives, [1 << 30], data_rates(fabric))
    assert result.routes == ("d-mod-k", "one-spine")
    assert [(p.collective, p.routes) for p in result.predictions] == [
        ("all_gather", "d-mod-k"),
        ("all_gather", "one-spine"),
        ("alltoall", "d-mod-k"),
        ("alltoall", "one-spine"),
    ]
    ring, same_ring, alltoall, jammed = result.predictions
    assert same_ring.rows == ring.rows, "one flow leaves each leaf: one spine is enough"
    assert jammed.bound.label == "leaf-0/P5 -> spine-0/P1"
    assert jammed.bound.flows == 4 * 8
    assert alltoall.peak_busbw_gb_s / jammed.peak_busbw_gb_s == pytest.approx(32 / 11)
    assert jammed.host_busbw_gb_s == pytest.approx(alltoall.peak_busbw_gb_s)


def test_assumptions_are_said() -> None:
    fabric = two_levels(12, 4, 4)
    text = "\n".join(table(fabric, "alltoall").assumptions)
    for word in ("99.37%", "static routes", "upper bound", "NCCL_ALGO=RING", "LL128 at 92%", "own HCA"):
        assert word in text
    pxn = predict(
        place(JobSpec(pxn=True), fabric), [dmodk(fabric)], [COLLECTIVES.load("alltoall")], [1 << 20], data_rates(fabric)
    )
    assert "(PXN)" in pxn.assumptions[-1]
    assert pxn.assumptions[-1] not in text
    assert "broadcast" not in text, "only what applies"
