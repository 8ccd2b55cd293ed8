"""`SharpTrees`: roots, depths and switches of the jobs' trees, how many such jobs can stream at once, and why not one more."""

from __future__ import annotations

from typing import Any

from fabctl.model.sharp_plan import Binding, Copies, SharpJob, SharpTrees
from fabctl.nodeset import folded
from fabctl.report.output import Column, Table, rounded
from fabctl.units import size_text

_TREES = (
    Column("job", "JOB"),
    Column("rail", "RAIL", right=True),
    Column("root", "ROOT"),
    Column("depth", "DEPTH", right=True),
    Column("leaves", "LEAVES", right=True),
    Column("switches", "SWITCHES", right=True),
    Column("cables", "CABLES", right=True),
    Column("children", "MOST CHILDREN", right=True),
    Column("root_guid", "ROOT GUID", wide=True),
    Column("names", "ALL SWITCHES", wide=True),
)
_GAINS = (
    Column("job", "JOB"),
    Column("size", "SIZE", right=True),
    Column("without_us", "WITHOUT(us)", right=True, digits=1),
    Column("without_by", "BY"),
    Column("with_us", "WITH(us)", right=True, digits=1),
    Column("with_by", "BY"),
    Column("speedup", "SPEEDUP", right=True, digits=2),
)
_LIMITS = (Column("name", "LIMIT"), Column("value", "VALUE"), Column("source", "SOURCE"))


def sharp_text(trees: SharpTrees) -> list[str | Table]:
    """Return the trees for people."""
    text: list[str | Table] = ["", *_head(trees)]
    rows = [_tree_row(job, number) for job in trees.jobs for number in range(len(job.trees))]
    if rows:
        text.append(Table("Trees", _TREES, rows))
    gains = [_gain_row(job, number) for job in trees.jobs for number in range(len(job.gains))]
    if gains:
        text.append(Table("An all-reduce without SHARP and with it, predicted", _GAINS, gains))
    text += [f"  ({note})" for note in dict.fromkeys(job.gain_note for job in trees.jobs if job.gain_note)]
    if trees.environment:
        text += ["\nFor the jobs' environment", *(f"  {line}" for line in trees.environment)]
    text += ["\nOn trees", *(f"  {note}" for note in trees.notes)] if trees.notes else []
    return [*text, Table("Counted with", _LIMITS, [_limit_row(trees, number) for number in range(len(trees.limits))], wide=True)]


def sharp_data(trees: SharpTrees) -> dict[str, Any]:
    """Return the trees for JSON."""
    return {
        "kind": "SharpTrees",
        "streaming": trees.streaming,
        "bound": trees.bound,
        "exact": trees.exact,
        "binds": _binding(trees.binds),
        "jobs": [
            {
                "name": job.name,
                "hosts": job.hosts,
                "rails": list(job.rails),
                "trees": [_tree_data(job, number) for number in range(len(job.trees))],
                "refused": _binding(job.refused),
                "gains": [_gain_row(job, number) for number in range(len(job.gains))],
                "gain_note": job.gain_note,
            }
            for job in trees.jobs
        ],
        "copies": _copies_data(trees.copies),
        "limits": [_limit_row(trees, number) for number in range(len(trees.limits))],
        "environment": list(trees.environment),
        "notes": list(trees.notes),
    }


def _head(trees: SharpTrees) -> list[str]:
    count = len(trees.jobs)
    lines = [f"SHARP: {trees.streaming} of {count} job{'s' if count != 1 else ''} can stream{' at once' if count > 1 else ''}"]
    for job in trees.jobs:
        where = f"{job.n_hosts} hosts on {_rails(len(job.rails))}"
        if job.refused is None:
            lines.append(f"  {job.name}: {len(job.trees)} trees for {where}, depth {job.depth}, {job.n_switches} switches in all")
        else:
            lines.append(f"  {job.name}: none for {where}; {_words(job.refused)}")
    if trees.binds is not None:
        proven = "no choice of trees lets more stream" if trees.exact else f"more than {trees.bound} cannot stream"
        said = any(trees.binds == job.refused for job in trees.jobs)
        lines += [f"  {proven}", *([] if said else [f"  binds: {_words(trees.binds)}"])]
    return lines + (_copies(trees.copies) if trees.copies is not None else [])


def _copies(copies: Copies) -> list[str]:
    proven = "not one more" if copies.exact else f"more than {copies.bound} cannot"
    such = f"{copies.fit} such job{'s' if copies.fit != 1 else ''} ({copies.n_hosts} hosts, {_rails(copies.n_rails)})"
    others = [f"  {binding.constraint} would allow {most}: {binding.text}" for most, binding in copies.others]
    return [f"  {such} can stream at once, {proven}", f"  binds: {_words(copies.binds)}", *others]


def _rails(count: int) -> str:
    return f"{count} rail{'s' if count != 1 else ''}"


def _words(binding: Binding) -> str:
    return f"{binding.constraint}: {binding.text}" + (f" ({binding.hint})" if binding.hint else "")


def _binding(binding: Binding | None) -> dict[str, str] | None:
    if binding is None:
        return None
    constraint = binding.constraint
    return {"constraint": constraint, "meaning": constraint.meaning, "text": binding.text, "hint": binding.hint}


def _tree_row(job: SharpJob, number: int) -> dict[str, Any]:
    switches = job.trees[number].switches
    return {**_tree_data(job, number), "job": job.name, "switches": len(switches), "names": folded(switches)}


def _tree_data(job: SharpJob, number: int) -> dict[str, Any]:
    tree = job.trees[number]
    return {
        "rail": tree.rail,
        "root": tree.root,
        "root_guid": tree.root_guid,
        "depth": tree.depth,
        "leaves": tree.n_leaves,
        "switches": list(tree.switches),
        "cables": tree.n_cables,
        "children": tree.children,
    }


def _gain_row(job: SharpJob, number: int) -> dict[str, Any]:
    gain = job.gains[number]
    return {
        "job": job.name,
        "size_bytes": gain.size_bytes,
        "size": size_text(gain.size_bytes),
        "without_us": rounded(gain.without_us),
        "without_by": gain.without_by,
        "with_us": rounded(gain.with_us),
        "with_by": gain.with_by,
        "speedup": rounded(gain.speedup),
    }


def _limit_row(trees: SharpTrees, number: int) -> dict[str, str]:
    limit = trees.limits[number]
    return {"name": limit.name, "value": limit.value, "source": limit.source}


def _copies_data(copies: Copies | None) -> dict[str, Any] | None:
    if copies is None:
        return None
    return {
        "hosts_each": copies.n_hosts,
        "rails_each": copies.n_rails,
        "fit": copies.fit,
        "bound": copies.bound,
        "exact": copies.exact,
        "binds": _binding(copies.binds),
        "others": [{"most": most, "binds": _binding(binding)} for most, binding in copies.others],
        "hosts": list(copies.hosts),
    }
