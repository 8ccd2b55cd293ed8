"""Every engine on every large fabric before the real judges: OpenSM installs it, the switches are read back, ibdmchk walks it.

    python benchmarks/judge.py                                    # all of it: about 20 minutes
    python benchmarks/judge.py --fabric torus-888 --engine nue    # one of it

Prints one row for each engine and fabric: paths walked, paths lost, credit loop, virtual lanes, or why it was refused.
Ends with 1 if the real tools found any fault.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from judge_routes import Judged, judge  # noqa: E402
from realstack import Ibsim  # noqa: E402

from fabctl.model.lids import with_lids  # noqa: E402
from fabctl.routing import ENGINES  # noqa: E402
from fabctl.sources.reading import load_fabric  # noqa: E402
from fabctl.twin.netfile import ibsim_net  # noqa: E402

FABRICS = ("leaf-spine-648", "fat-tree-1024", "torus-888", "dragonfly-1056", "dragonfly-plus-1088", "random-regular-1200")


def main() -> int:
    """Judge and print; return 1 if the real tools found a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fabric", action="append", help="only this one; may be given again")
    parser.add_argument("--engine", action="append", help="only this one; may be given again")
    arguments = parser.parse_args()
    print("| fabric | engine | VLs | paths | lost | credit loop | entries that differ | wrong SLs | s | or refused |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    faults = 0
    for name in arguments.fabric or FABRICS:
        fabric, _ = with_lids(load_fabric(str(PROJECT / f"topologies/{name}.yaml")).fabric)
        for engine in arguments.engine or ENGINES.names():
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                net = Path(folder) / "fabric.net"
                net.write_text(ibsim_net(fabric))
                with Ibsim(net, Path(folder) / "sim") as sim:
                    judged = judge(sim, fabric, engine, Path(folder), samples=20)
            print(row(name, judged, time.monotonic() - began), flush=True)
            faults += not (judged.refusal or judged.good)
    return 1 if faults else 0


def row(fabric: str, judged: Judged, seconds: float) -> str:
    """Return a line of the table."""
    verdict = judged.verdict
    if verdict is None:
        return f"| {fabric} | {judged.engine} | | | | | | | {seconds:.0f} | {judged.refusal} |"
    loop = "not sought" if verdict.credit_loop is None else "yes" if verdict.credit_loop else "no"
    cells = (judged.lanes, f"{verdict.paths:,}", verdict.lost, loop, judged.differing, judged.wrong_levels, f"{seconds:.0f}")
    return f"| {fabric} | {judged.engine} | {' | '.join(map(str, cells))} | |"


if __name__ == "__main__":
    sys.exit(main())
