"""What adaptive routing gains a job: `bench` with static routes and with adaptive ones."""

from __future__ import annotations

from fabctl.bench.predict import Setup, predict
from fabctl.errors import FabctlError
from fabctl.model.adaptive_plan import AdaptiveGain
from fabctl.model.offloads import Offloads
from fabctl.model.rates import data_rates
from fabctl.model.tables import RoutingTables
from fabctl.offload.site import Site
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.placement import Job

OPERATIONS = ("alltoall", "all_reduce")
SIZE_BYTES = 256 << 20


def gains(site: Site, tables: RoutingTables) -> tuple[tuple[AdaptiveGain, ...], str]:
    """Return what the first job of a site gains, and what that rests on or why it is unknown."""
    if not site.jobs:
        return (), "what a job gains: --job FILE"
    try:
        found = _predicted(site, site.jobs[0], tables)
    except FabctlError as error:
        return (), f"gain not predicted: {error.message}"
    return found, f"bench on the routes of {tables.origin}; adaptive: balanced as well as can be (fluid, docs/adaptive.md)"


def _predicted(site: Site, job: Job, tables: RoutingTables) -> tuple[AdaptiveGain, ...]:
    collectives = [COLLECTIVES.load(name) for name in OPERATIONS]
    rates = data_rates(site.fabric)
    busbw = []
    for adaptive in (False, True):
        setup = Setup(site.node, Offloads(pxn=job.pxn, adaptive=adaptive), ("ar",) if adaptive else ())
        table = predict(job, [tables], collectives, [SIZE_BYTES], rates, setup)
        busbw.append([prediction.rows[-1] for prediction in table.predictions])
    return tuple(
        AdaptiveGain(name, static.size_bytes, static.busbw_gb_s, adaptive.busbw_gb_s)
        for name, static, adaptive in zip(OPERATIONS, *busbw, strict=True)
    )
