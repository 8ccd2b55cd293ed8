"""Streaming trees for the jobs of a site: as many jobs at once as the fabric allows, and what keeps one more from it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fabctl.errors import UsageError
from fabctl.model.catalog import SwitchAsic, switch_asic
from fabctl.model.fabric import Fabric
from fabctl.model.sharp_plan import Binding, Copies, SharpJob, SharpLimit, SharpTree, SharpTrees
from fabctl.nodeset import folded
from fabctl.offload.sharp.bound import upper_bound
from fabctl.offload.sharp.copies import copies
from fabctl.offload.sharp.demand import Branch, Demand, Rules, branch, rules_of
from fabctl.offload.sharp.eligible import manager_ports, not_able, streaming_switches
from fabctl.offload.sharp.gain import gains
from fabctl.offload.sharp.packing import pack
from fabctl.offload.sharp.pool import Grown
from fabctl.offload.sharp.reasons import unreachable, why_not
from fabctl.offload.sharp.settings import SharpSettings
from fabctl.offload.sharp.ways import Ways
from fabctl.offload.site import Site
from fabctl.traffic.switch_trees import Tree

ENVIRONMENT = ("NCCL_COLLNET_ENABLE=1", "SHARP_COLL_ENABLE_SAT=1", "SHARP_COLL_LOCK_ON_COMM_INIT=1")
"""For NCCL's jobs; the last two are what its plugin sets by itself (nccl-rdma-sharp-plugins, src/sharp_plugin.c)."""


@dataclass(frozen=True, eq=False)
class _Planned:
    """What was chosen for the jobs of a site, by their index."""

    trees: dict[int, tuple[Grown, ...]]
    refused: dict[int, Binding]
    bound: int
    binds: Binding | None
    exact: bool


def sharp_trees(
    site: Site, names: Sequence[str] = (), settings: SharpSettings | None = None, excluded: Collection[int] = ()
) -> SharpTrees:
    """Return streaming trees for the jobs of a site.

    Parameters
    ----------
    names : sequence of str
        What the jobs are called, in their order; by default ``job 1``, ``job 2`` ...
    settings : SharpSettings, optional
        Of the aggregation manager; by default its defaults.
    excluded : collection of int
        Switches on which SHARP is switched off.

    Raises
    ------
    UsageError
        Without a job.

    Complexity
    ----------
    A breadth-first search over all cables per 64 leaves and per root tried; the search over trees ends after a number of steps
    (`fabctl.offload.sharp.packing`).
    """
    if not site.jobs:
        raise UsageError("which jobs are to have trees?", hint="--job FILE, once for each")
    settings = settings or SharpSettings()
    names = names or [f"job {number}" for number in range(1, len(site.jobs) + 1)]
    fabric = site.fabric
    usable = streaming_switches(fabric, excluded)
    ways = Ways(fabric, usable)
    rules = rules_of(fabric, usable, jobs_per_switch=settings.jobs_per_switch, radix=settings.radix, own_trees=settings.own_trees)
    demands, refused = _demands(site, names, ways, excluded)
    planned = _planned(demands, refused, rules, ways)
    more = _copies(site, demands, planned, rules, ways)
    jobs = tuple(_job(site, name, number, planned, demands.get(number)) for number, name in enumerate(names))
    return SharpTrees(
        jobs=jobs,
        bound=planned.bound,
        exact=planned.exact,
        binds=planned.binds,
        copies=more,
        limits=_limits(rules, usable.tolist(), settings),
        environment=ENVIRONMENT if planned.trees else (),
        notes=_notes(site, ways, settings),
    )


def _demands(
    site: Site, names: Sequence[str], ways: Ways, excluded: Collection[int]
) -> tuple[dict[int, Demand], dict[int, Binding]]:
    """Return what each job asks for, and those that no tree can serve."""
    demands: dict[int, Demand] = {}
    refused: dict[int, Binding] = {}
    for number, (job, name) in enumerate(zip(site.jobs, names, strict=True)):
        binding = not_able(job, ways.usable, excluded)
        if binding is None:
            demand = Demand(name, job.rails, tuple(branch(ports, ways.maker.leaves(ports)) for ports in job.ports.T))
            if all(ways.roots(one) for one in demand.branches):
                demands[number] = demand
                continue
            binding = unreachable(demand, ways)
        refused[number] = binding
    return demands, refused


def _planned(demands: dict[int, Demand], refused: dict[int, Binding], rules: Rules, ways: Ways) -> _Planned:
    numbers, asked = list(demands), list(demands.values())
    bound = upper_bound(asked, rules, ways)
    packing = pack(asked, rules, ways, bound.jobs if bound else None)
    trees = {numbers[place]: grown for place, grown in packing.trees.items()}
    held = {demands[number].name: grown for number, grown in trees.items()}
    left_out = {number: why_not(demand, rules, ways, held) for number, demand in demands.items() if number not in trees}
    most = len(trees) if packing.exact else bound.jobs if bound else len(asked)
    reasons = [*left_out.values(), *refused.values()] if packing.exact else [*refused.values()]
    binds = bound.binding if bound and bound.jobs == most else next(iter(reasons), None)
    return _Planned(trees, refused | left_out, most, binds, packing.exact)


def _copies(site: Site, demands: dict[int, Demand], planned: _Planned, rules: Rules, ways: Ways) -> Copies | None:
    if len(site.jobs) > 1 or not planned.trees:
        return None
    return copies(site.jobs[0], demands[0], planned.trees[0], rules, ways, manager_ports(site.fabric))


def _job(site: Site, name: str, number: int, planned: _Planned, demand: Demand | None) -> SharpJob:
    job, grown = site.jobs[number], planned.trees.get(number, ())
    found = SharpJob(name, folded(job.hosts), job.n_hosts, job.rails, (), planned.refused.get(number))
    if demand is None or not grown:
        return found
    pairs = list(zip(demand.branches, grown, strict=True))
    predicted, note = gains(site, job, tuple(_with_hosts(site, one, tree) for one, tree in pairs))
    trees = tuple(_tree(site, rail, one, tree) for rail, (one, tree) in zip(job.rails, pairs, strict=True))
    return replace(found, trees=trees, gains=predicted, gain_note=note)


def _with_hosts(site: Site, one: Branch, tree: Grown) -> Tree:
    """Return a tree with the cables of its HCAs."""
    hosts = site.fabric.channel_of_port[one.ports]
    return Tree(tree.root, np.concatenate([hosts, np.array(tree.up, dtype=np.int64)]).astype(np.int64), tree.depth)


def _tree(site: Site, rail: int, one: Branch, tree: Grown) -> SharpTree:
    labels = site.fabric.labels
    return SharpTree(
        rail=rail,
        root=labels[tree.root],
        root_guid=site.fabric.guid_text(tree.root),
        depth=tree.depth,
        switches=tuple(labels[switch] for switch in tree.switches),
        n_leaves=len(one.hosts_at),
        n_cables=len(tree.up),
        children=tree.children,
    )


def _limits(rules: Rules, usable: list[bool], settings: SharpSettings) -> tuple[SharpLimit, ...]:
    published = "SHARP 3.13 General Information"
    per_switch = sum(one and use for one, use in zip(rules.one_tree, usable, strict=True))
    per_port = sum(usable) - per_switch
    found = []
    if per_switch:
        found.append(SharpLimit("active streaming trees", f"1 per switch, on {per_switch} switches", published))
    if per_port:
        found.append(SharpLimit("active streaming trees", f"1 per port, on {per_port} switches", published))
    if rules.trees:
        found.append(SharpLimit("streaming trees in the subnet", f"{rules.trees}, and as many low-latency trees", published))
    radix = sorted({most for most, use in zip(rules.radix, usable, strict=True) if use and most})
    if radix:
        where = "--set radix" if settings.radix else "ports of the switch: an aggregation node's own limit is not published"
        found.append(SharpLimit("children of an aggregation node", ", ".join(map(str, radix)), where))
    quota = f"{settings.quota} % low-latency, {settings.sat_quota} % streaming: "
    quota += f"{rules.jobs_per_switch} jobs" if rules.jobs_per_switch else "no limit, since each job has trees of its own"
    found.append(SharpLimit("quota of a job on an aggregation node and tree", quota, settings.source))
    return tuple(found)


def _asics(fabric: Fabric) -> set[SwitchAsic]:
    devices = np.unique(fabric.device_id[: fabric.n_switches]).tolist()
    return {asic for device in devices if (asic := switch_asic(device))}


def _notes(site: Site, ways: Ways, settings: SharpSettings) -> tuple[str, ...]:
    fabric = site.fabric
    lacking = fabric.n_switches - int(ways.usable.sum())
    made = "a job has trees of its own (dynamic allocation, the default since SHARP 3.4)"
    shared = "jobs share the trees that sharp_am built when it started (dynamic_tree_allocation FALSE)"
    notes = [f"{made if settings.own_trees else shared}; the aggregation manager chooses among equally good ones"]
    unpublished = {asic.name for asic in _asics(fabric) if asic.sharp > 1 and not asic.streaming_trees}
    notes += [
        f"how many streaming trees a {name} has at a time is not published: counted as one per port"
        for name in sorted(unpublished)
    ]
    if lacking:
        notes.append(f"{lacking} of {fabric.n_switches} switches cannot be on streaming trees, are switched off, or are unknown")
    if not fabric.sm_lid:
        notes.append("the source does not tell where the subnet manager runs: a job on its HCA will not start SHARP")
    return tuple(notes)
