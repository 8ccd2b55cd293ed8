"""What SHARP gains a job: `bench` without it and with it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from fabctl.bench.predict import Setup, predict
from fabctl.bench.sharp import collnet_plan
from fabctl.bench.sharp_limit import streaming_limit
from fabctl.bench.walked import Walked
from fabctl.errors import FabctlError
from fabctl.model.fabric import Fabric
from fabctl.model.offloads import Offloads
from fabctl.model.rates import data_rates
from fabctl.model.sharp_plan import SharpGain
from fabctl.model.tables import RoutingTables
from fabctl.offload.site import Site
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.placement import Job
from fabctl.traffic.switch_trees import Tree

SIZES = (8 << 10, 1 << 20, 64 << 20, 1 << 30)
"""Sizes in bytes of the all-reduce that is predicted."""


def gains(site: Site, job: Job, trees: tuple[Tree, ...]) -> tuple[tuple[SharpGain, ...], str]:
    """Return what an all-reduce of a job gains by its trees, and what that rests on or why it is unknown."""
    try:
        rates = data_rates(site.fabric)
        tables = site.tables or _updn(site.fabric)
        walked = Walked(job, rates)
        if site.node is None:
            return _wire(job, trees, tables, walked)
        setup = Setup(site.node, Offloads())
        all_reduce = [COLLECTIVES.load("all_reduce")]
        without = predict(job, [tables], all_reduce, SIZES, rates, setup, walked=walked)
        sharp = replace(setup, offloads=Offloads(sharp=True), required=("sharp",))
        with_it = predict(job, [tables], all_reduce, SIZES, rates, sharp, walked=walked)
    except FabctlError as error:
        return (), f"not predicted: {error.message}"
    rows = zip(without.predictions[0].rows, with_it.predictions[0].rows, strict=True)
    return tuple(
        SharpGain(one.size_bytes, one.time_us, other.time_us, one.algorithm, other.algorithm) for one, other in rows
    ), f"all_reduce as NCCL chooses, hosts {site.node.name}, routes {tables.origin}"


def _wire(job: Job, trees: tuple[Tree, ...], tables: RoutingTables, walked: Walked) -> tuple[tuple[SharpGain, ...], str]:
    """Compare rings and these trees on the cables alone, where the hosts are unknown."""
    limit = streaming_limit(replace(collnet_plan(job), trees=trees), walked.rates)
    ring = (
        predict(job, [tables], [COLLECTIVES.load("all_reduce")], SIZES[-1:], walked.rates, walked=walked).predictions[0].rows[0]
    )
    gain = SharpGain(ring.size_bytes, ring.time_us, ring.size_bytes / (limit.algbw_gb_s * 1e3), ring.algorithm, "streaming trees")
    return (gain,), f"cables alone, routes {tables.origin}: what the hosts are is unknown (--node)"


@lru_cache(maxsize=1)
def _updn(fabric: Fabric) -> RoutingTables:
    """Return routes by up*/down*, which SHARP's trees follow."""
    from fabctl.routing.compute import compute_tables
    from fabctl.routing.options import DEFAULTS

    return compute_tables(fabric, "updn", DEFAULTS)
