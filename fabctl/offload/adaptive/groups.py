"""The engine that fits a fabric, each switch's groups of ports, and whether they are safe."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.adaptive_groups import Groups, adaptive_groups
from fabctl.congestion.adaptive_safety import may_circle
from fabctl.errors import RefusedError
from fabctl.model import dragonfly_plus
from fabctl.model.adaptive_plan import AdaptivePlan, PortGroup, SwitchGroups
from fabctl.model.catalog import switch_asic
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.offload.site import Site
from fabctl.routing.compute import compute_tables
from fabctl.routing.options import Options
from fabctl.units import Speed

Int64 = NDArray[np.int64]

ROOTS = "root-guids.txt"


class Engine(NamedTuple):
    """An adaptive engine of NVIDIA's OpenSM: fabctl's engine with the same paths, its groups, and NVIDIA's name for these."""

    routes: str
    mode: str
    algorithm: str


ENGINES = {
    "ar_updn": Engine("updn", "tree", "TREE"),
    "ar_ftree": Engine("ftree", "tree", "TREE"),
    "dfp": Engine("dfp", "dragonfly+", "DF_PLUS"),
}
PLUGIN = {"lag": Engine("minhop", "lag", "LAG"), "tree": Engine("updn", "tree", "TREE")}
"""The same of the plugin armgr, by its algorithms."""
_ALL = {**ENGINES, **PLUGIN}


def engine_for(fabric: Fabric) -> str:
    """Return the engine that a fabric's structure asks for.

    Raises
    ------
    RefusedError
        If it is neither a tree nor a Dragonfly+.
    """
    try:
        dragonfly_plus.find_groups(fabric)
    except RefusedError:
        if fabric.tiers.max(initial=0) > 0:
            return "ar_updn"
        raise RefusedError(
            "this fabric is neither a tree nor a Dragonfly+: no engine for it is planned",
            hint="--set form=armgr --set algorithm=lag groups parallel cables on any fabric (the old plugin of MLNX_OFED)",
        ) from None
    return "dfp"


def is_xdr(fabric: Fabric) -> bool:
    """Return whether a switch or a cable of a fabric is of XDR."""
    asics = {switch_asic(int(device_id)) for device_id in np.unique(fabric.device_id[: fabric.n_switches])}
    return any(asic is not None and asic.speed == "XDR" for asic in asics) or bool((fabric.channel_speed == Speed.XDR).any())


def top_switches(fabric: Fabric) -> tuple[int, ...]:
    """Return the switches of the highest tier."""
    return tuple(np.flatnonzero(fabric.tiers == fabric.tiers.max(initial=0)).tolist())


@lru_cache(maxsize=1)
def adaptive_plan(site: Site, engine: str, sls: tuple[int, ...], *, roots: tuple[int, ...] = ()) -> AdaptivePlan:
    """Return what adaptive routing would do on a fabric.

    The groups are those of the tables that the site brings, or of fabctl's engine with the same kind of paths: what the subnet
    manager will really choose is its own.

    Parameters
    ----------
    engine : str
        One of `ENGINES`, or an algorithm of `PLUGIN`.
    sls : tuple of int
    roots : tuple of int
        Switches at the top, where fabctl's engine makes the routes; empty: found by structure.

    Raises
    ------
    InputError, RefusedError
        If the fabric cannot be routed, or has nothing to choose among.
    """
    kind = _ALL[engine]
    tables = routes(site, engine, roots)
    groups = adaptive_groups(tables, _reached(tables), kind.mode)
    if groups.widest < 2:
        raise RefusedError(f"adaptive routing has nothing to choose: no group ({kind.algorithm}) has more than one port")
    return AdaptivePlan(
        engine=engine,
        algorithm=kind.algorithm,
        routes=tables.origin if site.tables else f"fabctl's {kind.routes}",
        sls=sls,
        switches=switch_groups(groups),
        circle=may_circle(tables, groups),
        environment=environment(sls),
    )


@lru_cache(maxsize=1)
def routes(site: Site, engine: str, roots: tuple[int, ...] = ()) -> RoutingTables:
    """Return the tables that the site brings, else those of fabctl's engine with an adaptive engine's kind of paths.

    Raises
    ------
    InputError, RefusedError
        If the fabric cannot be routed.
    """
    return site.tables or compute_tables(site.fabric, _ALL[engine].routes, Options(roots=roots))


def switch_groups(groups: Groups) -> tuple[SwitchGroups, ...]:
    """Return the groups of each switch: destinations with the same ports together.

    Complexity
    ----------
    O(edges + cells log cells).
    """
    fabric, width = groups.fabric, np.diff(groups.ptr)
    cell = np.flatnonzero(width)
    switch = groups.switch(cell)
    name = _names(groups, cell)
    size = np.bincount(groups.class_of_port[groups.class_of_port >= 0], minlength=len(groups.rank))
    towards = size[cell // groups.n_states]
    order = np.lexsort((name, switch))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(switch[order]) != 0) | (name[order][1:] != name[order][:-1])
    starts = np.flatnonzero(first)
    destinations = np.add.reduceat(towards[order], starts) if len(starts) else starts
    found: list[list[PortGroup]] = [[] for _ in range(fabric.n_switches)]
    for start, n_ports in zip(starts.tolist(), destinations.tolist(), strict=True):
        one = int(cell[order[start]])
        ports = fabric.port_number[fabric.channel_port[groups.channel[groups.ptr[one] : groups.ptr[one + 1]]]]
        here = int(switch[order[start]])
        if len(ports) > 1:
            found[here].append(PortGroup(tuple(sorted(ports.tolist())), int(n_ports)))
    forced = _forced(groups, size)
    return tuple(
        SwitchGroups(
            fabric.labels[index],
            fabric.guid_text(index),
            int(fabric.tiers[index]),
            able(fabric, index),
            tuple(sorted(found[index], key=lambda group: (-len(group.ports), group.ports))),
            int(forced[index]),
        )
        for index in range(fabric.n_switches)
    )


def able(fabric: Fabric, switch: int) -> bool | None:
    """Return whether a switch routes adaptively, by the catalogue; None: unknown."""
    asic = switch_asic(int(fabric.device_id[switch]))
    return None if asic is None else asic.adaptive_routing


def environment(sls: tuple[int, ...]) -> tuple[str, ...]:
    """Return what jobs set to be routed adaptively: a service level, and that it is adaptive."""
    sl = min(sls)
    return (f"NCCL_IB_SL={sl}", "NCCL_IB_ADAPTIVE_ROUTING=1", f"UCX_IB_SL={sl}", "UCX_IB_AR=yes")


def _reached(tables: RoutingTables) -> NDArray[np.int32]:
    fabric = tables.fabric
    lids = fabric.port_lid[fabric.endpoints]
    return np.asarray(fabric.endpoints[(lids > 0) & (lids < tables.lft.shape[1])], dtype=np.int32)


def _forced(groups: Groups, size: Int64) -> Int64:
    """Return how many destinations each switch sends on one way only, shape (n_switches,)."""
    shape = len(groups.rank), groups.n_states // groups.fabric.n_switches, groups.fabric.n_switches
    width = np.diff(groups.ptr).reshape(shape).max(axis=1)
    return np.asarray(size @ (width == 1), dtype=np.int64)


def _names(groups: Groups, cell: Int64) -> NDArray[np.uint64]:
    """Return a number for the ports of each cell, the same for the same ports: a sum of random numbers of its channels."""
    weight = np.random.default_rng(1).integers(1, 1 << 63, len(groups.fabric.channel_port), dtype=np.uint64)
    total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(weight[groups.channel], dtype=np.uint64)])
    return np.asarray(total[groups.ptr[cell + 1]] - total[groups.ptr[cell]], dtype=np.uint64)
