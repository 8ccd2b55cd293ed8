"""Measure when flows end, and the report of ORCS's metrics, against SimGrid in one run: a table as in docs/performance.md.

    python benchmarks/congestion.py            # prints the table
    python benchmarks/congestion.py --quick    # without SimGrid on the all-to-all of 256 hosts (20 s)
    python benchmarks/congestion.py --write    # and puts it into docs/performance.md, between this script's marks

SimGrid is Debian's (python3-simgrid), fed by ``fabctl route -o simgrid``; its figure is its engine's run alone, without Python's
reading of the platform. fabctl's figure includes walking the routes. CPU seconds are the median of three processes.
"""

from __future__ import annotations

import csv
import io
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from page import HEADING, arguments, publish, row
from run import PROJECT, SELENE, case

PYTHON = "/usr/bin/python3"
PAGE = "performance.md"
TREES = {
    "full": "family: xgft\nm: [16, 16, 16]\nw: [1, 16, 16]\nspeed: HDR\n",
    "slim": "family: xgft\nm: [16, 16, 16]\nw: [1, 8, 8]\nspeed: HDR\n",
    "256": "family: xgft\nm: [16, 16]\nw: [1, 16]\nspeed: HDR\n",
    "1024": "family: xgft\nm: [16, 8, 8]\nw: [1, 16, 8]\nspeed: HDR\n",
}
ENDS = (
    ("a permutation of 4,096 hosts, full tree", "full", "permutation", "equal", "<= 0.05", True),
    ("the same on a tree with half the up-links", "slim", "permutation", "equal", "<= 0.05", True),
    ("the same with flows of 4,096 sizes", "slim", "permutation", "mixed", "", True),
    ("all-to-all of 256 hosts, 65,280 flows", "256", "alltoall", "equal", "<= 0.3", False),
    ("all-to-all of 1,024 hosts, 1,047,552 flows", "1024", "alltoall", "equal", "<= 2, <= 1000 MB", None),
)
"""What, tree, pattern, sizes, bound, and whether SimGrid runs it always, not in a quick run, or never."""


def main() -> None:
    """Measure, print, and write on request."""
    asked = arguments(__doc__, PAGE, quick="leave SimGrid out on the all-to-all")
    with tempfile.TemporaryDirectory() as folder:
        publish(table(Path(folder), quick=asked.quick), __file__, PAGE, write=asked.write)


def table(folder: Path, *, quick: bool) -> list[str]:
    """Return the table's lines."""
    rows = [*HEADING]

    def add(what: str, figures: dict[str, Any], bound: str, peer: str = "") -> None:
        rows.append(row(what, figures, bound, peer, digits=3))

    for name, text in TREES.items():
        (folder / f"{name}.yaml").write_text(text)
    for what, tree, pattern, sizes, bound, always in ENDS:
        source, program = folder / f"{tree}.yaml", folder / f"{tree}-{sizes}.py"
        peered = always is True or (always is False and not quick)
        figures = case("ends", source, pattern, sizes, *([program] if peered else []))
        add(what, figures, bound, simgrid(program, figures["cpu_s"]) if peered else "")
    add("ORCS's whole report, fat-tree-1024", case("report", PROJECT / "topologies/fat-tree-1024.yaml"), "<= 2")
    add("2,000 random bisections, 4,096 hosts", case("bisections", folder / "full.yaml", "2000"), "<= 2")
    step = case("step", PROJECT / "topologies/llama3-16k.yaml", PROJECT / "topologies/jobs/llama3-405b.yaml")
    add("a step of Llama 3 405B on 16,384 GPUs: routes, phases, when they end", step, "<= 20, <= 2000 MB")
    if SELENE.exists():
        add("engine `jobs`, 64 jobs of 7 hosts on Selene", case("jobs", SELENE, "64", "7"), "<= 60")
        add("engine `jobs`, 8 jobs of 32 hosts on Selene", case("jobs", SELENE, "8", "32"), "")
    return rows


def simgrid(program: Path, seconds: float) -> str:
    """Return SimGrid's CPU seconds for a program that fabctl wrote, the ratio, and how far the two differ on any flow."""
    timed = "start = time.process_time(); engine.run(); print(time.process_time() - start, file=sys.stderr)"
    text = program.read_text().replace("import sys\n", "import sys\nimport time\n").replace("engine.run()", timed)
    try:
        done = subprocess.run([PYTHON, "-"], input=text, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "not measured: SimGrid is not here"
    theirs = np.array([float(row["seconds"]) for row in csv.DictReader(io.StringIO(done.stdout))])
    off = float(np.max(np.abs(theirs / np.load(f"{program}.npy") - 1)))
    taken = float(done.stderr.split()[-1])
    differ = f"ends differ by {off:.0e} at most" if off else "all ends are equal"
    return f"SimGrid {taken:.2f} s: 1/{taken / max(seconds, 1e-4):.0f}; {differ}"


if __name__ == "__main__":
    main()
