"""How many jobs like one can stream at once: it where it is, the others on the hosts that are left.

Where switches have one active streaming tree, jobs share no leaf switch. Hosts that do, on any rail, are one block, and the
others are laid over whole blocks as bins are covered. That more do not fit follows from the number of hosts, from the leaf
switches that a job takes on each rail at the least, and from the trees of the subnet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

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
    bounds = _bounds(job, [member for block in blocks for member in block], free, rules)
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
    """Return hosts, joined where they share a leaf with one tree on any rail, in order."""
    above: dict[int, int] = {}

    def top(leaf: int) -> int:
        while above.setdefault(leaf, leaf) != leaf:
            leaf = above[leaf]
        return leaf

    for leaves in free.leaves.tolist():
        limited = [leaf for leaf in leaves if rules.one_tree[leaf]]
        for leaf in limited[1:]:
            above[top(leaf)] = top(limited[0])
    blocks: dict[int, list[int]] = {}
    for member, leaves in enumerate(free.leaves.tolist()):
        leaf = next((leaf for leaf in leaves if rules.one_tree[leaf]), None)
        blocks.setdefault(-1 - member if leaf is None else top(leaf), []).append(member)
    return list(blocks.values())


def _taken(block: list[int], free: _Free, rules: Rules, own_leaves: set[int]) -> bool:
    return any(rules.one_tree[leaf] and leaf in own_leaves for member in block for leaf in free.leaves[member].tolist())


def _bounds(job: Job, left: list[int], free: _Free, rules: Rules) -> list[Bound]:
    """Return bounds by hosts, by the leaves of each rail, and by the subnet's trees, the lowest first.

    Parameters
    ----------
    left : list of int
        Free hosts on leaves that the job's trees leave free.
    """
    text = f"{len(free.hosts)} hosts are left beside it"
    if len(left) < len(free.hosts):
        text += f", {len(left)} of them on leaf switches without its trees"
    hosts = Binding(Constraint.HOSTS, f"{text}; a job takes {job.n_hosts}", "jobs on fewer hosts")
    bounds = [Bound(1 + len(left) // job.n_hosts, hosts)]
    by_rail = (_by_leaves(job, free.leaves[left, rail].tolist(), rules) for rail in range(len(job.rails)))
    bounds += sorted(filter(None, by_rail), key=lambda one: one.jobs)[:1]
    if rules.trees:
        bounds.append(Bound(max(1, rules.trees // len(job.rails)), subnet_trees(rules.trees)))
    return sorted(bounds, key=lambda one: one.jobs)


def _by_leaves(job: Job, leaves: list[int], rules: Rules) -> Bound | None:
    """Return the bound by the leaves of one rail, if these have one tree each: a job takes whole ones."""
    sizes = sorted((min(count, job.n_hosts) for count in Counter(leaves).values()), reverse=True)
    need = next((count for count, total in enumerate(accumulate(sizes), 1) if total >= job.n_hosts), 0)
    if not need or not all(rules.one_tree[leaf] for leaf in leaves):
        return None
    text = (
        f"a leaf switch has one active streaming tree: the {len(leaves)} hosts left hang on {len(sizes)} leaf switches a rail, "
        f"and a job of {job.n_hosts} hosts takes {need} of them"
    )
    most = 1 + min(len(sizes) // need, sum(sizes) // job.n_hosts)
    return Bound(most, Binding(Constraint.SWITCH, text, "jobs that fill whole leaf switches"))


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
