"""Effective bisection bandwidth under static, hashed and adaptive routes: the tables of docs/adaptive.md.

    python benchmarks/adaptive.py               # prints them; about a minute
    python benchmarks/adaptive.py --write       # and puts them into docs/adaptive.md

All is computed from tables, nothing is measured on hardware. The same command gives the same numbers.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from page import arguments, publish

from fabctl.congestion.adaptive_groups import Groups, adaptive_groups
from fabctl.congestion.adaptive_local import local_channels
from fabctl.congestion.adaptive_quality import Lay, bisection, fluid_lay, local_lay
from fabctl.congestion.diversity import hashed_channels
from fabctl.congestion.load import flow_channels
from fabctl.generate.spec import parse
from fabctl.model.phases import Channels
from fabctl.model.tables import RoutingTables
from fabctl.routing.compute import compute_tables

PROJECT = Path(__file__).resolve().parent.parent
PAGE = "adaptive.md"
SELENE = PROJECT.parent / "shared/fixtures/ibnetdiscover/selene-compute-2021.txt"
SAMPLES, SEED = 200, 1
CLOS = {
    "512 hosts, two levels: XGFT(2;16,32;1,16)": "m: [16, 32]\nw: [1, 16]",
    "512 hosts, three levels: XGFT(3;16,16,2;1,16,16)": "m: [16, 16, 2]\nw: [1, 16, 16]",
    "512 hosts, three levels of radix 16: XGFT(3;8,8,8;1,8,8)": "m: [8, 8, 8]\nw: [1, 8, 8]",
    "256 hosts, two levels: XGFT(2;16,16;1,16)": "m: [16, 16]\nw: [1, 16]",
    "128 hosts, two levels: XGFT(2;16,8;1,16)": "m: [16, 8]\nw: [1, 16]",
    "64 hosts, two levels: XGFT(2;16,4;1,16)": "m: [16, 4]\nw: [1, 16]",
}
FABRICS = (
    ("fat-tree-1024", "tree"),
    ("fat-tree-1024-faults", "tree"),
    ("selene-plan", "lag"),
    ("torus-888", "tree"),
    ("dragonfly-plus-1088", "tree"),
    ("dragonfly-plus-1088", "dragonfly+"),
    (str(SELENE), "tree"),
)


def main() -> int:
    """Print the tables, and write them where that is asked for."""
    asked = arguments(__doc__, PAGE)
    lines = [line for name, spec in CLOS.items() for line in clos(name, spec)] + fabrics()
    publish(lines, __file__, PAGE, write=asked.write)
    return 0


def clos(name: str, spec: str) -> list[str]:
    """Return the table of one Clos network."""
    tables = compute_tables(parse(f"family: xgft\n{spec}\nspeed: EDR\n", "clos.yaml")[0], "ftree")
    ports = tables.fabric.endpoints
    lines = ["", f"### {name}", "", "| routes | one way | exchange | exchange, queued |", "|---|---|---|---|"]
    for what, lay in lays(tables, adaptive_groups(tables, ports, "tree")).items():
        cells = [
            bisection(ports, lay, samples=SAMPLES, seed=SEED, exchange=exchange, queued=queued)
            for exchange, queued in ((False, False), (True, False), (True, True))
        ]
        lines.append(f"| {what} | " + " | ".join(f"{cell.mean:.3f} +- {cell.ci99:.3f}" for cell in cells) + " |")
    return lines


def lays(tables: RoutingTables, groups: Groups) -> dict[str, Lay]:
    """Return the ways to lay flows, by name."""
    return {
        "static, D-mod-k (`ftree`)": lambda flows, _: (Channels(*flow_channels(tables, flows)), None),
        "static, random (`hash`, 1 queue pair)": lambda flows, _: hashed_channels(
            tables, flows, "tree", seed=SEED, groups=groups
        ),
        "`hash`, 4 queue pairs": lambda flows, _: hashed_channels(tables, flows, "tree", seed=SEED, qps=4, groups=groups),
        "adaptive, `local`": local_lay(tables, groups, SEED),
        "adaptive, probing": lambda flows, turn: (
            local_channels(tables, flows, "tree", seed=SEED + turn, probing=True, groups=groups),
            None,
        ),
        "adaptive, `fluid`": fluid_lay(tables, groups),
    }


def fabrics() -> list[str]:
    """Return what ``fabctl route --adaptive`` says of shipped fabrics and Selene, in one table."""
    lines = [
        "",
        "### Other fabrics, by `fabctl route FABRIC --adaptive MODE --hash 1` (engine minhop)",
        "",
        "| fabric | mode | all-to-all static | fluid | gap | rounds | eBB static | fluid | local | hash |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, mode in FABRICS:
        if name == str(SELENE) and not SELENE.exists():
            continue
        found = routed(name, mode)
        routes = {row["routes"]: row for row in found["routes"]}
        ebb = " | ".join(f"{routes[kind]['ebb_fraction']:.3f}" for kind in ("static", "fluid", "local", "hash"))
        converged = found["convergence"]
        fractions = " | ".join(f"{routes[kind]['alltoall_fraction']:.3f}" for kind in ("static", "fluid"))
        label = "Selene, as dumped in 2021" if name == str(SELENE) else name
        lines.append(f"| {label} | {mode} | {fractions} | {converged['gap']:.2%} | {len(converged['rounds'])} | {ebb} |")
    return lines


def routed(name: str, mode: str) -> dict[str, Any]:
    """Return the section on adaptive routing of one fabric's report."""
    command = [sys.executable, "-m", "fabctl", "route", name, "--adaptive", mode, "--hash", "1", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)["data"]["adaptive"]
    return found


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    raise SystemExit(main())
