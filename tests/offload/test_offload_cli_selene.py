"""``fabctl offload`` on NVIDIA's Selene: what its 666 switches can, and the trees of a job over 128 hosts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from fabctl.errors import ExitCode
from fabctl.sources.reading import load_fabric


@pytest.fixture(scope="module")
def selene(fixtures: Path) -> Path:
    return fixtures / "ibnetdiscover" / "selene-compute-2021.txt"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "train.yaml"
    path.write_text("hosts: 128\ncollective: all_reduce\n")
    return path


def test_list_is_one_table(run: Any, selene: Path) -> None:
    done = run("offload", "list", selene)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("666 switches, 3,675 HCAs, 469 hosts; ")
    rows = dict(re.findall(r"^(\S+) +switches +(.+?)  ", done.out, re.MULTILINE))
    assert (rows["sharp"], rows["adaptive-routing"], rows["qos"]) == ("666 can", "666 can", "666 unknown")
    assert len(done.out.splitlines()) < 30


def test_trees_are_trees_of_the_fabric_and_share_no_switch(run: Any, selene: Path, job: Path) -> None:
    payload = json.loads(run("offload", "plan", "sharp", selene, "--job", job, "-o", "json").out)
    layout = payload["data"]["layout"]
    (found,) = layout["jobs"]
    fabric = load_fabric(str(selene)).fabric
    cables = nx.Graph(
        (fabric.labels[a], fabric.labels[b])
        for a, b in zip(fabric.channel_src.tolist(), fabric.channel_dst.tolist(), strict=True)
        if max(a, b) < fabric.n_switches
    )
    used: set[str] = set()
    for tree in found["trees"]:
        switches = set(tree["switches"])
        assert not used & switches
        used |= switches
        assert max(nx.single_source_shortest_path_length(cables.subgraph(switches), tree["root"]).values()) == tree["depth"]
    assert [tree["rail"] for tree in found["trees"]] == list(range(8))
    assert layout["copies"]["fit"] <= layout["copies"]["bound"]
    assert layout["copies"]["binds"]["text"]


def test_a_job_that_cannot_stream_is_refused_with_what_binds(run: Any, job: Path) -> None:
    job.write_text("hosts: all\ncollective: all_reduce\n")
    done = run("offload", "plan", "sharp", "dgx1-16", "--job", job)
    assert done.code == ExitCode.REFUSED
    assert re.search(r"^  train: none for 16 hosts on 4 rails; capability: ", done.out, re.MULTILINE)
