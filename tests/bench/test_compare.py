"""bench compare: the same numbers as bench and bench step, settings in order, what is refused kept with its reason."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fabctl.bench.compare import placed_elsewhere
from fabctl.bench.ladder import BASE, STEPS, default_ladder, read_ladder
from fabctl.errors import UsageError
from fabctl.model.bench_comparison import BenchComparison, Outcome, Point
from fabctl.nodes.reading import load_node
from fabctl.traffic.job import parse_job

Run = Callable[..., Any]

JOB = "hosts: all\nranks_per_host: 8\ncollective: [all_reduce, alltoall]\nsizes: [64K, 16M]\n"
POD = "family: rail-optimised\nnode_type: dgx-a100\nnodes_per_unit: 4\nunits: 2\naggregation_nodes: true\n"
TRAINING = "hosts: all\nranks_per_host: 8\nmodel: llama3-8b\nparallelism: {tp: 8, pp: 2, dp: 4, microbatches: 4}\n"


@pytest.fixture
def case(tmp_path: Path) -> Callable[..., tuple[str, ...]]:
    """Write a fabric and a job; return the arguments that name them."""

    def write(job: str = JOB, fabric: str = POD) -> tuple[str, ...]:
        (tmp_path / "pod.yaml").write_text(fabric)
        (tmp_path / "job.yaml").write_text(job)
        return (str(tmp_path / "pod.yaml"), "--job", str(tmp_path / "job.yaml"))

    return write


@pytest.fixture
def compared(run: Run, project: Path) -> Callable[..., dict[str, Any]]:
    """Run ``bench compare -o json``, validate what it prints, and return its data."""
    schema = json.loads((project / "fabctl/report/schemas/bench-comparison.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)

    def check(*arguments: str) -> dict[str, Any]:
        done = run("bench", "compare", *arguments, "-o", "json")
        assert done.code == 0, done.err
        payload = json.loads(done.out)
        assert payload["kind"] == "BenchComparison"
        jsonschema.validate(payload["data"], schema, cls=jsonschema.Draft202012Validator)
        data: dict[str, Any] = payload["data"]
        return data

    return check


def times(outcome: dict[str, Any]) -> list[float]:
    return [point["time_us"] for point in outcome["points"]]


# ---- the same numbers as elsewhere ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offloads", "switches"),
    [
        ("cpu", ("--without", "gdr,nvls")),
        ("gdr", ("--without", "nvls")),
        ("gdr+sharp", ("--with", "sharp", "--without", "nvls")),
        ("gdr+ar", ("--with", "ar", "--without", "nvls")),
    ],
)
def test_a_row_is_what_bench_predicts(run: Run, case: Any, compared: Any, offloads: str, switches: tuple[str, ...]) -> None:
    where = case()
    (outcome,) = compared(*where, "--offloads", offloads)["outcomes"]
    table = json.loads(run("bench", *where, *switches, "-o", "json").out)["data"]
    rows = [row for prediction in table["predictions"] for row in prediction["rows"]]
    assert times(outcome) == [row["time_us"] for row in rows]
    assert [point["algorithm"] for point in outcome["points"]] == [row["algorithm"] for row in rows]
    assert [(point["binds"], point["binds_at"]) for point in outcome["points"]] == [
        (row["binds"], row["binds_at"]) for row in rows
    ]


@pytest.mark.parametrize("compute", [(), ("--efficiency", "0.5"), ("--compute-ms", "40")])
def test_a_trainings_row_is_what_bench_step_predicts(run: Run, case: Any, compared: Any, compute: tuple[str, ...]) -> None:
    where = case(TRAINING)
    slow, fast = compared(*where, "--offloads", "cpu,gdr", *compute)["outcomes"]
    for outcome, switches in ((slow, "gdr,nvls"), (fast, "nvls")):
        step = json.loads(run("bench", "step", *where, "--without", switches, *compute, "-o", "json").out)["data"]
        (point,) = outcome["points"]
        wanted = step["step_seconds"] if compute else step["exposed_seconds"] + step["bubble_seconds"]
        assert point["time_us"] == pytest.approx(1e6 * wanted, rel=1e-8)
        assert point["operation"] == ("step" if compute else "communication")
        assert (point["tokens_per_s"] is None) is (not compute)
    assert fast["points"][0]["ratio"] == pytest.approx(times(slow)[0] / times(fast)[0], rel=1e-8)


# ---- settings --------------------------------------------------------------------------------------------------------------


def test_the_ladder_adds_one_offload_after_the_other(case: Any, compared: Any) -> None:
    outcomes = compared(*case())["outcomes"]
    assert [outcome["offloads"] for outcome in outcomes] == [BASE, *(f"+ {label}" for label in STEPS if label != "NVLink SHARP")]
    assert [outcome["enabled"] for outcome in outcomes] == [
        [],
        ["gdr"],
        ["gdr", "async"],
        ["gdr", "async", "sharp"],
        ["gdr", "async", "sharp", "ar"],
    ]


def test_the_ladder_goes_on_without_what_is_refused(compared: Any, project: Path) -> None:
    job = str(project / "topologies/jobs/dgx1-16.yaml")
    *_, sharp, adaptive = compared("dgx1-16", "--job", job, "--sizes", "1M")["outcomes"]
    assert (sharp["offloads"], sharp["points"]) == ("+ SHARP", [])
    assert "Switch-IB 2" in sharp["refusal"]
    assert sharp["instead"]
    assert adaptive["enabled"] == ["gdr", "async", "ar"]
    assert adaptive["refusal"].startswith("ConnectX-4 HCAs do not take packets in any order")


@pytest.mark.parametrize(("node", "has"), [("dgx-1-v100", False), ("dgx-a100", False), ("dgx-h100", True), ("dgx-b200", True)])
def test_nvlink_sharp_is_a_step_where_nvswitches_reduce(node: str, has: bool) -> None:
    assert ("+ NVLink SHARP" in [rung.label for rung in default_ladder(load_node(node))]) is has


def test_hosts_without_gpus_have_a_ladder_of_their_own() -> None:
    assert [rung.label for rung in default_ladder(load_node("cpu-server"))] == [BASE, "+ SHARP", "+ adaptive routing"]


def test_of_unknown_hosts_the_fabric_alone_is_compared(run: Run, compared: Any) -> None:
    outcomes = compared("xgft-16", "--collective", "all_reduce")["outcomes"]
    assert [outcome["offloads"] for outcome in outcomes] == ["fabric alone", "+ adaptive routing"]
    out = run("bench", "compare", "xgft-16", "--collective", "all_reduce", "--sizes", "1M").out
    assert "only the fabric is predicted, by rings; --node NODE says what they are" in out
    done = run("bench", "compare", "xgft-16", "--offloads", "cpu,gdr")
    assert (done.code, done.out) == (2, "")
    assert "--node NODE" in done.err


def test_placements_engines_and_offloads_in_order(case: Any, compared: Any) -> None:
    job = JOB.replace("hosts: all", "hosts: 4").replace("[all_reduce, alltoall]", "all_reduce")
    settings = ("--placements", "given,spread,random:3", "--engine", "minhop,ftree", "--offloads", "gdr,gdr+sharp")
    outcomes = compared(*case(job), *settings)["outcomes"]
    assert [(outcome["placement"], outcome["routes"], outcome["offloads"]) for outcome in outcomes] == [
        (placement, engine, offloads)
        for placement in ("given", "spread", "random:3")
        for engine in ("minhop", "ftree")
        for offloads in ("gdr", "gdr+sharp")
    ]
    base = times(outcomes[0])
    for outcome in outcomes:
        assert outcome["baseline"] is (outcome is outcomes[0])
        assert [point["ratio"] for point in outcome["points"]] == pytest.approx(
            [first / time for first, time in zip(base, times(outcome), strict=True)], rel=1e-8
        )


def test_a_placement_is_that_of_a_job_file(run: Run, case: Any, compared: Any) -> None:
    settings = ("--offloads", "gdr", "--engine", "minhop", "--sizes", "16M", "--collective", "alltoall")
    named = JOB.replace("hosts: all", "hosts: [node-0001, node-0002, node-0003]")
    outcome = compared(*case(named), "--placements", "random:5", *settings)["outcomes"][0]
    asked = JOB.replace("hosts: all", "hosts: 3\nplacement: random:5")
    assert times(outcome) == times(compared(*case(asked), *settings)["outcomes"][0])


def test_an_engine_that_refuses_is_a_row(run: Run, case: Any, compared: Any) -> None:
    settings = ("--engine", "torus-2QoS,ftree", "--offloads", "cpu,gdr", "--sizes", "1M", "--collective", "all_reduce")
    refused, first, second = compared(*case(), *settings)["outcomes"]
    assert (refused["routes"], refused["points"], refused["baseline"]) == ("torus-2QoS", [], False)
    assert refused["refusal"]
    assert (first["routes"], first["baseline"], second["baseline"]) == ("ftree", True, False)
    assert f"torus-2QoS is refused: {refused['refusal']}" in run("bench", "compare", *case(), *settings).out


def test_real_tables_stand_beside_engines(run: Run, compared: Any, project: Path) -> None:
    tables = str(project / "topologies/tables/nccl-319-two-switches.lfts")
    job = str(project / "topologies/jobs/nccl-319.yaml")
    where = ("nccl-319-two-switches", "--job", job, "--tables", tables, "--engine", "ftree")
    outcomes = compared(*where)["outcomes"]
    assert [(outcome["routes"], outcome["offloads"], outcome["baseline"]) for outcome in outcomes] == [
        (tables, "fabric alone", True),
        (tables, "+ adaptive routing", False),
        ("ftree", "fabric alone", False),
        ("ftree", "+ adaptive routing", False),
    ]
    assert outcomes[2]["points"][0]["ratio"] > 1.5, "issue 319: two flows on one cable halve the ring"
    shown = [line for line in run("bench", "compare", *where).out.splitlines() if line.startswith(("*  ", "   fabric"))]
    assert len(shown) == 2
    assert "nccl-319-two-switches.lfts" in shown[0]
    assert tables not in shown[0]


def test_nothing_that_can_run_is_exit_code_6(run: Run, project: Path) -> None:
    job = str(project / "topologies/jobs/dgx1-16.yaml")
    done = run("bench", "compare", "dgx1-16", "--job", job, "--offloads", "gdr+sharp")
    assert (done.code, done.out) == (6, "")
    assert "nothing of this can run" in done.err
    assert "Switch-IB 2" in done.err


# ---- text and other formats -----------------------------------------------------------------------------------------------


def test_the_baseline_is_marked_and_the_gain_named(run: Run, case: Any) -> None:
    out = run("bench", "compare", *case(), "--collective", "all_reduce").out
    lines = out.splitlines()
    marked = [line for line in lines if line.startswith("*  ")]
    assert len(marked) == 1
    assert marked[0].split()[1] == "CPU-centric"
    assert [line for line in lines if line.startswith("Fastest")]
    assert any(line.startswith("  all_reduce: 64K ") and "(+ SHARP)" in line for line in lines)
    assert "routes" not in next(line for line in lines if "offloads" in line), "one engine needs no column"


def test_several_engines_get_a_column(run: Run, case: Any) -> None:
    out = run("bench", "compare", *case(), "--collective", "all_reduce", "--engine", "minhop,ftree").out
    assert "routes" in next(line for line in out.splitlines() if "offloads" in line)


def test_csv_has_a_row_for_every_point_and_every_refusal(run: Run, project: Path) -> None:
    job = str(project / "topologies/jobs/dgx1-16.yaml")
    done = run("bench", "compare", "dgx1-16", "--job", job, "--sizes", "1K,1M", "-o", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert len(rows) == 3 * 2 + 2
    refused = [row for row in rows if row["refusal"]]
    assert [(row["offloads"], row["time_us"]) for row in refused] == [("+ SHARP", ""), ("+ adaptive routing", "")]
    assert {row["size_bytes"] for row in rows} - {""} == {"1024", str(1 << 20)}


def test_of_equal_outcomes_the_first_is_named_best() -> None:
    points = {"a": 100.0, "b": 50.0, "c": 49.9, "d": 49.0}
    outcomes = tuple(Outcome("r", "given", name, (), (Point("all_reduce", 8, time),)) for name, time in points.items())
    made = BenchComparison("n", 2, 1, "", outcomes, (), ())
    assert (made.baseline.offloads, made.best(0).offloads) == ("a", "d")
    assert BenchComparison("n", 2, 1, "", outcomes[:3], (), ()).best(0).offloads == "b"


# ---- what the command refuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--offloads", "cpu,gpd"), 2, "unknown offload 'gpd'"),
        (("--offloads", ","), 2, "--offloads names nothing"),
        (("--placements", "pakced"), 2, "did you mean 'packed'?"),
        (("--placements", "packed:3"), 2, "only random takes a number"),
        (("--sizes", "0"), 2, "a message of size 0 moves nothing"),
        (("--sizes", "-4"), 2, "'-4' is not a size"),
        (("--efficiency", "0.5"), 2, "--efficiency and --compute-ms are of trainings"),
        (("--engine", "ftre"), 2, "did you mean 'ftree'?"),
        (("--node", "dgx-a1000"), 2, "dgx-a100"),
    ],
)
def test_wrong_options(run: Run, case: Any, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = run("bench", "compare", *case(), *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sizes", "1M"), "--sizes and --collective are of collectives"),
        (("--collective", "all_reduce"), "--sizes and --collective are of collectives"),
        (("--efficiency", "0.5", "--compute-ms", "10"), "--efficiency excludes --compute-ms"),
        (("--efficiency", "1.5"), "no share of the peak"),
        (("--compute-ms", "nan"), "no time"),
    ],
)
def test_wrong_options_of_a_training(run: Run, case: Any, arguments: tuple[str, ...], message: str) -> None:
    done = run("bench", "compare", *case(TRAINING), *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_only_one_of_fabric_and_job_is_stdin(run: Run) -> None:
    done = run("bench", "compare", "-", "--job", "-", stdin=JOB)
    assert (done.code, done.out) == (2, "")
    assert "only one of the fabric and the jobs can be stdin" in done.err


def test_a_job_larger_than_the_fabric(run: Run, case: Any) -> None:
    done = run("bench", "compare", *case(JOB.replace("hosts: all", "hosts: 9")))
    assert (done.code, done.out) == (3, "")
    assert "job.yaml:1:8" in done.err


def test_what_a_set_asks_for_and_the_hosts_lack_is_refused(compared: Any, project: Path) -> None:
    job = str(project / "topologies/jobs/dgx1-16.yaml")
    by_default, asked = compared("dgx1-16", "--job", job, "--sizes", "1M", "--offloads", "default,gdr+nvls")["outcomes"]
    assert (by_default["offloads"], by_default["refusal"]) == ("default", None)
    assert asked["points"] == []
    assert asked["refusal"].startswith("'nvls' does not work here")


def test_ladders_are_read() -> None:
    assert [(rung.label, rung.names) for rung in read_ladder("cpu, gdr,gdr+sharp,gdr")] == [
        (BASE, ()),
        ("gdr", ("gdr",)),
        ("gdr+sharp", ("gdr", "sharp")),
    ]


def test_given_is_the_job_itself() -> None:
    spec = parse_job("hosts: [a, b]\n", "job.yaml")
    assert placed_elsewhere(spec, "given", 2) is spec
    moved = placed_elsewhere(spec, "random:7", 2)
    assert (moved.count, moved.placement, moved.placement_seed) == (2, "random", 7)
    with pytest.raises(UsageError, match="unknown placement"):
        placed_elsewhere(spec, "packd", 2)
