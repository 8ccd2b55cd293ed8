"""Streaming trees against brute force: how many jobs at once, how deep, and what is said of those that are left out."""

from __future__ import annotations

import numpy as np
import pytest
from sharp_fabrics import Brute, draw, draw_rules

from fabctl.offload.sharp.bound import upper_bound
from fabctl.offload.sharp.demand import Demand, branch, rules_of
from fabctl.offload.sharp.packing import pack
from fabctl.offload.sharp.ways import Ways


@pytest.mark.parametrize("seed", range(100))
def test_as_many_jobs_stream_and_as_low_as_brute_force_finds(seed: int) -> None:
    drawn = draw(seed)
    usable = np.ones(drawn.fabric.n_switches, dtype=bool)
    ways, rules = Ways(drawn.fabric, usable), draw_rules(seed, rules_of(drawn.fabric, usable))
    demands = [
        Demand(f"job {number}", job.rails, tuple(branch(ports, ways.maker.leaves(ports)) for ports in job.ports.T))
        for number, job in enumerate(drawn.jobs)
    ]
    most = Brute(drawn.fabric, rules).most(demands)
    reachable = [demand for demand in demands if all(ways.roots(one) for one in demand.branches)]
    bound = upper_bound(reachable, rules, ways)
    packing = pack(reachable, rules, ways, bound.jobs if bound else None)
    assert packing.exact
    assert (len(packing.trees), packing.depth) == most
    assert bound is None or bound.jobs >= most[0]
