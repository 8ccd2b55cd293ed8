"""The path that explain prints is the path that ibtracert follows through the switches of the twin."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from realstack import Ibsim

_HOP = re.compile(r"\[(\d+)\] -> (?:switch|ca) port \{0x[0-9a-f]+\}\[(\d+)\] lid \d+-\d+ \"([^\"]*)\"")


def traced(text: str, source: str) -> list[tuple[str, int, str, int]]:
    """Return ibtracert's hops: node, port out, node, port in."""
    hops, node = [], source
    for out, into, following in _HOP.findall(text):
        hops.append((node, int(out), following, int(into)))
        node = following
    return hops


def test_the_path_is_ibtracert_s(run: Any, fixtures: Path, tmp_path: Path) -> None:
    net, fabric, tables = fixtures / "tool-output/ibsim-small.net", tmp_path / "fabric.txt", tmp_path / "tables.txt"
    rng = np.random.default_rng(3)
    pairs = [tuple(rng.choice(8, 2, replace=False).tolist()) for _ in range(10)]
    with Ibsim(net, tmp_path) as sim:
        sim.opensm("minhop")
        fabric.write_text(sim.ibnetdiscover())
        tables.write_text(sim.dump_fts())
        for first, second in pairs:
            argv = ("explain", f"node{first:05}", f"node{second:05}", "--fabric", fabric, "--tables", tables)
            done = run(*argv, "--assume-speed", "4xHDR", "-o", "json")
            assert done.code == 0
            for leg in json.loads(done.out)["data"]["legs"]:
                lids = [str(lid) for lid in (lid_of(leg["source"], fabric), leg["target_lid"])]
                hops = [(hop["from"], hop["from_port"], hop["to"], hop["to_port"]) for hop in leg["hops"]]
                assert hops == traced(sim.run("ibtracert", *lids), leg["source"].rpartition("/")[0])


def lid_of(port: str, fabric: Path) -> int:
    node = port.rpartition("/")[0]
    match = re.search(rf'# "{node}"\n.*?\t# lid (\d+)', fabric.read_text())
    assert match is not None
    return int(match[1])
