"""Phases that run at the same time, against walks in plain Python and numbers that can be counted."""

from __future__ import annotations

import numpy as np
import pytest
from families import build
from pair_oracles import job_of, routed
from small_fabrics import dmodk, two_levels, walked

from fabctl.congestion.meeting import meet
from fabctl.congestion.rows import flows_on
from fabctl.errors import RefusedError
from fabctl.model.named import JobShare, named_cable
from fabctl.model.rates import payload_rates
from fabctl.units import Speed

GB = 1e9


def test_flows_on_a_cable_by_their_jobs_and_ranks() -> None:
    fabric = two_levels(8, 4, 2)
    tables, rates = dmodk(fabric), payload_rates(fabric)
    mine = job_of(fabric, [0, 4], [(0, 1)], GB, name="mine")
    other = job_of(fabric, [1, 6, 2, 5], [(2, 3), (0, 1), (1, 0)], [GB, 3 * GB, GB], name="other")
    met = meet(tables, [(mine, mine.phases[0]), (other, other.phases[0])], rates)
    hottest = int(np.argmax(met.loads))
    cable = named_cable(fabric, hottest, rates)
    assert cable.label == "leaf-0/P5 -> spine-0/P1"  # hosts 4 and 6 have even LIDs: both take spine 0
    assert (cable.speed, cable.data_gbps, cable.at_host) == ("4xNDR", 400.0, False)
    on_it = flows_on(met.channels, hottest)
    assert on_it.tolist() == [0, 2]
    assert met.shares(on_it) == (JobShare("other", "p", 1, 3 * GB), JobShare("mine", "p", 1, GB))
    assert met.largest(on_it, 1).tolist() == [2]
    pair = met.rank_pair(2, 5e9)
    assert (pair.job, pair.source, pair.target, pair.source_port) == ("other", "n0001:0", "n0006:0", "n0001 mlx5_0/P1")
    assert (pair.size_bytes, pair.gb_s) == (3 * GB, 5.0)


@pytest.mark.parametrize("family", ["xgft-faults", "torus", "dragonfly-plus", "rail-optimised"])
def test_loads_against_walks_in_plain_python(family: str) -> None:
    fabric = build(family, "small")
    tables, rates = routed(fabric), payload_rates(fabric)
    rng = np.random.default_rng(7)
    n = len(fabric.endpoints)
    pairs = [(a, int(b)) for a, b in enumerate(rng.permutation(n).tolist()) if a != b]
    traffic = job_of(fabric, None, pairs, rng.integers(1, 5, len(pairs)) * GB)
    met = meet(tables, [(traffic, traffic.phases[0])], rates)
    np.testing.assert_array_equal(met.loads, walked(tables, traffic.phases[0].flows))
    for channel in np.flatnonzero(met.loads).tolist():
        assert sum(share.size_bytes for share in met.shares(flows_on(met.channels, channel))) == met.loads[channel]


def test_unknown_rates_are_refused_by_name() -> None:
    fabric = two_levels(8, 4, 2, up_speed=Speed.UNKNOWN)
    traffic = job_of(fabric, range(8), [(0, 4)], GB)
    with pytest.raises(RefusedError, match="leaf-0/P5 -> spine-0/P1"):
        meet(dmodk(fabric), [(traffic, traffic.phases[0])], payload_rates(fabric))
