"""How many jobs like one can stream at once: it where it is, the others on the hosts that are left.

Where switches have one active streaming tree, hosts that share a leaf switch on one of the job's rails belong to one block: two
jobs never share it. The others are laid over blocks as bins are covered; that more do not fit follows from the number of hosts,
and from the number of blocks that a job needs at the least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fabctl.model.fabric import Fabric
from fabctl.model.sharp_plan import Binding, Constraint, Copies
from fabctl.nodeset import folded
from fabctl.offload.sharp.bound import Bound, subnet_trees
from fabctl.offload.sharp.demand import Demand, Rules, branch
from fabctl.offload.sharp.packing import first_trees
from fabctl.offload.sharp.pool import Grown
from fabctl.offload.sharp.reasons import why_not
from fabctl.offload.sharp.ways import Ways
from fabctl.traffic.placement import Job


@dataclass(frozen=True, eq=False)
class _Free:
    """Hosts with all rails of a job on switches that can aggregate, the job's own left out.

    Parameters
    ----------
    hosts : tuple of int
    ports, leaves : int array of shape (n_hosts, n_rails)
    """

    hosts: tuple[int, ...]
    ports: np.ndarray
    leaves: np.ndarray


def copies(job: Job, demand: Demand, trees: tuple[Grown, ...], rules: Rules, ways: Ways, barred: Sequence[int]) -> Copies:
    """Return how many jobs like this one can stream at once.

    Parameters
    ----------
    trees : tuple of Grown
        Those that it has.
    barred : sequence of int
        HCA ports that no job can use: the subnet manager's.
    """
    free = _free_hosts(job, ways, barred)
    own_leaves = {leaf for one in demand.branches for leaf in one.leaves}
    blocks = [block for block in _blocks(free, rules) if not _taken(block, free, rules, own_leaves)]
    bounds = _bounds(job, blocks, rules, len(free.hosts), len(demand.branches))
    bound = bounds[0]
    pool = ways.pool(rules)
    for tree in trees:
        pool.hold(tree, demand.name)
    held, hosts = {demand.name: trees}, [folded(job.hosts)]
    failed: Binding | None = None
    for members in _covers(blocks, job.n_hosts)[: bound.jobs - 1]:
        copy = _copy(len(hosts) + 1, members, free, demand)
        found = first_trees(copy, pool, ways)
        if not found:
            failed = failed or why_not(copy, rules, ways, held)
            continue
        held[copy.name] = found
        hosts.append(folded(ways.fabric.hosts.name[free.hosts[member]] for member in members))
        for tree in found:
            pool.hold(tree, copy.name)
    binding = bound.binding
    if failed and len(hosts) < bound.jobs:
        binding = Binding(binding.constraint, f"{binding.text}; the next one that was tried: {failed.text}", binding.hint)
    others = tuple((one.jobs, one.binding) for one in bounds[1:])
    return Copies(job.n_hosts, len(demand.branches), len(hosts), bound.jobs, binding, tuple(hosts), others)


def _free_hosts(job: Job, ways: Ways, barred: Sequence[int]) -> _Free:
    fabric = ways.fabric
    hosts = fabric.hosts
    number = {rail: int(fabric.port_number[port]) for rail, port in zip(job.rails, job.ports[0], strict=True)}
    own, sockets = set(job.hosts), _sockets(fabric)
    found: list[int] = []
    rows: list[list[int]] = []
    for host, row in sockets.items():
        here = [row.get((rail, number[rail]), -1) for rail in job.rails]
        if hosts.name[host] not in own and min(here) >= 0 and not set(here) & set(barred) and _on_trees(here, job, ways):
            found.append(host)
            rows.append(here)
    ports = np.array(rows, dtype=np.int32).reshape(len(rows), len(job.rails))
    return _Free(tuple(found), ports, fabric.channel_dst[fabric.channel_of_port[ports]])


def _sockets(fabric: Fabric) -> dict[int, dict[tuple[int, int], int]]:
    """Return the connected HCA ports of each compute host by rail and port number."""
    hosts = fabric.hosts
    rows: dict[int, dict[tuple[int, int], int]] = {}
    for port in fabric.compute_endpoints.tolist():
        node = fabric.port_node[port]
        rows.setdefault(int(hosts.node_host[node]), {})[int(hosts.node_rail[node]), int(fabric.port_number[port])] = port
    return rows


def _on_trees(ports: list[int], job: Job, ways: Ways) -> bool:
    """Return whether a host's HCAs are of the job's models and hang on switches that can aggregate."""
    fabric = ways.fabric
    leaves = fabric.channel_dst[fabric.channel_of_port[ports]]
    models = set(fabric.device_id[fabric.port_node[job.ports]].ravel().tolist())
    return (
        bool((leaves < fabric.n_switches).all() and ways.usable[leaves].all())
        and set(fabric.device_id[fabric.port_node[ports]].tolist()) <= models
    )


def _blocks(free: _Free, rules: Rules) -> list[list[int]]:
    """Return the hosts in blocks that no two jobs can share, in order."""
    block_of_leaf: dict[int, list[int]] = {}
    blocks: dict[int, list[int]] = {}
    for member, leaves in enumerate(free.leaves.tolist()):
        joined = [member]
        limited = [leaf for leaf in leaves if rules.one_tree[leaf]]
        for block in {id(found): found for leaf in limited if (found := block_of_leaf.get(leaf))}.values():
            joined = block + joined
            blocks.pop(id(block))
        blocks[id(joined)] = joined
        for leaf in {leaf for one in joined for leaf in free.leaves[one].tolist() if rules.one_tree[leaf]}:
            block_of_leaf[leaf] = joined
    return sorted((sorted(block) for block in blocks.values()), key=min)


def _taken(block: list[int], free: _Free, rules: Rules, own_leaves: set[int]) -> bool:
    return any(rules.one_tree[leaf] and leaf in own_leaves for member in block for leaf in free.leaves[member].tolist())


def _bounds(job: Job, blocks: list[list[int]], rules: Rules, n_free: int, n_trees: int) -> list[Bound]:
    """Return bounds by hosts, by blocks, and by the subnet's trees, the lowest first."""
    sizes = sorted((min(len(block), job.n_hosts) for block in blocks), reverse=True)
    need = next((count + 1 for count, total in enumerate(np.cumsum(sizes).tolist()) if total >= job.n_hosts), 0)
    usable = sum(sizes)
    text = f"{n_free} hosts are left beside it"
    if usable < n_free:
        text += f", {usable} of them on leaf switches without its trees"
    bounds = [
        Bound(
            1 + usable // job.n_hosts,
            Binding(Constraint.HOSTS, f"{text}; a job takes {job.n_hosts}", "jobs on fewer hosts"),
        )
    ]
    if any(len(block) > 1 for block in blocks) and need:
        text = (
            f"a leaf switch has one active streaming tree: the {usable} hosts left stand in {len(blocks)} groups on leaf "
            f"switches of their own, and a job of {job.n_hosts} hosts takes {need} whole ones"
        )
        bounds.append(Bound(1 + len(blocks) // need, Binding(Constraint.SWITCH, text, "jobs that fill whole groups")))
    if rules.trees:
        bounds.append(Bound(max(1, rules.trees // n_trees), subnet_trees(rules.trees)))
    return sorted(bounds, key=lambda one: one.jobs)


def _covers(blocks: list[list[int]], size: int) -> list[list[int]]:
    """Return hosts for jobs of a size, whole blocks each: in order, or the largest first, whichever gives more."""
    largest = sorted(blocks, key=len, reverse=True)
    return max((_in_turn(order, size) for order in (blocks, largest)), key=len)


def _in_turn(blocks: list[list[int]], size: int) -> list[list[int]]:
    found, here = [], list[int]()
    for block in blocks:
        here = here + block
        if len(here) >= size:
            found.append(here[:size])
            here = []
    return found


def _copy(number: int, members: list[int], free: _Free, demand: Demand) -> Demand:
    branches = tuple(branch(free.ports[members, rail], free.leaves[members, rail]) for rail in range(len(demand.rails)))
    return Demand(f"copy {number}", demand.rails, branches)
