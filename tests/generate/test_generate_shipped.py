"""The topologies that ship: what their names promise, and that each says what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fabctl.generate import FAMILIES
from fabctl.generate.faults import KEYS as REMOVE_KEYS
from fabctl.generate.spec import COMMON_KEYS
from fabctl.sources.reading import load_fabric

SHIPPED = {
    # name: switches per tier, hosts, HCAs per host, cables
    "dgx1-16": ([4, 2], 16, 4, 128),
    "director-648": ([36, 18], 648, 1, 1296),
    "director-1296": ([72, 72, 36], 1296, 1, 3 * 1296),
    "dragonfly-1056": ([264], 1056, 1, 1056 + 33 * 28 + 33 * 32 // 2),
    "dragonfly-plus-1088": ([136, 136], 1088, 1, 2 * 1088 + 17 * 16 // 2),
    "fat-tree-1024": ([128, 128, 64], 1024, 1, 3072),
    "fat-tree-1024-faults": ([126, 125, 61], 1008, 1, 1008 + 1941 - 97),  # of 2,048 cables 107 are on the 8 switches
    "fat-tree-11664": ([648, 648, 324], 11_664, 1, 34_992),
    "fat-tree-43904": ([1568, 1568, 784], 43_904, 1, 3 * 43_904),
    "hypercube-5": ([32], 64, 1, 64 + 80),
    "hyperx-672": ([96], 672, 1, 672 + 96 * (11 + 7) // 2),
    "leaf-spine-648": ([36, 18], 648, 1, 1296),
    "llama3-16k": ([512, 512, 256], 2048, 8, 3 * 16_384),
    "mesh-443": ([48], 48, 1, 48 + 36 + 36 + 32),
    "nccl-319-one-switch": ([1], 8, 2, 16),
    "nccl-319-two-switches": ([2, 1], 8, 2, 16 + 4),
    "oversubscribed-2to1": ([8, 8], 128, 1, 192),
    "random-regular-1200": ([200], 1200, 1, 1200 + 200 * 12 // 2),
    "selene-plan": ([224, 320, 140], 560, 8, 3 * 4480 + 684),
    "simai-9216": ([288, 512, 192], 1152, 8, 3 * 9216),
    "slim-fly-200": ([50], 200, 1, 200 + 50 * 7 // 2),
    "superpod-4su": ([32, 16], 128, 8, 2 * 1024 + 48),
    "torus-44": ([16], 32, 1, 32 + 2 * 16),
    "torus-888": ([512], 1024, 1, 1024 + 3 * 512),
    "xgft-16": ([4, 2], 16, 1, 32),
    "xgft-64": ([16, 16, 16], 64, 1, 192),
    "xgft-512": ([32, 16], 512, 1, 1024),
    "xgft-4096": ([256, 256, 256], 4096, 1, 12_288),
}


def test_every_shipped_topology_is_listed_here_and_in_the_docs(project: Path) -> None:
    names = {path.stem for path in (project / "topologies").glob("*.yaml")}
    assert names == set(SHIPPED)
    docs = (project / "docs/topologies.md").read_text()
    assert {name for name in names if f"`{name}`" not in docs} == set()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_topologies_are_what_they_promise(project: Path, name: str) -> None:
    path = project / "topologies" / f"{name}.yaml"
    loaded = load_fabric(str(path))
    fabric, (tiers, hosts, hcas, cables) = loaded.fabric, SHIPPED[name]
    assert loaded.report.source == "topology"
    assert loaded.report.notes == ()
    assert np.bincount(fabric.tiers).tolist() == tiers
    assert len(fabric.hosts.name) == hosts
    assert set(fabric.hosts.hca_count.tolist()) == {hcas}
    assert fabric.n_cables == cables
    assert np.all(fabric.capacity_gbps > 0)
    assert [line.startswith("# ") for line in path.read_text().splitlines()[:3]] == [True, True, False]


def test_the_docs_have_every_family_and_every_key(project: Path) -> None:
    docs = (project / "docs/topologies.md").read_text()
    headings = {word for line in docs.splitlines() if line.startswith("## ") for word in line[3:].replace(",", "").split()}
    assert set(FAMILIES.names()) <= headings
    keys = {key for name in FAMILIES.names() for key in FAMILIES.load(name).keys} | set(COMMON_KEYS) | set(REMOVE_KEYS)
    assert {key for key in keys if f"`{key}`" not in docs} == set()


def test_the_examples_of_the_docs_are_specs(project: Path, tmp_path: Path) -> None:
    blocks = (project / "docs/topologies.md").read_text().split("```yaml\n")[1:]
    assert blocks
    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block.split("```")[0])
        assert load_fabric(str(path)).fabric.n_switches
