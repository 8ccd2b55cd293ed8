"""Upper bounds of how many jobs can stream at once, each by one constraint, from what every tree needs at the least."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fabctl.model.sharp_plan import Binding, Constraint
from fabctl.offload.sharp.conflicts import jobs_on, most_apart
from fabctl.offload.sharp.demand import Branch, Demand, Rules
from fabctl.offload.sharp.ways import Ways


@dataclass(frozen=True)
class Bound:
    """No more jobs than this can stream at once.

    Parameters
    ----------
    jobs : int
    binding : Binding
    """

    jobs: int
    binding: Binding


def upper_bound(demands: Sequence[Demand], rules: Rules, ways: Ways) -> Bound | None:
    """Return the lowest of the bounds; None if none is below the number of jobs."""
    found = [
        *_trees(demands, rules),
        *_leaves(demands, rules, ways),
        *_quota(demands, rules, ways),
        *_parents(demands, rules, ways),
        *_roots(demands, rules, ways),
        *_cables(demands, rules, ways),
    ]
    return min((one for one in found if one.jobs < len(demands)), key=lambda one: one.jobs, default=None)


def most_jobs(costs: Iterable[int], capacity: int) -> int:
    """Return how many jobs fit at the most, if each takes its cost out of a capacity."""
    fit = 0
    for cost in sorted(costs):
        capacity -= cost
        if capacity < 0:
            break
        fit += 1
    return fit


def _trees(demands: Sequence[Demand], rules: Rules) -> list[Bound]:
    if not rules.trees:
        return []
    return [Bound(most_jobs((len(demand.branches) for demand in demands), rules.trees), subnet_trees(rules.trees))]


def subnet_trees(trees: int) -> Binding:
    """Return the limit of the subnet, as people are told."""
    return Binding(
        Constraint.TREES, f"the subnet has {trees} streaming trees, and each rail of a job takes one", "jobs on fewer rails"
    )


def _leaves(demands: Sequence[Demand], rules: Rules, ways: Ways) -> list[Bound]:
    """Of jobs that meet on a leaf with one tree, one streams."""
    groups = {leaf: jobs for leaf, jobs in jobs_on(demands).items() if rules.one_tree[leaf] and len(jobs) > 1}
    if not groups:
        return []
    apart = most_apart(demands, rules)
    leaf = max(groups, key=lambda leaf: (len(groups[leaf]), -leaf))
    names = ", ".join(demands[job].name for job in groups[leaf][:4]) + (" ..." if len(groups[leaf]) > 4 else "")
    text = (
        f"a switch has one active streaming tree, and jobs share leaf switches: "
        f"{ways.fabric.labels[leaf]} carries HCAs of {len(groups[leaf])} ({names})"
    )
    binding = Binding(Constraint.SWITCH, text, "give each job leaf switches of its own")
    return [Bound(len(apart.jobs) if apart.exact else _cover(groups, len(demands)), binding)]


def _cover(groups: Mapping[int, list[int]], n_jobs: int) -> int:
    """Return in how few groups of jobs that share a leaf, or single jobs, all jobs are: of each, one streams at the most."""
    left, count = set(range(n_jobs)), 0
    while left:
        group = max((left.intersection(jobs) for jobs in groups.values()), key=len)
        left -= group or {min(left)}
        count += 1
    return count


def _quota(demands: Sequence[Demand], rules: Rules, ways: Ways) -> list[Bound]:
    if not rules.jobs_per_switch:
        return []
    return [
        Bound(len(demands) - len(jobs) + rules.jobs_per_switch, quota_at(ways.fabric.labels[leaf], rules.jobs_per_switch))
        for leaf, jobs in jobs_on(demands).items()
        if len(jobs) > rules.jobs_per_switch
    ]


def quota_at(switch: str, jobs: int) -> Binding:
    """Return the quota of an aggregation node, as people are told."""
    text = f"the aggregation node of {switch} has resources for {jobs} jobs at the default quota"
    return Binding(Constraint.QUOTA, text, "dynamic_tree_allocation TRUE in sharp_am.cfg: trees of each job's own")


def _parents(demands: Sequence[Demand], rules: Rules, ways: Ways) -> list[Bound]:
    """Of the trees that leave a leaf, each needs a switch above it for itself, where these have one tree."""
    above: dict[int, set[int]] = {}
    for demand in demands:
        for branch in demand.branches:
            for leaf in branch.leaves:
                above.setdefault(leaf, set(ways.above[leaf]))
    bounds = []
    for group in _connected(above):
        trees = [
            (job, set.union(*(above[leaf] for leaf in inside)))
            for job, demand in enumerate(demands)
            for branch in demand.branches
            if (inside := group.intersection(_climbing(branch, ways)))
        ]
        switches = set.union(*(above[leaf] for leaf in group))
        if not switches or not all(rules.one_tree[switch] for switch in switches):
            continue
        jobs = _matched_jobs(trees, len(demands))
        first = ways.fabric.labels[min(group)]
        text = (
            f"{len(switches)} switches stand above {first} and the leaves beside it, each with one active streaming tree; "
            f"{len(trees)} trees must go through them"
        )
        bounds.append(Bound(jobs, Binding(Constraint.SWITCH, text, "spread the jobs over other leaf switches")))
    return bounds


def _roots(demands: Sequence[Demand], rules: Rules, ways: Ways) -> list[Bound]:
    """Each tree needs a root for itself, where all its roots have one tree."""
    trees = []
    for job, demand in enumerate(demands):
        for branch in demand.branches:
            roots = {root for root, _ in ways.roots(branch)}
            if all(rules.one_tree[root] for root in roots):
                trees.append((job, roots))
    if not trees:
        return []
    switches = set.union(*(roots for _, roots in trees))
    text = f"{len(trees)} trees need roots of their own, and {len(switches)} switches can be one"
    return [Bound(_matched_jobs(trees, len(demands)), Binding(Constraint.SWITCH, text, "jobs on fewer leaf switches"))]


def _cables(demands: Sequence[Demand], rules: Rules, ways: Ways) -> list[Bound]:
    """Each tree that leaves a leaf takes one of its cables up."""
    if not rules.one_per_port:
        return []
    costs: defaultdict[int, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    for job, demand in enumerate(demands):
        for branch in demand.branches:
            for leaf in _climbing(branch, ways):
                costs[leaf][job] += 1
    bounds = []
    for leaf, cost in costs.items():
        if rules.one_tree[leaf]:
            continue
        cables = sum(map(len, ways.above[leaf].values()))
        n_trees, label = sum(cost.values()), ways.fabric.labels[leaf]
        text = f"{n_trees} trees leave {label}, which has {cables} cables up, each with one active tree"
        jobs = len(demands) - len(cost) + most_jobs(cost.values(), cables)
        bounds.append(Bound(jobs, Binding(Constraint.PORT, text, "spread the jobs over other leaf switches")))
    return bounds


def _climbing(branch: Branch, ways: Ways) -> list[int]:
    """Return the leaves that cannot be the root of their tree."""
    roots = {root for root, _ in ways.roots(branch)}
    return [leaf for leaf in branch.leaves if leaf not in roots]


def _connected(above: Mapping[int, set[int]]) -> list[set[int]]:
    """Return groups of leaves that share switches above them."""
    groups: list[tuple[set[int], set[int]]] = []
    for leaf, switches in above.items():
        apart, leaves, all_above = [], {leaf}, set(switches)
        for group in groups:
            if group[1] & all_above:
                leaves |= group[0]
                all_above |= group[1]
            else:
                apart.append(group)
        groups = [*apart, (leaves, all_above)]
    return [leaves for leaves, _ in groups]


def _matched_jobs(trees: list[tuple[int, set[int]]], n_jobs: int) -> int:
    """Return a bound of the jobs, by how many of their trees can have a switch each (augmenting paths)."""
    tree_at: dict[int, int] = {}

    def augment(tree: int, seen: set[int]) -> bool:
        for switch in sorted(trees[tree][1]):
            if switch in seen:
                continue
            seen.add(switch)
            if switch not in tree_at or augment(tree_at[switch], seen):
                tree_at[switch] = tree
                return True
        return False

    matched = sum(augment(tree, set()) for tree in range(len(trees)))
    costs = [0] * n_jobs
    for job, _ in trees:
        costs[job] += 1
    return most_jobs(costs, matched)
