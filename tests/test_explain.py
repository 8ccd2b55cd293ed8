"""fabctl explain on the command line: the sentence first, ends by any name, and bad input that is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from small_fabrics import cable, two_levels

from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import NodeKind
from fabctl.model.snapshot import dump_snapshot
from fabctl.sources.reading import load_fabric
from fabctl.units import Speed

Run = Callable[..., Any]

TREE = "family: leaf-spine\nhosts_per_leaf: 4\nleaves: 2\nspines: 2\nspeed: HDR\n"
SHIFT = "hosts: node-[0001-0008]\npattern: shift\nshift: 4\nsize: 1G\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree.yaml"
    path.write_text(TREE)
    return path


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(SHIFT)
    return path


def test_the_sentence_comes_first(run: Run, tree: Path, job: Path) -> None:
    done = run("explain", "node-0001", "node-0005", "--fabric", tree, "--job", job, "--engine", "minhop")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "node-0001 mlx5_0/P1 > node-0005 mlx5_0/P1 gets 6.21 of 24.84 GB/s."
    assert lines[1].startswith("What binds is leaf-01/P5 -> spine-01/P1 (4xHDR, 200 Gb/s), which also carries 3 flows of ")
    assert lines[1].endswith("the largest node-0002:0 > node-0006:0.")
    assert lines[2].startswith(
        "Do first: at leaf-01 send LID 5 (node-0005 mlx5_0/P1) out of port 6 instead of 5: 6.21 -> 24.84 GB/s (4.00x)"
    )
    titles = [line for before, line in zip(["x", *lines], lines, strict=False) if not before]
    assert [title.split(":")[0] for title in titles] == [
        "Routes, there and back",
        "Other flows on leaf-01/P5 -> spine-01/P1",
        "What was tried",
        "Notes",
    ]
    assert done.err == ""  # what was decided is no warning
    assert lines[-1] == "  job: ranks_per_host is not given: one rank per HCA, 1 per host"


def test_without_a_job_all_send_to_all(run: Run, tree: Path) -> None:
    done = run("explain", "node-0001", "node-0005", "--fabric", tree)
    assert done.code == 0
    assert done.out.startswith(
        "node-0001 mlx5_0/P1 > node-0005 mlx5_0/P1 holds an all-to-all down to 10.87 of 24.84 GB/s per HCA port.\n"
    )
    assert "which carries 15 other flows of 8 HCA ports that send all to all" in done.out
    assert done.err == ""
    assert "  (computed by fabctl: OpenSM's minhop chooses otherwise among equal paths; " in done.out
    others = done.out.split("Other flows on ")[1].splitlines()
    assert others[1].split() == ["FROM", "TO"]  # an all-to-all has no jobs, phases and bytes to show


def test_a_pair_that_nothing_slows_down_is_short(run: Run) -> None:
    done = run("explain", "dgx1-0001", "dgx1-0002", "--fabric", "dgx1-16", "--engine", "ftree")
    assert "Legs slower than their HCAs" not in done.out
    assert "What was tried" not in done.out
    wide = run("explain", "dgx1-0001", "dgx1-0002", "--fabric", "dgx1-16", "--engine", "ftree", "-o", "wide")
    assert wide.out.split("All rails")[1].count("->") >= 8


def test_legs_that_are_slow_come_slowest_first(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    lines = [f"  - {{name: job{n}, hosts: 8, placement: 'random:{n}', collective: alltoall, size: 1G}}" for n in range(2)]
    path.write_text("\n".join(["jobs:", *lines]))
    done = run("explain", "dgx1-0001", "dgx1-0009", "--fabric", "dgx1-16", "--job", path)
    rows = done.out.split("Legs slower than their HCAs: ")[1].split("\n\n")[0].splitlines()
    assert rows[0] == f"{len(rows) - 2} of 8"
    now = [float(row.split("  ")[-2].split()[-1]) for row in rows[2:]]
    assert now == sorted(now)
    assert max(map(len, done.out.split("Other flows")[0].split("Routes, there and back")[1].splitlines())) <= 140


@pytest.mark.parametrize("bytes_sent", [1073741824, 2**40 + 1])
def test_bytes_are_whole(run: Run, tree: Path, tmp_path: Path, bytes_sent: int) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(f"hosts: node-[0001-0008]\npattern: shift\nshift: 4\nsize: {bytes_sent}\n")
    data = json.loads(run("explain", "node-0001", "node-0005", "--fabric", tree, "--job", path, "-o", "json").out)["data"]
    assert data["legs"][0]["hops"][0]["step_bytes"] == data["competitors"][0]["bytes"] == bytes_sent


def test_one_competing_flow_is_named_once(run: Run, tree: Path, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("hosts: node-[0002,0006]\npattern: shift\nshift: 1\nsize: 1G\n")
    done = run("explain", "node-0001", "node-0005", "--fabric", tree, "--job", path)
    assert "which also carries node-0002:0 > node-0006:0 of job (pattern shift).\n" in done.out


def test_names_that_are_offered_differ(run: Run, fixtures: Path) -> None:
    done = run("explain", "node00009", "node00001", "--fabric", fixtures / "tool-output/ibnetdiscover.txt")
    offered = done.err.split("did you mean ")[1].rstrip("?\n").split(", ")
    assert len(set(offered)) == len(offered) == 3


@pytest.mark.parametrize("jobs", [True, False])
def test_json_is_what_the_schema_says(run: Run, project: Path, tree: Path, job: Path, jobs: bool) -> None:
    options = ["--job", job] if jobs else []
    envelope = json.loads(run("explain", "node-0001", "node-0005", "--fabric", tree, *options, "-o", "json").out)
    schema = json.loads((project / "fabctl/report/schemas/explain-report.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(envelope["data"], schema, cls=jsonschema.Draft202012Validator)
    assert envelope["kind"] == "ExplainReport"
    data = envelope["data"]
    assert set(data) == set(schema["properties"])
    assert [entry["parser"] for entry in envelope["inputs"]] == ["topology", "job"][: 1 + jobs]
    hop = data["legs"][0]["hops"][data["legs"][0]["binds_hop"] - 1]
    assert (hop["from"], hop["from_port"], hop["to"]) == ("leaf-01", 5, "spine-01")
    assert data["bottleneck"] == {key: hop[key] for key in data["bottleneck"]}
    assert data["advice"] == data["trials"][0]
    assert hop["all_to_all_flows"] == (None if jobs else 16)
    assert set(hop) == set(schema["properties"]["legs"]["items"]["properties"]["hops"]["items"]["properties"])
    assert set(data["trials"][0]) == set(schema["$defs"]["trial"]["properties"])


def test_the_same_input_gives_the_same_bytes(run: Run, tree: Path, job: Path) -> None:
    argv = ("explain", "node-0001", "node-0005", "--fabric", tree, "--job", job, "-o", "json")
    assert run(*argv).out == run(*argv).out


def test_several_jobs(run: Run, tree: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "mine.yaml", tmp_path / "theirs.yaml"]
    for path, hosts in zip(paths, ("[0001,0005]", "[0002,0006]"), strict=True):
        path.write_text(f"hosts: node-{hosts}\npattern: ring\nsize: 1G\n")
    done = run("explain", "node-0001", "node-0005", "--fabric", tree, "--job", paths[0], "--job", paths[1], "-o", "json")
    data = json.loads(done.out)["data"]
    assert data["jobs"] == ["mine", "theirs"]
    assert {share["job"] for share in data["competing"]} == {"theirs"}


@pytest.mark.parametrize(
    "name", ["dgx1-0001", "dgx1-0001/mlx5_0", "dgx1-0001 mlx5_0", "dgx1-0001 mlx5_0/P1", "1", "leaf-su01-rail0/P1"]
)
def test_ends_by_any_name(run: Run, name: str) -> None:
    data = json.loads(run("explain", name, "dgx1-0009", "--fabric", "dgx1-16", "-o", "json").out)["data"]
    assert data["hosts"] == ["dgx1-0001", "dgx1-0009"]
    assert data["legs"][0]["source"] == "dgx1-0001 mlx5_0/P1"
    assert [leg["rail"] for leg in data["legs"]] == ([0, 0, 1, 1, 2, 2, 3, 3] if name == "dgx1-0001" else [0, 0])


def test_ends_by_guid(run: Run, project: Path) -> None:
    fabric = load_fabric(str(project / "topologies/dgx1-16.yaml")).fabric
    port = int(fabric.endpoints[0])
    for guid in (f"0x{int(fabric.port_guid[port]):016x}", fabric.guid_text(int(fabric.port_node[port]))):
        data = json.loads(run("explain", guid, "dgx1-0009", "--fabric", "dgx1-16", "-o", "json").out)["data"]
        assert data["legs"][0]["source"] == fabric.port_label(port)


def test_two_hcas_of_different_rails(run: Run) -> None:
    data = json.loads(run("explain", "dgx1-0001/mlx5_0", "dgx1-0009/mlx5_2", "--fabric", "dgx1-16", "-o", "json").out)["data"]
    assert [(leg["rail"], leg["source"], leg["target"]) for leg in data["legs"]] == [
        (None, "dgx1-0001 mlx5_0/P1", "dgx1-0009 mlx5_2/P1"),
        (None, "dgx1-0009 mlx5_2/P1", "dgx1-0001 mlx5_0/P1"),
    ]


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("node-0001", "node-0009"), 3, ["no host or HCA 'node-0009' in this fabric", "did you mean node-000"]),
        (("node-0001", "node-0001"), 3, ["both ends are on node-0001"]),
        (("node-0001", "node-0001/mlx5_0"), 3, ["both ends are on node-0001"]),
        (("node-0001/mlx5_7", "node-0002"), 3, ["node-0001 has no HCA 'mlx5_7'", "it has mlx5_0"]),
        (("node-0001", "9"), 3, ["LID 9 is ", "no HCA of a host"]),
        (("node-0001", "4711"), 3, ["no port has LID 4711", "LIDs go up to"]),
        (("node-0001", "0"), 3, ["no port has LID 0"]),
        (("node-0001", "leaf-01"), 3, ["'leaf-01'"]),
        (("node-0001", "0x123"), 3, ["0x123"]),
        (("node-0001", ""), 3, ["no host or HCA ''"]),
        (("node-0001",), 2, ["HOST-B"]),
        (("node-0001", "node-0005", "--engine", "minhopp"), 2, ["unknown engine 'minhopp'", "minhop"]),
        (("node-0001", "node-0005", "--tables", "t", "--engine", "minhop"), 2, ["--tables excludes --engine"]),
        (("node-0001", "node-0005", "--tables", "nowhere"), 3, ["nowhere: no such file"]),
        (("node-0001", "node-0005", "--job", "nowhere"), 3, ["nowhere"]),
        (("node-0001", "node-0005", "--assume-speed", "fast"), 2, ["'fast' is no link speed"]),
        (("node-0001", "node-0005", "--job", "-", "--job", "-"), 2, ["only one of the fabric and the jobs can be stdin"]),
        (("node-0001", "node-0005", "--top", "0"), 2, ["--top"]),
    ],
)
def test_bad_input_is_named(run: Run, tree: Path, argv: tuple[str, ...], code: int, words: list[str]) -> None:
    done = run("explain", *argv, "--fabric", tree)
    assert (done.code, done.out) == (code, "")
    assert [word for word in words if word not in done.err] == []
    assert "Traceback" not in done.err


def test_no_fabric_is_a_usage_error(run: Run) -> None:
    done = run("explain", "a", "b")
    assert (done.code, done.out) == (2, "")
    assert "--fabric" in done.err


def test_a_job_of_other_hosts_is_an_input_error(run: Run, tree: Path, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("hosts: nodes-[1-4]\npattern: ring\n")
    done = run("explain", "node-0001", "node-0005", "--fabric", tree, "--job", path)
    assert done.code == 3
    assert f"{path}:1:" in done.err


def test_a_host_without_a_cable(run: Run, tmp_path: Path) -> None:
    builder = FabricBuilder()
    builder.node(NodeKind.SWITCH, 1, "leaf", ports=2)
    builder.port(1, 0, lid=1)
    for host in (1, 2, 3):
        builder.node(NodeKind.CA, 16 + host, f"n{host} mlx5_0", ports=1)
        builder.port(16 + host, 1, port_guid=16 + host, lid=1 + host)
        if host < 3:
            cable(builder, (1, host), (16 + host, 1), Speed.HDR)
    path = tmp_path / "fabric.json"
    path.write_text(dump_snapshot(builder.build()))
    assert run("explain", "n1", "n2", "--fabric", path).code == 0
    for name in ("n3", "n3/mlx5_0", "4"):
        done = run("explain", "n1", name, "--fabric", path)
        assert (done.code, done.out) == (3, "")
        assert "n3" in done.err
        assert "cable" in done.err


def test_unknown_speeds_want_an_assumption(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "fabric.json"
    path.write_text(dump_snapshot(two_levels(8, 4, 2, up_speed=Speed.UNKNOWN)))
    done = run("explain", "n0000", "n0004", "--fabric", path)
    assert (done.code, done.out) == (6, "")
    assert "directed cables in use have no known rate, the first: leaf-0/P5 -> spine-0/P1" in done.err
    assumed = run("explain", "n0000", "n0004", "--fabric", path, "--assume-speed", "4xHDR")
    assert assumed.code == 0
    assert "(assumed, 200 Gb/s)" in assumed.out
    assert "  cables of unknown rate count as 4xHDR\n" in assumed.out


def test_broken_tables_are_findings(run: Run, tree: Path, tmp_path: Path) -> None:
    folder = tmp_path / "routes"
    assert run("route", tree, "--engine", "minhop", "--export", "opensm", folder).code == 0
    tables = next(path for path in folder.iterdir() if "lft" in path.name)
    good = run("explain", "node-0001", "node-0005", "--fabric", tree, "--tables", tables)
    assert good.code == 0
    kept, spine = [], False
    for line in tables.read_text().splitlines():
        spine = "spine-01" in line if line.startswith("Unicast") else spine
        if not (spine and line.startswith("0x0005")):
            kept.append(line)
    broken = tmp_path / "broken.txt"
    broken.write_text("\n".join(kept) + "\n")
    done = run("explain", "node-0001", "node-0005", "--fabric", tree, "--tables", broken)
    assert done.code == 1
    assert "is NOT REACHED: spine-01 has no route to LID 5" in done.out
    assert "STOPS HERE" in done.out
    envelope = json.loads(run("explain", "node-0001", "node-0005", "--fabric", tree, "--tables", broken, "-o", "json").out)
    assert (envelope["ok"], envelope["findings"][0]["code"]) == (False, "RTE201")


def test_loads_that_are_not_known_are_not_said_to_be_none(run: Run, tree: Path, tmp_path: Path) -> None:
    """The tables lose node-0008 on the way from node-0001: the all-to-all is not what the pair meets, and nothing is praised."""
    assert run("route", tree, "--engine", "minhop", "--export", "opensm", tmp_path / "routes").code == 0
    tables = next(path for path in (tmp_path / "routes").iterdir() if "lft" in path.name)
    spine, kept = "", []
    for line in tables.read_text().splitlines():
        spine = line if line.startswith("Unicast") else spine
        if not ("spine" in spine and line.startswith("0x0008")):
            kept.append(line)
    tables.write_text("\n".join(kept) + "\n")
    argv = ("explain", "node-0001", "node-0005", "--fabric", tree, "--tables", tables)
    done = run(*argv)
    assert done.code == 0
    assert "loads are not known: spine-0" in done.err
    lines = done.out.splitlines()
    assert lines[0].endswith("gets 24.84 of 24.84 GB/s with nothing else on the fabric; what else is on its way is not known.")
    assert lines[2] == "Mend the tables first: fabctl route names every pair that is lost."
    assert "all-to-all" not in done.out
    assert "nothing else is on it" not in done.out
    leg = json.loads(run(*argv, "-o", "json").out)["data"]["legs"][0]
    assert (leg["now_gb_s"], round(leg["alone_gb_s"], 2)) == (None, 24.84)


def test_selene(run: Run, fixtures: Path) -> None:
    net = fixtures / "ibnetdiscover/selene-compute-2021.txt"
    done = run("explain", "luna-0001", "luna-0300", "--fabric", net, "-o", "json")
    data = json.loads(done.out)["data"]
    assert (done.code, len(data["legs"]), data["all_to_all_ports"]) == (0, 16, 3664)
    assert {len(leg["hops"]) for leg in data["legs"]} == {6}
    assert all(leg["hops"][0]["all_to_all_flows"] == 3663 for leg in data["legs"])
