"""Sizes of real logs (tests/bench/logs) beside what is predicted for them, as ``fabctl bench validate`` lays them."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from published import Number

from fabctl.cli.main import main

HERE = Path(__file__).resolve().parent
H100 = "nccl-tests issue 309"
NVLS = "nccl-tests on AWS Batch (awsome-distributed-training)"
SHARP = "coreweave/nccl-tests, README: H100, InfiniBand, SHARP"


@cache
def rows(log: str, hosts: int, *options: str) -> dict[int, dict[str, Any]]:
    """Return the rows of a log of DGX H100 hosts by size; more than one stand on their rails' leaves."""
    with tempfile.TemporaryDirectory() as folder:
        topology, out = Path(folder, "fabric.yaml"), Path(folder, "out.json")
        topology.write_text(f"family: rail-optimised\nnode_type: dgx-h100\nnodes_per_unit: {hosts}\nunits: 1\n")
        fabric = ["--fabric", str(topology)] if hosts > 1 else ["--node", "dgx-h100"]
        main(["bench", "validate", str(HERE / "logs" / log), *fabric, *options, "-o", "json", "--out", str(out)])
        return {row["size_bytes"]: row for row in json.loads(out.read_text())["data"]["runs"][0]["rows"]}


def time_us(log: str, hosts: int, size_bytes: int, *options: str) -> float:
    return float(rows(log, hosts, *options)[size_bytes]["predicted_us"])


def busbw(log: str, hosts: int, size_bytes: int, *options: str) -> float:
    return float(rows(log, hosts, *options)[size_bytes]["predicted_gb_s"])


FOUR, TWO, ONE = "nccl-tests-309-4x8-h100.txt", "nccl-tests-309-2x8-h100.txt", "aws-1x8-h100.txt"
TWELVE = "coreweave-12x8-h100-sharp.txt"
SMALL, MEDIUM, MIB, GIB = "runs of the same size differ as much", "an LL128 tree, its bytes and its hops alike", 1 << 20, 1 << 30

NUMBERS = [
    Number("4 hosts of 8 H100: all-reduce of 16 B", "us", 34.45, H100, lambda: time_us(FOUR, 4, 16), 0.05, SMALL),
    Number("4 hosts of 8 H100: all-reduce of 1 MiB", "us", 82.17, H100, lambda: time_us(FOUR, 4, MIB), 0.05, MEDIUM),
    Number(
        "4 hosts of 8 H100: all-reduce of 16 MiB",
        "us",
        258.3,
        H100,
        lambda: time_us(FOUR, 4, 16 * MIB),
        0.05,
        "",
        explained="NCCL's own model is optimistic between latency and bandwidth (docs/validate.md)",
    ),
    Number(
        "4 hosts of 8 H100: all-reduce of 16 GiB",
        "GB/s busbw",
        365.84,
        H100,
        lambda: busbw(FOUR, 4, 16 * GIB),
        0.02,
        "the rings' channel speed is a round number",
    ),
    Number("2 hosts of 8 H100: all-reduce of 8 B", "us", 24.70, H100, lambda: time_us(TWO, 2, 8), 0.05, SMALL),
    Number(
        "2 hosts of 8 H100: all-reduce of 16 GiB",
        "GB/s busbw",
        469.21,
        H100,
        lambda: busbw(TWO, 2, 16 * GIB),
        0.02,
        "NCCL's 0.85 of NVLink is a round number",
    ),
    Number(
        "8 H100 in one node: all-reduce of 8 B",
        "us",
        12.87,
        NVLS,
        lambda: time_us(ONE, 1, 8),
        0.2,
        "NCCL's hops of 0.6 us are a round number, 14 of them",
    ),
    Number(
        "8 H100 in one node, NVLS: 16 GiB",
        "GB/s busbw",
        483.05,
        NVLS,
        lambda: busbw(ONE, 1, 16 * GIB),
        0.02,
        "NCCL's 0.85 of NVLink is a round number",
    ),
    Number(
        "12 hosts of 8 H100 with SHARP: all-reduce of 4 GiB",
        "GB/s busbw",
        383.23,
        SHARP,
        lambda: busbw(TWELVE, 12, 4 * GIB, "--with", "sharp"),
        0.02,
        "the two halves of the log differ as much",
    ),
]
