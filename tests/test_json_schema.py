"""The JSON contract: what commands print is what the schemas in the package say, and the schemas say all of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fabric_plans import leaf_spine

from fabctl.model.snapshot import dump_snapshot

Run = Callable[..., Any]

KINDS = {"FabricSummary": "fabric-summary", "FabricLinks": "fabric-links", "FabricDiff": "fabric-diff"}
DUMPS = ("selene-compute-2021.txt", "dgx-ndr-2025.txt", "hdr-directors-2021-terminal-log.txt", "ufm-lab-small.txt")
DUMPS += ("gb200-lone-host.txt", "jabl-1.txt", "jabl-2.txt", "jabl-4.txt")


@pytest.fixture(scope="session")
def schema(project: Path) -> Callable[[str], dict[str, Any]]:
    return lambda name: json.loads((project / "fabctl" / "report" / "schemas" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", ["envelope", *KINDS.values()])
def test_schemas_are_schemas(schema: Callable[[str], dict[str, Any]], name: str) -> None:
    document = schema(name)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["$id"] == f"urn:fabctl:schema:1:{name}"
    jsonschema.Draft202012Validator.check_schema(document)


@pytest.fixture
def checked(run: Run, schema: Callable[[str], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Run a command with ``-o json``, validate envelope and data, and return the envelope."""

    def check(*argv: object, **options: Any) -> dict[str, Any]:
        payload: dict[str, Any] = json.loads(run(*argv, "-o", "json", **options).out)
        for name, document in (("envelope", payload), (KINDS[payload["kind"]], payload["data"])):
            jsonschema.validate(document, schema(name), cls=jsonschema.Draft202012Validator)
            assert list(undescribed(document, schema(name), schema(name))) == []
        return payload

    return check


def undescribed(value: Any, schema: dict[str, Any], root: dict[str, Any], path: str = "$") -> Iterator[str]:
    """Yield keys that a value has and its schema does not describe."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    schema = next((one for one in schema.get("oneOf", ()) if one["type"] == "object"), schema)
    if isinstance(value, dict):
        for key, item in value.items():
            inner = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if inner is None and "properties" in schema:
                yield f"{path}.{key}"
            yield from undescribed(item, inner or {}, root, f"{path}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from undescribed(item, schema.get("items", {}), root, f"{path}[{number}]")


@pytest.mark.parametrize("name", DUMPS)
def test_discover(checked: Callable[..., dict[str, Any]], fixtures: Path, name: str) -> None:
    payload = checked("discover", fixtures / "ibnetdiscover" / name)
    assert payload["kind"] == "FabricSummary"
    assert payload["inputs"][0]["parser"] == "ibnetdiscover"
    assert payload["ok"] is True


@pytest.mark.parametrize("name", ["dgx1-16", "fat-tree-1024", "superpod-4su"])
def test_discover_of_a_topology(checked: Callable[..., dict[str, Any]], name: str) -> None:
    assert checked("discover", name)["findings"] == []


@pytest.mark.parametrize("name", ["dgx-ndr-2025.txt", "jabl-1.txt", "gb200-lone-host.txt"])
def test_discover_links(checked: Callable[..., dict[str, Any]], fixtures: Path, name: str) -> None:
    payload = checked("discover", fixtures / "ibnetdiscover" / name, "--links")
    assert payload["kind"] == "FabricLinks"


def test_an_error_is_not_ok(checked: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    plan = leaf_spine()
    plan.nodes["n3"].lid = plan.nodes["n7"].lid
    path = tmp_path / "fabric.json"
    path.write_text(dump_snapshot(plan.build()))
    payload = checked("discover", path)
    assert payload["ok"] is False
    assert [finding["code"] for finding in payload["findings"]] == ["FAB111"]


def test_diff(checked: Callable[..., dict[str, Any]], fixtures: Path) -> None:
    first, second = (fixtures / "ibnetdiscover" / name for name in ("dgx-ndr-2025.txt", "ufm-lab-small.txt"))
    payload = checked("diff", first, second)
    assert payload["kind"] == "FabricDiff"
    assert {change["change"] for change in payload["data"]["changes"]} == {"added", "removed"}
    assert checked("diff", first, first)["data"] == {"equal": True, "changes": []}


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("FabricSummary", lambda data: data.pop("links")),
        ("FabricSummary", lambda data: data.update(sm_lid="7")),
        ("FabricSummary", lambda data: data["tiers"][0].update(switches=-1)),
        ("FabricSummary", lambda data: data["tiers"][0]["oversubscription"].pop("median")),
    ],
)
def test_the_schema_can_refuse(
    run: Run, schema: Callable[[str], dict[str, Any]], kind: str, damage: Callable[[dict[str, Any]], Any]
) -> None:
    data = json.loads(run("discover", "dgx1-16", "-o", "json").out)["data"]
    validator = jsonschema.Draft202012Validator(schema(KINDS[kind]))
    assert validator.is_valid(data)
    damage(data)
    assert not validator.is_valid(data)


@pytest.mark.parametrize(
    "arguments",
    [
        ("discover", "nowhere.txt"),
        ("route", "xgft-16", "--engine", "ftre"),
        ("bench", "xgft-16", "--job", "nowhere.yaml"),
        ("diff", "nowhere.txt", "xgft-16"),
    ],
)
def test_a_failure_is_an_envelope_too(run: Run, schema: Callable[[str], dict[str, Any]], arguments: tuple[str, ...]) -> None:
    outcome = run(*arguments, "-o", "json")
    payload = json.loads(outcome.out)
    jsonschema.validate(payload, schema("envelope"), cls=jsonschema.Draft202012Validator)
    assert outcome.code in (2, 3)
    assert (payload["kind"], payload["ok"], payload["data"]) == ("Failure", False, {})
    assert outcome.err == f"fabctl: {payload['errors'][0]}\n"


def test_a_report_that_is_out_is_not_followed_by_a_failure(run: Run, fixtures: Path, tmp_path: Path) -> None:
    ring = fixtures / "tool-output/ring6.net"
    outcome = run("route", ring, "--engine", "minhop", "--export", "opensm", tmp_path / "routes", "-o", "json")
    assert outcome.code == 6
    assert json.loads(outcome.out)["kind"] == "RouteReport"


def test_a_failure_leaves_the_old_file_whole(run: Run, tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("kept")
    assert run("discover", "nowhere.txt", "-o", "json", "--out", old).code == 3
    assert old.read_text() == "kept"
