"""Measure `fabctl bench`, whole processes, and write the table of docs/performance.md.

    python benchmarks/bench.py                 # prints the table
    python benchmarks/bench.py --write         # and puts it into docs/performance.md, between this script's marks

CPU seconds are the median of three processes; sizes are those of ``-b 8 -e 4G``, thirty.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from page import arguments, publish
from run import REPEATS, SELENE

PAGE = "performance.md"
SIZES = ("-b", "8", "-e", "4G")
SELENE_AS = (SELENE, "--node", "dgx-a100")
CASES = (
    ("five collectives, 16 DGX-1", ("dgx1-16", "--collective", "all"), "<= 1.0"),
    ("the same on routes of four engines", ("dgx1-16", "--collective", "all", "--engine", "minhop,updn,ftree,dfsssp"), ""),
    ("five collectives, Selene's 458 hosts", (*SELENE_AS, "--collective", "all"), "<= 5"),
    ("the same with adaptive routing", (*SELENE_AS, "--collective", "all", "--with", "ar"), ""),
    ("all-reduce by SHARP, Selene's 458 hosts", (*SELENE_AS, "--collective", "all_reduce", "--with", "sharp"), ""),
    ("five collectives, 128 DGX H100", ("superpod-4su", "--collective", "all"), ""),
    ("all-reduce, 16,384 GPUs", ("llama3-16k", "--collective", "all_reduce", "--node", "dgx-h100"), ""),
)
"""What, arguments, and bound."""
CHILD = """
import json, resource, subprocess, sys
subprocess.run([sys.executable, "-m", "fabctl", "bench", *sys.argv[1:]], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


def main() -> None:
    """Measure, print, and write on request."""
    asked = arguments(__doc__, PAGE)
    publish(table(), __file__, PAGE, write=asked.write)


def table() -> list[str]:
    """Return the table's lines."""
    rows = ["| what, thirty sizes each | whole process, CPU s | bound | peak MB |", "|---|---|---|---|"]
    for what, argv, bound in CASES:
        if isinstance(argv[0], Path) and not argv[0].exists():
            continue
        seconds, peak = measured(*argv, *SIZES)
        rows.append(f"| {what} | {seconds:.2f} | {bound} | {peak:.0f} |")
    return rows


def measured(*argv: object) -> tuple[float, float]:
    """Return CPU seconds and peak megabytes of a whole ``fabctl bench``, the median of several."""
    runs = []
    for _ in range(REPEATS):
        done = subprocess.run([sys.executable, "-c", CHILD, *map(str, argv)], capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout))
    seconds, peak = (statistics.median(column) for column in zip(*runs, strict=True))
    return seconds, peak


if __name__ == "__main__":
    main()
