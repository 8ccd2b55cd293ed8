"""A phase's bottleneck cables against walks in plain Python and numbers that can be counted."""

from __future__ import annotations

import json

import numpy as np
import pytest
from families import build
from pair_oracles import fair_rates_by_hand, job_of, routed
from small_fabrics import dmodk, two_levels, walked

from fabctl.congestion.bottlenecks import bottlenecks, busiest_phase, phase_bottlenecks
from fabctl.congestion.phases import phase_channels
from fabctl.errors import RefusedError
from fabctl.model.phases import JobTraffic
from fabctl.model.rates import payload_rates
from fabctl.report.bottlenecks import bottleneck_data, bottleneck_table
from fabctl.units import Speed

GB = 1e9


def test_the_cable_with_most_bytes_comes_first_and_names_its_pairs() -> None:
    fabric = two_levels(8, 4, 2)
    tables, rates = dmodk(fabric), payload_rates(fabric)
    traffic = job_of(fabric, range(8), [(0, 4), (1, 6), (2, 5), (3, 7)], [GB, 2 * GB, GB, GB])
    (found,) = phase_bottlenecks(tables, [traffic], rates, top=3)
    first = found.cables[0]
    assert first.cable.label == "leaf-0/P5 -> spine-0/P1"  # hosts 4 and 6 have even LIDs: both take spine 0
    assert (first.size_bytes, first.flows, first.binds, first.cable.at_host) == (3 * GB, 2, 2, False)
    assert first.size_bytes == walked(tables, traffic.phases[0].flows).max()
    assert first.drain_s == pytest.approx(3 * GB / rates[0])
    assert (found.seconds, found.together_s) == (pytest.approx(first.drain_s), found.seconds)
    named = [(pair.source, pair.target, pair.source_port, pair.size_bytes) for pair in first.pairs]
    assert named == [("n0001:0", "n0006:0", "n0001 mlx5_0/P1", 2 * GB), ("n0000:0", "n0004:0", "n0000 mlx5_0/P1", GB)]
    assert first.pairs[0].gb_s == pytest.approx(rates[0] / 2 / 1e9)
    assert found.equals == 2  # up to spine 0 and down from it
    assert [share.flows for share in first.shares] == [2]


def test_slow_cables_bind_before_full_ones() -> None:
    fabric = two_levels(8, 4, 2, host_speed=Speed.HDR, up_speed=Speed.NDR)
    tables, rates = dmodk(fabric), payload_rates(fabric)
    traffic = job_of(fabric, range(8), [(0, 4), (1, 6), (2, 4)], GB)
    first = phase_bottlenecks(tables, [traffic], rates)[0].cables[0]
    assert first.cable.label == "leaf-1/P1 -> n0004 mlx5_0/P1"  # 2 GB at HDR, against 3 GB at NDR
    assert first.cable.at_host
    assert first.drain_s == pytest.approx(2 * GB / rates[fabric.channel_of_port[traffic.phases[0].flows.src[0]]])


def test_several_jobs_meet_with_their_busiest_phases() -> None:
    fabric = two_levels(8, 4, 2)
    tables, rates = dmodk(fabric), payload_rates(fabric)
    mine = job_of(fabric, [0, 4], [(0, 1)], GB, name="mine")
    other = job_of(fabric, [1, 6], [(0, 1)], 3 * GB, name="other")
    small = job_of(fabric, [1, 6], [(1, 0)], GB).phases[0]
    other = JobTraffic(other.name, other.hosts, 1, (small, *other.phases))
    assert busiest_phase(tables, other, rates) is other.phases[1]
    first, *rest = phase_bottlenecks(tables, [mine, other], rates)
    assert first.phases == (("mine", "p"), ("other", "p"))
    assert len(rest) == 2
    cable = first.cables[0]
    assert [(share.job, share.size_bytes) for share in cable.shares] == [("other", 3 * GB), ("mine", GB)]
    assert first.seconds == pytest.approx(2 * GB / rates[0])  # mine at half the rate
    assert first.together_s == pytest.approx(4 * GB / rates[0])
    alone = phase_bottlenecks(tables, [mine], rates)[0]
    assert alone.seconds == pytest.approx(GB / rates[0])


@pytest.mark.parametrize("family", ["xgft-faults", "torus", "dragonfly-plus", "rail-optimised"])
def test_against_walks_in_plain_python(family: str) -> None:
    fabric = build(family, "small")
    tables, rates = routed(fabric), payload_rates(fabric)
    rng = np.random.default_rng(7)
    n = len(fabric.endpoints)
    pairs = [(a, int(b)) for a, b in enumerate(rng.permutation(n).tolist()) if a != b]
    traffic = job_of(fabric, None, pairs, rng.integers(1, 5, len(pairs)) * GB)
    phase = traffic.phases[0]
    loads = walked(tables, phase.flows)
    found = bottlenecks(tables, [(traffic, phase)], rates, top=1000)
    drains = np.sort(loads[loads > 0] / rates[loads > 0])[::-1]
    np.testing.assert_allclose([cable.drain_s for cable in found.cables], drains)
    assert {cable.cable.label: cable.size_bytes for cable in found.cables} == {
        fabric.cable_label(channel): loads[channel] for channel in np.flatnonzero(loads).tolist()
    }
    assert found.seconds >= drains[0] * (1 - 1e-9)
    by_hand = fair_rates_by_hand(phase_channels(tables, phase), rates)
    for pair in found.cables[0].pairs:
        (at,) = (row for row, rank in enumerate(phase.src_rank.tolist()) if traffic.rank_label(rank) == pair.source)
        assert pair.gb_s * 1e9 == pytest.approx(by_hand[at])


def test_unknown_rates_are_refused_by_name() -> None:
    fabric = two_levels(8, 4, 2, up_speed=Speed.UNKNOWN)
    traffic = job_of(fabric, range(8), [(0, 4)], GB)
    with pytest.raises(RefusedError, match="leaf-0/P5 -> spine-0/P1"):
        phase_bottlenecks(dmodk(fabric), [traffic], payload_rates(fabric))


def test_a_job_that_sends_nothing_has_no_bottleneck() -> None:
    fabric = two_levels(8, 4, 2)
    nothing = job_of(fabric, range(8), [], GB)
    assert busiest_phase(dmodk(fabric), nothing, payload_rates(fabric)) is None
    (found,) = phase_bottlenecks(dmodk(fabric), [nothing], payload_rates(fabric))
    assert (found.cables, found.seconds, found.equals) == ((), 0.0, 0)


def test_tables_and_json_name_the_same_cables() -> None:
    fabric = two_levels(8, 4, 2)
    traffic = job_of(fabric, range(8), [(0, 4), (1, 6), (2, 5), (3, 7)], [GB, 2 * GB, GB, GB])
    found = phase_bottlenecks(dmodk(fabric), [traffic], payload_rates(fabric), top=2)
    table, (entry,) = bottleneck_table(found), bottleneck_data(found)
    assert [(row["from"], row["from_port"], row["to"], row["to_port"]) for row in table.rows] == [
        (cable["from"], cable["from_port"], cable["to"], cable["to_port"]) for cable in entry["cables"]
    ]
    assert (table.rows[0]["phase"], table.rows[0]["jobs"], table.rows[0]["example"]) == (
        "job: p",
        ["job (2)"],
        "n0001:0 > n0006:0",
    )
    assert entry["phases"] == [{"job": "job", "phase": "p"}]
    assert entry["cables"][0]["pairs"][0]["source"] == "n0001:0"
    assert json.dumps(entry)
