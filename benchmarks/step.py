"""Measure ``fabctl bench step`` as whole processes: a table as in docs/performance.md.

    python benchmarks/step.py            # prints the table
    python benchmarks/step.py --write    # and puts it into docs/performance.md, between this script's marks

CPU seconds are the median of three processes. SimAI's figure was measured once on such a machine: SimAI_analytical (1.6) on its
README's example, given the bus bandwidths in a file; fabctl routes the fabric and times each collective on it.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys

from page import arguments, publish
from run import PROJECT, REPEATS

PAGE = "performance.md"
SIMAI = ("bench", "step", "simai-9216", "--job", "topologies/jobs/simai-9216.yaml", "--compute-ms", "4542")
LLAMA = ("bench", "step", "llama3-16k", "--job", "topologies/jobs/llama3-405b.yaml", "--efficiency", "0.55")
CASES = (
    ("a step of SimAI's example, 9,216 GPUs", SIMAI, "<= 6", "SimAI_analytical 12.0 s"),
    ("the same, and its weak scaling from one replica", (*SIMAI, "--scale"), "", ""),
    ("a step of Llama 3 405B, 16,384 GPUs", LLAMA, "", ""),
    ("the same, and its weak scaling from one replica", (*LLAMA, "--scale"), "", ""),
    ("the same, with adaptive routing", (*LLAMA, "--with", "ar"), "", ""),
)


def main() -> None:
    """Measure, print, and write on request."""
    asked = arguments(__doc__, PAGE)
    publish(table(), __file__, PAGE, write=asked.write)


def table() -> list[str]:
    """Return the table's lines."""
    rows = ["| what | whole process, CPU s | bound | peak MB | step, s | peer |", "|---|---|---|---|---|---|"]
    for what, command, bound, peer in CASES:
        runs = [measured(command) for _ in range(REPEATS)]
        cpu_s, peak_mb, step_s = (statistics.median(run[column] for run in runs) for column in range(3))
        share = f"{peer}: 1/{12.0 / cpu_s:.0f}" if peer else ""
        rows.append(f"| {what} | {cpu_s:.2f} | {bound} | {peak_mb:.0f} | {step_s:.2f} | {share} |")
    return rows


def measured(command: tuple[str, ...]) -> tuple[float, float, float]:
    """Return CPU seconds, peak megabytes and the predicted step of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    argv = [sys.executable, "-m", "fabctl", *command, "-o", "json"]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu_s, after.ru_maxrss / 1024, json.loads(done.stdout)["data"]["step_seconds"]


if __name__ == "__main__":
    main()
