"""Score every engine against OpenSM's of the same name, on the same fabric, and write the table of docs/quality.md.

    python benchmarks/quality.py               # prints the table; about ten minutes
    python benchmarks/quality.py --write       # and puts it into docs/quality.md

OpenSM's tables come from the real OpenSM on the digital twin. Where its updn finds no roots, both get the same one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from page import arguments, publish

PROJECT = Path(__file__).resolve().parent.parent
SELENE = PROJECT.parent / "shared/fixtures/ibnetdiscover/selene-compute-2021.txt"
PAGE = "quality.md"
ENGINES = ("minhop", "updn", "dnup", "ftree", "dor", "torus-2QoS", "sssp", "dfsssp", "lash", "nue")
SLOW = {"selene": ("lash", "nue")}
"""Engines whose OpenSM namesakes take minutes on a fabric."""

FABRICS = {
    "leaf-spine-648": "",
    "fat-tree-1024": "",
    "torus-888": "sw-0-0-0",
    "dragonfly-1056": "group-0-sw-0",
    "dragonfly-plus-1088": "group-0-spine-0",
    "random-regular-1200": "sw-001",
    "selene": "",
}
"""Fabrics, and the root that OpenSM's updn needs on them."""


def main() -> int:
    """Print the table and the engines that are worse than OpenSM's; return 1 if there are any."""
    asked = arguments(__doc__, PAGE)
    lines, worse = [], []
    for fabric, root in FABRICS.items():
        if fabric == "selene" and not SELENE.exists():
            continue
        found = compared(fabric, root)
        lines += ["", f"### {fabric}", "", *HEADING]
        for engine in ENGINES:
            lines += [row(f"`{engine}`", found[engine]), row(f"OpenSM's `{engine}`", found.get(f"opensm:{engine}"))]
            worse += [f"{fabric} {engine}: {what}" for what in losses(found[engine], found.get(f"opensm:{engine}"))]
        lines.append(f"| any routing, at most | | {found['bound']['alltoall_fraction']:.3f} | | | |")
    lines += ["", "Worse than OpenSM's: " + ("; ".join(worse) if worse else "none") + "."]
    publish(lines, __file__, PAGE, write=asked.write)
    return 1 if worse else 0


HEADING = ["| engine | VLs | all-to-all | worst shift | eBB | credit loops |", "|---|---|---|---|---|---|"]


def compared(fabric: str, root: str) -> dict[str, Any]:
    """Return the rows of ``fabctl route compare`` by engine, and the bound."""
    ours = [name for name in ENGINES if not (root and name == "updn")]
    theirs = [f"opensm:{name}" for name in ours if name not in SLOW.get(fabric, ())]
    rows = run_compare(fabric, [*ours, *theirs])
    found = {"bound": rows["bound"], **{entry["engine"]: entry for entry in rows["engines"]}}
    if root:
        more = run_compare(fabric, ["updn", "opensm:updn"], "--root", root)
        found |= {entry["engine"]: entry for entry in more["engines"]}
    return found


def run_compare(fabric: str, engines: list[str], *options: str) -> Any:
    """Run ``fabctl route compare`` and return its data."""
    source = str(SELENE) if fabric == "selene" else str(PROJECT / f"topologies/{fabric}.yaml")
    command = [sys.executable, "-m", "fabctl", "route", "compare", source, "--engine", ",".join(engines), "-o", "json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["data"]


def row(name: str, entry: dict[str, Any] | None) -> str:
    """Return a line of the table."""
    if entry is None:
        return f"| {name} | | | | | not asked |"
    if entry["refusal"]:
        return f"| {name} | | | | | refused: {entry['refusal'].split(': ', 1)[0]} |"
    ebb = f"{entry['ebb_fraction']:.4f} +- {entry['ebb_ci99']:.4f}"
    shift = f"{entry['worst_shift_load']} | {ebb} | {entry['deadlock']}"
    return f"| {name} | {entry['vls']} | {entry['alltoall_fraction']:.3f} | {shift} |"


def losses(ours: dict[str, Any], theirs: dict[str, Any] | None) -> list[str]:
    """Return what an engine of ours does worse than its namesake; lanes count only against routes without a credit loop."""
    if theirs is None or theirs["refusal"]:
        return []
    unsafe = theirs["deadlock"] == "loop"
    if ours["refusal"]:
        return ["refused"]
    out = []
    if ours["alltoall_fraction"] < theirs["alltoall_fraction"] - 5e-4:
        out.append("all-to-all")
    if ours["worst_shift_load"] > theirs["worst_shift_load"]:
        out.append("worst shift")
    if ours["ebb_fraction"] + ours["ebb_ci99"] < theirs["ebb_fraction"] - theirs["ebb_ci99"]:
        out.append("eBB")
    if not unsafe and theirs["vls"] and ours["vls"] > theirs["vls"]:
        out.append("VLs")
    return [f"{what} (OpenSM's has a credit loop)" for what in out] if unsafe and ours["deadlock"] == "free" else out


if __name__ == "__main__":
    sys.exit(main())
