"""Damaged job files end in an error with its place or in a job, never in a crash: values exchanged, characters and lines lost."""

from __future__ import annotations

import random
import re

import pytest
from small_fabrics import two_levels

from fabctl.bench.job_show import show_jobs
from fabctl.errors import InputError
from fabctl.traffic.job import parse_jobs

FABRIC = two_levels(8, 4, 2, rails=4)
MIXTURE = """\
hosts: 4
ranks_per_host: 4
model: mixtral-8x7b
sequence_length: 4096
parallelism: {tp: 2, ep: 4, etp: 1, pp: 2, zero: 1, microbatches: 4, interleave: 2, cp: 2}
overlap: [dp]
precision: fp8
"""
NUMBERS = """\
hosts: n[0000-0003]
ranks_per_host: 4
model: {layers: 4, hidden: 64, heads: 4, vocabulary: 100, experts: 4, experts_per_token: 2}
sequence_length: 128
parallelism: {tp: 2, pp: 4, layers_per_stage: [1, 1, 1, 1], fsdp: true}
"""
SEVERAL = """\
jobs:
  - {hosts: 3, placement: spread, collective: [all_reduce, alltoall], size: 1M}
  - {hosts: 3, order: random, pattern: shift, shift: 3}
"""
GATHERED = "hosts: all\nmodel: gpt3-175b\nparallelism: {tp: 4, pp: 2, dp: 4, context: all_gather, ends_as_layers: false}\n"
SLICES = "hosts: 4\nplacement: random:4\nmodel: deepseek-v3\nparallelism: {ep: 4, exchange: slices, cp: 2}\nrails: [0, 1]\n"
WHOLE = (MIXTURE, NUMBERS, SEVERAL, GATHERED, SLICES)
VALUES = (
    *("0", "1", "-1", "2", "3", "4", "8", "999999999999", "true", "[]", "{}", "null", "", "all", "random", "1e9", "0x10", "'4'"),
    *("llama3-8b", "resnet-50", "[1, 2]", "{tp: 2}", "tree", "topology"),
)


def damaged(text: str, rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.6:
        values = list(re.finditer(r"(?<=: )(?:\[[^\]]*\]|[^,\n{}\[\]]+)", text))
        chosen = rng.choice(values) if values else None
        return text[: chosen.start()] + rng.choice(VALUES) + text[chosen.end() :] if chosen else text
    if kind < 0.8:
        at = rng.randrange(len(text))
        return text[:at] + rng.choice("{}[]:,\n -x0") + text[at + rng.randint(0, 2) :]
    lines = text.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return "".join(lines) or "x"


@pytest.mark.parametrize("whole", WHOLE)
def test_the_whole_file_is_a_job(whole: str) -> None:
    assert show_jobs(parse_jobs(whole, "j.yaml"), FABRIC)


@pytest.mark.parametrize("seed", range(10))
def test_damaged_files(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        text = rng.choice(WHOLE)
        for _ in range(rng.randint(1, 3)):
            text = damaged(text, rng)
        for fabric in (None, FABRIC):
            try:
                found = "j.yaml" if show_jobs(parse_jobs(text, "j.yaml"), fabric) else "nothing"
            except InputError as error:
                found = error.where
            assert found.startswith("j.yaml"), text
