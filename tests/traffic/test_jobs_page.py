"""docs/jobs.md knows every key, every preset and its parameters."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fabctl.traffic import model_shape, training_spec
from fabctl.traffic.job import KEYS, ORDERS, PLACEMENTS, parse_job
from fabctl.traffic.model_presets import preset, preset_names


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    return (project / "docs/jobs.md").read_text()


def test_every_word_is_explained(page: str) -> None:
    words = set(re.findall(r"`([a-z0-9_-]+)", page))
    known = {*KEYS, *ORDERS, *PLACEMENTS, *training_spec.PARALLELISM, *training_spec.KINDS, *training_spec.CONTEXTS}
    known |= {*model_shape.KEYS, *training_spec.BYTES, "parameters", "gradients", "activations", "dispatch"}
    known -= {"trace"}  # docs/job-inputs.md
    assert known - words == set()


def test_the_table_of_models(page: str) -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| ([\d,]+) \| ", page, re.MULTILINE)
    assert rows == [(name, f"{preset(name).total_parameters():,}") for name in preset_names()]


def test_the_example_can_be_read(page: str) -> None:
    block = page.partition("### Trainings\n\n")[2].partition("\n\n")[0]
    spec = parse_job("\n".join(line[4:] for line in block.splitlines()), "job.yaml")
    assert spec.training is not None
    assert (spec.count, spec.training.parallelism.interleave) == (2048, 8)
