"""Measure fabctl against its peers in one run and write the table of docs/performance.md.

    python benchmarks/run.py                   # prints the table
    python benchmarks/run.py --write           # and puts it into docs/performance.md
    python benchmarks/run.py --quick           # without OpenSM on the large tree (which takes half an hour)

Peers run on the same machine in the same run: Debian's OpenSM on ibsim (its routing time alone, apart from sweep and
programming, measured by ../shared/tools/opensm-routing-time/measure), the real ibnetdiscover for the dump of the large tree.
CPU seconds are the median of three processes.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from page import HEADING, arguments, publish, row

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"
MEASURE = SHARED / "tools/opensm-routing-time/measure"
SELENE = SHARED / "fixtures/ibnetdiscover/selene-compute-2021.txt"
SELENE_HOST = "H-0c42a103002559fe"
LARGE = PROJECT / "topologies/fat-tree-11664.yaml"
LARGE_HOST = "node-00001 mlx5_0"
LARGE_BOUNDS = {
    **dict.fromkeys(("minhop", "updn", "dnup", "ftree", "dor"), "<= 1/40 of OpenSM, <= 600 MB"),
    "sssp": "<= 1/10 of OpenSM",
    "dfsssp": "<= 1/25 of OpenSM, <= 1500 MB",
}
LARGEST = PROJECT / "topologies/fat-tree-43904.yaml"
MIDDLE_HOST = "node-0001 mlx5_0"
MIDDLE_BOUNDS = (
    ("fat-tree-1024", "lash", "<= 1/20 of OpenSM"),
    ("fat-tree-1024", "nue", "<= OpenSM"),
    ("torus-888", "nue", "<= OpenSM"),
    ("torus-888", "torus-2QoS", ""),
    ("random-regular-1200", "dfsssp", ""),
    ("random-regular-1200", "lash", ""),
    ("dragonfly-1056", "dfsssp", ""),
    ("dragonfly-1056", "lash", ""),
)
PRELOAD = "/usr/lib/x86_64-linux-gnu/umad2sim/libumad2sim.so"
REPEATS = 3
PAGE = "performance.md"


def main() -> None:
    """Measure, print, and write on request."""
    asked = arguments(__doc__, PAGE, quick="leave OpenSM out on the large tree")
    with tempfile.TemporaryDirectory() as folder:
        publish(table(Path(folder), quick=asked.quick), __file__, PAGE, write=asked.write)


def table(folder: Path, *, quick: bool) -> list[str]:
    """Return the table's lines."""
    rows = [*HEADING]

    def add(what: str, figures: dict[str, Any], bound: str, peer: str = "") -> None:
        rows.append(row(what, figures, bound, peer))

    add("`fabctl --help`", help_figures(), "<= 0.10")
    if SELENE.exists():
        add("parse Selene (55,750 lines)", case("parse", SELENE), "<= 1.0, process <= 1.6")
    net = folder / "large.net"
    fabctl("discover", LARGE, "-o", "ibsim", "--out", net)
    dump = folder / "large.txt"
    if real_dump(net, dump):
        add("parse the real ibnetdiscover's dump of 11,664 hosts", case("parse", dump), "<= 2.0")
    for engine, bound in LARGE_BOUNDS.items():
        figures = case("route", LARGE, engine)
        peer = "" if quick else opensm(net, engine, LARGE_HOST, figures["cpu_s"])
        add(f"`{engine}`, 11,664 hosts", figures, bound, peer)
    add("exact all-to-all loads, 11,664 hosts", case("alltoall", LARGE), "<= 2.0")
    add("1,000 random bisections, 11,664 hosts", case("bisections", LARGE, "1000"), "<= 10")
    for engine in ("minhop", "ftree"):
        add(f"`{engine}`, 43,904 hosts", case("route", LARGEST, engine), "<= 15, <= 3000 MB", "the largest tree of a subnet")
    for name, engine, bound in MIDDLE_BOUNDS:
        source = PROJECT / f"topologies/{name}.yaml"
        fabctl("discover", source, "-o", "ibsim", "--out", folder / f"{name}.net")
        figures = case("route_warm", source, engine)
        add(f"`{engine}`, {name}", figures, bound, opensm(folder / f"{name}.net", engine, MIDDLE_HOST, figures["cpu_s"]))
    if SELENE.exists():
        for engine in ("minhop", "updn", "ftree", "sssp", "dfsssp"):
            figures = case("route_warm", SELENE, engine)
            peer = opensm(SELENE, engine, SELENE_HOST, figures["cpu_s"])
            bound = "<= 1/20 of OpenSM" if engine == "dfsssp" else ""
            add(f"`{engine}`, Selene (3,675 HCAs, 666 switches)", figures, bound, peer)
    return rows


def case(name: str, *arguments: object) -> dict[str, Any]:
    """Return the median figures of a case over several processes."""
    runs = []
    for _ in range(REPEATS):
        command = [sys.executable, str(PROJECT / "benchmarks/cases.py"), name, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout))
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def help_figures() -> dict[str, Any]:
    """Return the figures of ``fabctl --help`` as a whole process."""
    runs = []
    for _ in range(5 * REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        fabctl("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        runs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    seconds = statistics.median(runs)
    return {"cpu_s": seconds, "process_cpu_s": seconds, "peak_rss_mb": after.ru_maxrss / 1024}


def fabctl(*arguments: object) -> None:
    """Run fabctl."""
    subprocess.run([sys.executable, "-m", "fabctl", *map(str, arguments)], capture_output=True, check=True)


def opensm(net: Path, engine: str, host: str, seconds: float) -> str:
    """Return OpenSM's routing time and memory for the same fabric, and the ratio."""
    if not MEASURE.exists():
        return "not measured: the tool is not here"
    environment = {**os.environ, "TMO": "1800"}  # its dfsssp takes ten minutes on the large tree
    done = subprocess.run([str(MEASURE), str(net), engine, host], capture_output=True, text=True, check=True, env=environment)
    found = json.loads(done.stdout)
    if found["fell_back"]:
        return f"OpenSM's {engine} fell back to {found['routed_with']}"
    ratio = found["cpu_s"] / max(seconds, 1e-3)
    share = f"1/{ratio:.0f}" if ratio >= 2 else f"1/{ratio:.1f}"
    return f"OpenSM {engine} {found['cpu_s']:.2f} s, {found['peak_rss_mb']} MB: {share}"


def real_dump(net: Path, dump: Path) -> bool:
    """Write the real ibnetdiscover's dump of a simulated fabric; return whether the tools are there."""
    environment = {**os.environ, "IBSIM_SOCKNAME": f"fabctl-benchmark-{os.getpid()}"}
    try:
        limits = ["-N", "20000", "-S", "3000", "-P", "400000"]
        simulator = subprocess.Popen(
            ["ibsim", "-s", "-n", *limits, str(net)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except FileNotFoundError:
        return False
    try:
        assert simulator.stdout is not None
        for line in simulator.stdout:
            if "simulator ready" in line:
                break
        client = {**environment, "LD_PRELOAD": PRELOAD, "SIM_HOST": LARGE_HOST}
        with dump.open("w") as stream:
            discover = ["ibnetdiscover"]  # the preload writes into the current folder
            subprocess.run(discover, cwd=dump.parent, env=client, stdout=stream, stderr=subprocess.DEVNULL, check=True)
    finally:
        simulator.kill()
        simulator.wait()
    return True


if __name__ == "__main__":
    main()
