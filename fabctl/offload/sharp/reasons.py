"""Why a job finds no trees: the constraint without which it would, with the switch, port or number where it binds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from fabctl.model.sharp_plan import Binding, Constraint
from fabctl.nodeset import fold
from fabctl.offload.sharp.bound import quota_at, subnet_trees
from fabctl.offload.sharp.demand import Demand, Rules
from fabctl.offload.sharp.packing import first_trees
from fabctl.offload.sharp.pool import Grown, Pool
from fabctl.offload.sharp.ways import Ways


def why_not(demand: Demand, rules: Rules, ways: Ways, others: Mapping[str, tuple[Grown, ...]]) -> Binding:
    """Return what keeps a job from streaming beside others.

    Parameters
    ----------
    others : mapping of str to tuple of Grown
        Trees by the names of their jobs.
    """
    pool, without = _held(rules, ways, others), rules
    relaxed = list(_relaxations(rules).items())
    for constraint in _relaxations(rules):  # where none alone is to blame, the last of several
        without = _relaxations(without)[constraint]
        relaxed.append((constraint, without))
    for constraint, looser in relaxed:
        if first_trees(demand, _held(looser, ways, others), ways):
            return _told(constraint, demand, pool, ways, others)
    return unreachable(demand, ways)


def unreachable(demand: Demand, ways: Ways) -> Binding:
    """Return that no switch is above all leaves of a rail, with the rail."""
    labels = ways.fabric.labels
    for rail, branch in zip(demand.rails, demand.branches, strict=True):
        if not ways.roots(branch):
            named = ", ".join(labels[leaf] for leaf in branch.leaves[:3]) + (" ..." if len(branch.leaves) > 3 else "")
            text = f"no switch that can aggregate has all {len(branch.leaves)} leaves of rail {rail} below it ({named})"
            return Binding(Constraint.REACH, text, "jobs on hosts that one root reaches, or SHARP on the switches that lack it")
    return Binding(Constraint.REACH, "no trees were found for it beside the others", "jobs on fewer leaf switches")


def _relaxations(rules: Rules) -> dict[Constraint, Rules]:
    return {
        Constraint.RADIX: replace(rules, radix=(0,) * len(rules.radix)),
        Constraint.QUOTA: replace(rules, jobs_per_switch=0),
        Constraint.TREES: replace(rules, trees=0),
        Constraint.PORT: replace(rules, one_per_port=False),
        Constraint.SWITCH: replace(rules, one_tree=(False,) * len(rules.one_tree)),
    }


def _held(rules: Rules, ways: Ways, others: Mapping[str, tuple[Grown, ...]]) -> Pool:
    pool = ways.pool(rules)
    for name, trees in others.items():
        for tree in trees:
            pool.hold(tree, name)
    return pool


def _told(constraint: Constraint, demand: Demand, pool: Pool, ways: Ways, others: Mapping[str, tuple[Grown, ...]]) -> Binding:
    rules, labels = pool.rules, ways.fabric.labels
    if constraint is Constraint.TREES:
        return subnet_trees(rules.trees)
    if constraint is Constraint.QUOTA:
        full = [leaf for branch in demand.branches for leaf in branch.leaves if pool.full(leaf, demand.name)]
        return quota_at(labels[full[0]] if full else "every switch on the way", rules.jobs_per_switch)
    if constraint is Constraint.RADIX:
        return _radix(demand, rules, ways)
    if constraint is Constraint.PORT:
        return _ports(demand, pool, ways)
    return _switches(demand, pool, ways, others)


def _radix(demand: Demand, rules: Rules, ways: Ways) -> Binding:
    labels, hint = ways.fabric.labels, "fewer hosts on each leaf switch"
    for rail, branch in zip(demand.rails, demand.branches, strict=True):
        for leaf, count in branch.hosts_at.items():
            if rules.radix[leaf] and count > rules.radix[leaf]:
                text = f"{labels[leaf]} would have {count} children on rail {rail}, and takes {rules.radix[leaf]}"
                return Binding(Constraint.RADIX, text, hint)
    text = f"every tree gives a switch more than {max(rules.radix)} children"
    return Binding(Constraint.RADIX, text, "jobs on fewer leaf switches")


def _ports(demand: Demand, pool: Pool, ways: Ways) -> Binding:
    hint = "spread the jobs over other leaf switches"
    for rail, branch in zip(demand.rails, demand.branches, strict=True):
        for leaf in branch.leaves:
            above = ways.above[leaf]
            if above and all(pool.free_cable(channels) is None for channels in above.values()):
                cables = sum(map(len, above.values()))
                text = (
                    f"a port has one active streaming tree, and all {cables} cables up from {ways.fabric.labels[leaf]} "
                    f"carry other trees (rail {rail})"
                )
                return Binding(Constraint.PORT, text, hint)
    text = "a port has one active streaming tree, and no root is left that the leaves reach by free cables"
    return Binding(Constraint.PORT, text, hint)


def _switches(demand: Demand, pool: Pool, ways: Ways, others: Mapping[str, tuple[Grown, ...]]) -> Binding:
    labels, one_tree = ways.fabric.labels, pool.rules.one_tree
    holder = {switch: name for name, trees in others.items() for tree in trees for switch in tree.switches}
    twice = Counter(leaf for branch in demand.branches for leaf in branch.leaves if one_tree[leaf])
    for leaf, count in twice.items():
        if count > 1:
            rails = [str(rail) for rail, one in zip(demand.rails, demand.branches, strict=True) if leaf in one.hosts_at]
            text = f"{labels[leaf]} has one active streaming tree, and carries rails {fold(rails).strip('[]')} of the job"
            return Binding(Constraint.SWITCH, text, f"a job on one of them: rails: [{rails[0]}]")
        if leaf in holder:
            text = f"{labels[leaf]} has one active streaming tree, and it is that of {holder[leaf]}"
            return Binding(Constraint.SWITCH, text, "give each job leaf switches of its own, or let them stream in turn")
    for rail, branch in zip(demand.rails, demand.branches, strict=True):
        for leaf in branch.leaves:
            above = [switch for switch in ways.above[leaf] if one_tree[switch]]
            if above and len(above) == len(ways.above[leaf]) and all(switch in holder for switch in above):
                names = ", ".join(sorted({holder[switch] for switch in above})[:4])
                text = (
                    f"each of the {len(above)} switches above {labels[leaf]} (rail {rail}) has one active streaming tree: "
                    f"those of {names}"
                )
                return Binding(Constraint.SWITCH, text, "spread the jobs over other leaf switches")
    text = "a switch has one active streaming tree, and no root is left that all leaves of a rail reach over free switches"
    return Binding(Constraint.SWITCH, text, "jobs on fewer leaf switches")
