from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from small_fabrics import dmodk, two_levels

from fabctl.bench.predict import predict
from fabctl.model.predictions import BenchTable
from fabctl.model.rates import data_rates
from fabctl.model.tables import RoutingTables
from fabctl.report.bench import bench_report
from fabctl.report.output import Style, render
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.job import JobSpec
from fabctl.traffic.placement import place
from fabctl.units import Speed

SIZES = [8, 1 << 20, 1 << 30, 16 << 30]


def table(*origins: str, collectives: tuple[str, ...] = ("all_reduce", "alltoall", "broadcast")) -> BenchTable:
    fabric = two_levels(32, 8, 4, rails=2, host_speed=Speed.HDR, up_speed=Speed.HDR)
    routes = [RoutingTables(fabric, dmodk(fabric).lft, origin) for origin in origins]
    return predict(place(JobSpec(), fabric), routes, [COLLECTIVES.load(name) for name in collectives], SIZES, data_rates(fabric))


@pytest.fixture(scope="module")
def schema(project: Path) -> dict[str, Any]:
    return json.loads((project / "fabctl/report/schemas/bench-table.json").read_text())


@pytest.mark.parametrize("origins", [("a",), ("a", "b")])
def test_json_keeps_its_contract(schema: dict[str, Any], origins: tuple[str, ...]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    report = bench_report(table(*origins))
    assert report.kind == "BenchTable"
    jsonschema.validate(json.loads(json.dumps(report.data)), schema)


def test_the_contract_can_be_broken(schema: dict[str, Any]) -> None:
    data = json.loads(json.dumps(bench_report(table("a")).data))
    data["predictions"][0]["rows"][0]["protocol"] = "TCP"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schema)


def test_one_set_of_routes_is_nccl_tests_table() -> None:
    text = render(bench_report(table("minhop", collectives=("all_reduce",))), "table", Style())
    lines = text.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("all_reduce"))
    assert lines[head] == "all_reduce (ring), minhop"
    assert " ".join(lines[head + 1].split()) == "size(B) count type redop root time(us) algbw(GB/s) busbw(GB/s) algo proto binds"
    assert lines[head + 2].split()[:5] == ["8", "2", "float", "sum", "-1"]
    assert lines[head + 5].split()[0] == "17179869184"
    assert lines[head + 6].startswith("Avg bus bandwidth ")
    assert lines[head + 7].startswith("Bounded by leaf-0/P")
    assert "\nAssumptions\n  4096-byte packets" in text
    assert text.startswith(
        "Job     32 hosts x 2 ranks = 64 ranks: n[0000-0031]\nHosts   unknown: only the fabric is predicted, by rings;"
    )
    assert "\nHCAs    2 per host, rails 0,1\nRoutes  minhop\n" in text


def test_several_sets_of_routes_stand_side_by_side() -> None:
    text = render(bench_report(table("minhop", "/some/where/lfts.txt", collectives=("alltoall",))), "table", Style())
    lines = text.splitlines()
    head = lines.index("alltoall (pairwise), float, redop none, root -1")
    for word in ("minhop time(us)", "lfts.txt time(us)"):
        assert word in lines[head + 1]
    assert lines[head + 1].count("busbw(GB/s)") == 2
    bounds = lines.index("alltoall: what bounds large messages (GB/s)")
    assert [line.split()[0] for line in lines[bounds + 2 : bounds + 4]] == ["minhop", "lfts.txt"]
    assert " -> " in lines[bounds + 2]


def test_equal_file_names_keep_their_folders() -> None:
    text = render(bench_report(table("a/lfts.txt", "b/lfts.txt", collectives=("alltoall",))), "table", Style())
    assert "a/lfts.txt time(us)" in text
    assert "b/lfts.txt time(us)" in text


def test_csv_has_a_row_per_routes_collective_and_size() -> None:
    result = table("a", "b")
    text = render(bench_report(result), "csv", Style())
    rows = list(csv.DictReader(io.StringIO(text)))
    keys = [(row["routes"], row["collective"], row["size_bytes"]) for row in rows]
    assert len(set(keys)) == len(keys) == sum(len(prediction.rows) for prediction in result.predictions) == 2 * (4 + 3 + 4)
    for row in rows:
        assert float(row["algbw_gb_s"]) == pytest.approx(int(row["size_bytes"]) / float(row["time_us"]) / 1e3, rel=1e-6)
        assert row["bound"].count("/P") == 2
    lines = render(bench_report(result), "jsonl", Style()).splitlines()
    assert [json.loads(line)["time_us"] for line in lines] == [float(row["time_us"]) for row in rows]


@pytest.mark.parametrize(("time_us", "text"), [(99.994, "99.99"), (123.44, "123.4"), (9999.9, "9999.9"), (10000.4, "10000")])
def test_times_have_nccl_tests_decimals(time_us: float, text: str) -> None:
    result = table("a", collectives=("all_reduce",))
    row = replace(result.predictions[0].rows[0], time_us=time_us)
    shown = render(bench_report(replace(result, predictions=(replace(result.predictions[0], rows=(row,)),))), "table", Style())
    assert f"  {text}  " in shown


def test_the_same_job_gives_the_same_bytes() -> None:
    for form in ("table", "json", "csv"):
        assert render(bench_report(table("a", "b")), form, Style()) == render(bench_report(table("a", "b")), form, Style())
