"""Published numbers of reference deployments, from the scenarios themselves."""

from __future__ import annotations

from functools import cache

from published import Number
from scenario_pages import outcome


@cache
def tokens_per_s(scenario: str, offloads: str) -> float:
    """Return the tokens per second of a scenario's row."""
    (row,) = (row for row in outcome(scenario)["outcomes"] if row["offloads"] == offloads)
    return float(row["points"][0]["tokens_per_s"])


def megatron_flops(layers: int, hidden: int, vocabulary: int, length: int) -> float:
    """Return the operations per token of Narayanan et al., equation 3, recomputation included."""
    return 96 * layers * hidden**2 * (1 + length / (6 * hidden) + vocabulary / (16 * layers * hidden))


NUMBERS = [
    Number(
        what="GPT 76.1B on 1,024 A100 of a SuperPOD (scenario superpod-a100)",
        unit="TFLOPS/GPU",
        published=140,
        source="Narayanan et al., SC 2021, table 1, measured on Selene",
        predicted=lambda: (
            tokens_per_s("superpod-a100", "+ GPUDirect RDMA") * megatron_flops(60, 10240, 51200, 2048) / 1024 / 1e12
        ),
        tolerance=0.05,
        reason="published to two digits; the efficiency is that of 175B on 64 of these GPUs",
    ),
]
