"""``fabctl bench node``, the options that name a node and offloads, and which node a fabric's hosts are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fabctl.cli.hardware import chosen_node, chosen_offloads, complete_nodes, complete_offloads
from fabctl.errors import InputError, UsageError
from fabctl.generate.hardware import NODE_TYPES
from fabctl.model.catalog import hca
from fabctl.model.node_graph import HCA
from fabctl.model.offloads import Offloads
from fabctl.model.results import ParseReport
from fabctl.nodes.fitting import fitting_nodes
from fabctl.nodes.reading import load_node
from fabctl.nodes.shipped import node_names
from fabctl.sources.reading import load_fabric
from fabctl.traffic.job import parse_job

Run = Callable[..., Any]


@pytest.fixture
def node_data(run: Run, project: Path) -> Callable[[str], dict[str, Any]]:
    """Run ``bench node -o json``, and hold what comes out against both schemas."""
    schemas = project / "fabctl" / "report" / "schemas"

    def check(node: str) -> dict[str, Any]:
        outcome = run("bench", "node", node, "-o", "json")
        assert (outcome.code, outcome.err) == (0, "")
        payload: dict[str, Any] = json.loads(outcome.out)
        assert payload["kind"] == "NodeView"
        for name, document in (("envelope", payload), ("node-view", payload["data"])):
            jsonschema.validate(document, json.loads((schemas / f"{name}.json").read_text()))
        assert payload["inputs"][0]["parser"] in ("yaml", "nvidia-smi", "nccl-xml")
        data: dict[str, Any] = payload["data"]
        return data

    return check


@pytest.mark.parametrize("name", node_names())
def test_every_type_is_shown(run: Run, node_data: Callable[[str], dict[str, Any]], name: str) -> None:
    data = node_data(name)
    assert data["node"] == name
    assert all(gpu["gb_s"] > 0 for gpu in data["gpus"])
    shown = run("bench", "node", name).out
    assert data["title"] in shown
    assert all(note in shown for note in data["notes"])
    assert shown.endswith(f"Next: fabctl bench SOURCE --node {name}\n")


def test_what_a_dgx_1_shows(run: Run, node_data: Callable[[str], dict[str, Any]]) -> None:
    outcome = run("bench", "node", "dgx-1")
    lines = outcome.out.splitlines()
    assert lines[0] == "NVIDIA DGX-1 (V100): 8 V100, 4 ConnectX-4, 2 CPUs (intel)"
    assert "GPU5    SYS   NV2   SYS   SYS   NV1   X     NV2   NV1   SYS     SYS     PIX     PHB" in lines
    assert "GPU1  mlx5_0  PIX   12.0  send, receive   mlx5_1" in [line.rstrip() for line in lines]
    data = node_data("dgx-1")
    assert data["gpus"][0]["relays"] == {"mlx5_1": "GPU2", "mlx5_2": "GPU4"}
    assert data["ring_all_reduce"]["direct"][0]["busbw_gb_s"] == 48  # four EDR slots, twelve each
    assert data["ring_all_reduce"]["staged"][0] == {"kind": "pcie", "name": "PLX0 -> ROOT0", "busbw_gb_s": 24}


def test_files_are_shown(run: Run, node_data: Callable[[str], dict[str, Any]], fixtures: Path) -> None:
    matrix = node_data(str(fixtures / "nvidia-smi-topo" / "dgx1.txt"))
    assert (matrix["gpu_model"], matrix["gpus"][0]["gb_s"]) == (None, None)
    assert matrix["ring_all_reduce"] == {"direct": [], "staged": []}
    assert matrix["matrix"] == node_data("dgx-1-v100")["matrix"]
    assert "GPUs of unknown model" in run("bench", "node", str(fixtures / "nvidia-smi-topo" / "dgx1.txt")).out
    assert node_data(str(fixtures / "nccl-xml" / "ndv5-topo.xml"))["gpus"][0]["hca"] == "NIC0"


def test_big_basin_has_no_gpudirect(node_data: Callable[[str], dict[str, Any]]) -> None:
    data = node_data("big-basin")
    assert {(gpu["path"], gpu["send"], gpu["receive"]) for gpu in data["gpus"]} == {
        ("PHB", False, False),
        ("SYS", False, False),
    }
    assert data["gpus"][0]["reason"] == "GPU0 to mlx5_0 is PHB, farther than P2C"


def test_rows_for_programs(run: Run) -> None:
    assert run("bench", "node", "dgx-a100", "-o", "name").out.split() == [f"GPU{number}" for number in range(8)]
    assert run("bench", "node", "dgx-a100", "-o", "csv").out.splitlines()[1].startswith("GPU0,mlx5_0,PIX,24")


@pytest.mark.parametrize(
    ("node", "code", "message"),
    [
        ("dgx-a10", 2, "fabctl: 'dgx-a10' is neither a node type nor a file\n  hint: did you mean 'dgx-a100'?"),
        ("pyproject.toml", 3, "fabctl: pyproject.toml: this holds no node"),
    ],
)
def test_bad_nodes(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, node: str, code: int, message: str) -> None:
    monkeypatch.chdir(project)
    outcome = run("bench", "node", node)
    assert outcome.code == code
    assert outcome.err.startswith(message)


def test_help_nodes_lists_all_types(run: Run) -> None:
    shown = run("help", "nodes").out
    assert all(f"  {name} " in shown for name in node_names())


# ---- which node the hosts are --------------------------------------------------------------------------------------


def test_a_topologys_node_type_is_known(project: Path) -> None:
    loaded = load_fabric(str(project / "topologies" / "dgx1-16.yaml"))
    assert loaded.report.node_type == "dgx-1"
    node = chosen_node(None, None, loaded.report)
    assert node is not None
    assert node.name == "dgx-1-v100"
    assert load_fabric(str(project / "topologies" / "xgft-16.yaml")).report.node_type == ""


@pytest.mark.parametrize("node_type", NODE_TYPES)
def test_drawn_hosts_have_the_hcas_of_their_insides(node_type: str) -> None:
    """The generator and the node graphs name the same devices, in the same rail order, of the same model."""
    node = load_node(node_type)
    drawn = NODE_TYPES[node_type]
    assert node.hcas == drawn.devices
    model = hca(drawn.device_id)
    assert model is not None
    assert {device.model for device in node.devices if device.kind == HCA} == {model.name}


def test_node_option_before_job_before_topology(tmp_path: Path) -> None:
    report = ParseReport("topology", "t.yaml", node_type="dgx-1")
    job = parse_job("hosts: all\nnode: dgx-a100\n", str(tmp_path / "job.yaml"))
    given = (("dgx-2", job, report), (None, job, report), (None, None, report))
    chosen = [node.name for node in (chosen_node(*one) for one in given) if node]
    assert chosen == ["dgx-2", "dgx-a100", "dgx-1-v100"]
    assert chosen_node(None) is None
    assert chosen_node(None, None, ParseReport("topology", "t.yaml", node_type="some-other")) is None


def test_a_jobs_node_may_be_a_file_beside_it(tmp_path: Path, project: Path) -> None:
    (tmp_path / "mine.yaml").write_text((project / "topologies" / "nodes" / "dgx-2.yaml").read_text())
    node = chosen_node(None, parse_job("hosts: all\nnode: mine.yaml\n", str(tmp_path / "job.yaml")))
    assert node is not None
    assert node.title == "NVIDIA DGX-2"
    with pytest.raises(InputError) as error:
        chosen_node(None, parse_job("hosts: all\nnode: dgx-22\n", str(tmp_path / "job.yaml")))
    assert str(error.value).startswith(f"{tmp_path}/job.yaml:2:7: 'dgx-22' is neither a node type nor a file")


@pytest.mark.parametrize(
    ("fabric", "fitting"),
    [
        ("ibnetdiscover/selene-compute-2021.txt", ("dgx-a100",)),
        ("ibnetdiscover/dgx-ndr-2025.txt", ("gb200-nvl72",)),  # four ConnectX-7 in the typical host
        ("ibnetdiscover/jabl-1.txt", ()),
    ],
)
def test_which_types_a_real_fabrics_hosts_could_be(fixtures: Path, fabric: str, fitting: tuple[str, ...]) -> None:
    assert fitting_nodes(load_fabric(str(fixtures / fabric)).fabric) == fitting


def test_offloads_on_the_command_line() -> None:
    job = parse_job("hosts: all\npxn: true\n", "job.yaml")
    assert chosen_offloads(((), ())) == Offloads()
    assert chosen_offloads((("sharp",), ("gdr",)), job) == Offloads(gdr=False, sharp=True, pxn=True)
    with pytest.raises(UsageError, match="both --with and --without"):
        chosen_offloads((("gdr",), ("gdr",)))
    with pytest.raises(UsageError, match="unknown offload 'gdx'"):
        chosen_offloads((("gdx",), ()))


def test_tab_completes_nodes_and_offloads() -> None:
    assert [item.value for item in complete_nodes(None, None, "dgx-1")] == ["dgx-1-p100", "dgx-1-v100"]  # type: ignore[arg-type]
    assert [item.type for item in complete_nodes(None, None, "./no")] == ["file"]  # type: ignore[arg-type]
    assert [item.value for item in complete_offloads(None, None, "gdr,a")] == ["gdr,async", "gdr,ar"]  # type: ignore[arg-type]
    assert complete_offloads(None, None, "gdr,g") == []  # type: ignore[arg-type]


def test_the_docs_have_every_type(project: Path) -> None:
    page = (project / "docs" / "nodes.md").read_text()
    assert all(f"| `{name}` |" in page for name in node_names())
