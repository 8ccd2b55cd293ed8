"""The JSON schema of job files says what the reader takes: same keys, same words, same examples, same refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from fabctl.errors import InputError
from fabctl.traffic import PATTERNS, model_shape, training_spec
from fabctl.traffic.collectives import ALGORITHMS, COLLECTIVES
from fabctl.traffic.job import KEYS, ORDERS, parse_jobs
from fabctl.traffic.model_presets import preset_names

SCHEMA: dict[str, Any] = json.loads((Path(training_spec.__file__).parent / "job.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
JOB = SCHEMA["$defs"]["job"]["properties"]

GOOD = (
    "hosts: all",
    "hosts: 16\nplacement: random:7\ngpus_per_host: 8\norder: topology\nseed: 3\nname: x",
    "hosts: [n1, 'n[2-4]']\nrails: [0, 2]\ncollective: [all_reduce, alltoall]\nsizes: [8, 64K, 1.5GiB]\npxn: true",
    "hosts: all\npattern: shift\nshift: -4\nsize: 1M",
    "hosts: all\nnode: dgx-1-v100",
    "hosts: 4\ncollective: all_reduce\nalgorithm: tree",
    "hosts: 4\nmodel: llama3-8b\nparallelism: {tp: 8, zero: 3, microbatches: 4}\noverlap: [dp, tp]\nprecision: fp8",
    "hosts: 4\nmodel: {parameters: 25.6M}\noverlap: all",
    "hosts: 4\nmodel: {preset: llama3-8b, layers: 16}\nsequence_length: 4096\nprecision: {dispatch: fp8}",
    "jobs:\n  - hosts: 4\n  - {hosts: 4, model: resnet-50}",
)
BAD = (
    "size: 8",
    "hosts: 1",
    'hosts: 4\nname: "a\\nb"',
    "hosts: []",
    "hosts: all\ncolective: all_reduce",
    "hosts: all\ncollective: allreduce",
    "hosts: all\ncollective: all_reduce\npattern: ring",
    "hosts: all\nsize: 8\nsizes: [8]",
    "hosts: all\nsize: 0",
    "hosts: all\nsize: 9223372036854775808",
    "hosts: all\nsize: big",
    "hosts: all\nnode: [dgx-1-v100]",
    "hosts: all\nshift: 3",
    "hosts: all\nranks_per_host: 0",
    "hosts: all\nranks_per_host: 8\ngpus_per_host: 8",
    "hosts: 4\nplacement: random:x",
    "hosts: 4\norder: sideways",
    "hosts: 4\nparallelism: {tp: 8}",
    "hosts: 4\nmodel: llama",
    "hosts: 4\nmodel: llama3-8b\ncollective: all_reduce",
    "hosts: 4\nmodel: llama3-8b\nparallelism: {tp: 0}",
    "hosts: 4\nmodel: llama3-8b\nparallelism: {zero: 4}",
    "hosts: 4\nmodel: llama3-8b\nprecision: bf61",
    "hosts: 4\nmodel: llama3-8b\noverlap: [pd]",
    "hosts: 4\nmodel: {layer: 3}",
    "jobs: []",
    "jobs: [{hosts: 4}]\nhosts: 4",
)


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == "urn:fabctl:schema:1:job"


def test_its_words_are_the_readers() -> None:
    assert tuple(sorted(JOB)) == tuple(sorted(KEYS))
    assert JOB["order"]["enum"] == list(ORDERS)
    assert JOB["pattern"]["enum"] == PATTERNS.names()
    assert JOB["algorithm"]["enum"] == ALGORITHMS.names()
    assert JOB["collective"]["anyOf"][0]["enum"] == [*COLLECTIVES.names(), "all"]
    assert JOB["model"]["anyOf"][0]["enum"] == list(preset_names())
    assert sorted(JOB["model"]["anyOf"][1]["properties"]) == sorted(model_shape.KEYS)
    assert sorted(JOB["parallelism"]["properties"]) == sorted(training_spec.PARALLELISM)
    assert JOB["overlap"]["anyOf"][1]["items"]["enum"] == list(training_spec.KINDS)


@pytest.mark.parametrize("text", GOOD)
def test_what_the_reader_takes_is_valid(text: str) -> None:
    assert parse_jobs(text, "j.yaml")
    VALIDATOR.validate(yaml.safe_load(text))


@pytest.mark.parametrize("text", BAD)
def test_what_the_reader_refuses_is_not(text: str) -> None:
    with pytest.raises(InputError, match=r"j.yaml:\d+:\d+: "):
        parse_jobs(text, "j.yaml")
    assert not VALIDATOR.is_valid(yaml.safe_load(text))


def test_shipped_job_files_are_valid(project: Path) -> None:
    files = sorted((project / "topologies/jobs").glob("*.yaml"))
    assert len(files) >= 6
    for path in files:
        VALIDATOR.validate(yaml.safe_load(path.read_text()))
        assert parse_jobs(path.read_text(), str(path))
