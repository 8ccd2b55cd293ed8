"""What measured all-reduces and all-to-alls reach beside what ``fabctl bench`` says of such hosts on such a fabric, end to end."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from published import Number

from fabctl.cli.main import main

RAILS_OF_FOUR = "rails: [0, 2, 4, 6]"
"""Of a DGX A100: one HCA beside each pair of GPUs, as in an HGX A100 with four."""


@cache
def prediction(node: str, hosts: tuple[int, int], job: str, size_bytes: int, options: tuple[str, ...]) -> dict[str, Any]:
    """Return the only prediction for units of hosts of a type, a leaf switch for each rail of a unit, spines without blocking."""
    units, per_unit = hosts
    with tempfile.TemporaryDirectory() as folder:
        topology, job_file, out = (Path(folder, name) for name in ("fabric.yaml", "job.yaml", "out.json"))
        topology.write_text(f"family: rail-optimised\nnode_type: {node}\nnodes_per_unit: {per_unit}\nunits: {units}\n")
        job_file.write_text(f"hosts: all\nranks_per_host: 8\n{job}\n")
        asked = ["-b", str(size_bytes), "-e", str(size_bytes), "-o", "json", "--out", str(out)]
        if code := main(["bench", str(topology), "--job", str(job_file), *asked, *options]):
            raise RuntimeError(f"fabctl bench: exit code {code}")
        found: dict[str, Any] = json.loads(out.read_text())["data"]["predictions"][0]
        return found


def busbw(node: str, hosts: int, job: str, size_bytes: int, *options: str, units: int = 1) -> float:
    """Return the busbw of one size, GB/s."""
    return float(prediction(node, (units, hosts // units), job, size_bytes, options)["rows"][0]["busbw_gb_s"])


RING, ALL_REDUCE, ALLTOALL = "collective: all_reduce\nalgorithm: ring", "collective: all_reduce", "collective: alltoall"
LARGE = 64 << 30

NUMBERS = [
    Number(
        "DGX-1, 4 EDR HCAs, all-reduce between nodes, end to end",
        "GB/s busbw",
        48.0,
        "nccl-tests issue 29",
        lambda: busbw("dgx-1", 16, RING, LARGE),
        0.01,
        "the latency of 16 hosts still shows at 64 GiB",
    ),
    Number(
        "DGX-1, one EDR port",
        "GB/s busbw",
        12.2,
        "nccl-tests issue 29: as good as it gets",
        lambda: busbw("dgx-1", 2, f"{RING}\nrails: [0]", LARGE),
        0.02,
        "NCCL counts a PCIe 3.0 x16 slot as 12 GB/s; good ones give a little more",
    ),
    Number(
        "DGX A100, 8 HDR HCAs, all-reduce, end to end",
        "GB/s busbw",
        192.0,
        "nccl issue 812 (AddyLaddy)",
        lambda: busbw("dgx-a100", 4, ALL_REDUCE, LARGE),
        0.005,
        "three digits were published",
    ),
    Number(
        "4 DGX A100, 8 HDR HCAs, all-reduce of 4 GiB, end to end",
        "GB/s busbw",
        191.05,
        "nccl issue 812",
        lambda: busbw("dgx-a100", 4, ALL_REDUCE, 4 << 30),
        0.01,
        "0.9 % of it is the latency that NCCL assumes of its plateau",
    ),
    Number(
        "3 HGX A100, 4 HDR HCAs, all-reduce of 126 MiB",
        "GB/s busbw",
        96.69,
        "nccl-tests issue 119",
        lambda: busbw("dgx-a100", 3, f"{ALL_REDUCE}\n{RAILS_OF_FOUR}", 132120584),
        0.05,
        "",
        explained="NCCL's latency for rings, 400 us with its plateau of 1.4, is 15 % of the time; that run had next to none",
    ),
    Number(
        "HGX A100, 4 HDR HCAs, ring, the most of 8 GiB",
        "GB/s busbw",
        96.0,
        "nccl-tests issues 119 (sjeaugey: 24 GB/s is the peak of a 200 Gb/s NIC) and 252 (97.09 at best)",
        lambda: busbw("dgx-a100", 3, f"{RING}\n{RAILS_OF_FOUR}", 8 << 30),
        0.015,
        "24 GB/s is rounded",
    ),
    Number(
        "2 HGX A100, 4 HDR HCAs, all-reduce of 2 GiB",
        "GB/s busbw",
        89.65,
        "nccl-tests issue 152, after a PCIe setting was mended",
        lambda: busbw("dgx-a100", 2, f"{ALL_REDUCE}\n{RAILS_OF_FOUR}", 2 << 30),
        0.07,
        "93.25 at 128 MiB of the same run: 4 % between its sizes, and the model is an upper bound",
    ),
    Number(
        "H100, 8 NDR HCAs, ring, between nodes",
        "GB/s busbw",
        8 * 47.0,
        "nccl-tests issue 290 (AddyLaddy: 46 to 48 GB/s a NIC)",
        lambda: busbw("dgx-h100", 4, RING, LARGE),
        0.025,
        "the published range is 2 % wide either way",
    ),
    Number(
        "2 HGX H100, 8 NDR HCAs, all-reduce, large",
        "GB/s busbw",
        470.0,
        "nccl-tests issue 309, as nccl issue 2409 quotes it",
        lambda: busbw("dgx-h100", 2, ALL_REDUCE, 8 << 30),
        0.03,
        "published with two digits",
    ),
    Number(
        "248 nodes of 8 H200, all-reduce of 512 MiB",
        "GB/s busbw",
        350.0,
        "nccl-tests issue 283: typically, unstable; 8 rails of 400 Gb/s assumed",
        lambda: busbw("dgx-h100", 248, ALL_REDUCE, 512 << 20, units=8),
        0.1,
        "the fabric and the NCCL of that cluster are unknown",
    ),
    Number(
        "2 nodes of 8 H100, 8 NDR HCAs, all-to-all",
        "GB/s busbw",
        2 * 47.0,
        "nccl-tests issues 130 (sjeaugey: N/(N-1) times what a NIC gives) and 290 (46 to 48 GB/s a NIC)",
        lambda: busbw("dgx-h100", 2, ALLTOALL, LARGE),
        0.05,
        "a rank's own block stays in its memory and is counted: 15/16",
    ),
    Number(
        "DGX A100, 4 HDR HCAs, CollNet, end to end",
        "GB/s algbw",
        80.0,
        "nccl issue 320 (sjeaugey: should be able to get about 80, a rule of 20 GB/s a NIC)",
        lambda: busbw("dgx-a100", 8, f"{ALL_REDUCE}\n{RAILS_OF_FOUR}", 8 << 30, "--with", "sharp") * 64 / 126,
        0.2,
        "a rule of thumb; SHARP's authors publish 95 % of the wire, which is 95",
    ),
    Number(
        "DGX A100, 8 HDR HCAs, CollNet, end to end",
        "GB/s algbw",
        110.0,
        "nccl issue 320 (sjeaugey: limited by NVLink to about 110)",
        lambda: busbw("dgx-a100", 8, ALL_REDUCE, 8 << 30, "--with", "sharp") * 64 / 126,
        0.2,
        "",
        explained="NVLink binds here too, but is counted as 240 GB/s of which CollNetDirect uses all; 110 would be four fifths",
    ),
]
