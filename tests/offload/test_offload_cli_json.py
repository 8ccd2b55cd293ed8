"""What ``fabctl offload`` prints with ``-o json`` is what its schemas say, and they say all of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import lab
import lab_feature
import pytest
from test_json_schema import undescribed

from fabctl.model.snapshot import dump_snapshot
from fabctl.offload import work

KINDS = ("list", "plan", "diff", "operation", "history", "recovery", "drift", "sharp", "adaptive")


@pytest.fixture
def schemas(project: Path) -> dict[str, Any]:
    folder = project / "fabctl" / "report" / "schemas"
    return {f"Offload{name.capitalize()}": json.loads((folder / f"offload-{name}.json").read_text()) for name in KINDS}


@pytest.fixture
def said(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch, schemas: Any) -> Callable[..., dict[str, Any]]:
    """Run ``fabctl offload ... -o json`` and return the data that its schema has been held against."""
    monkeypatch.setenv("FABCTL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(work, "PATIENCE_S", 0.0)

    def say(kind: str, *words: object) -> dict[str, Any]:
        payload = json.loads(run("offload", *words, "-o", "json").out)
        assert payload["kind"] == kind
        schema = schemas[kind]
        jsonschema.validate(payload["data"], schema, cls=jsonschema.Draft202012Validator)
        assert list(undescribed(payload["data"], schema, schema)) == []
        return payload["data"]  # type: ignore[no-any-return]

    return say


def test_schemas_are_schemas(schemas: dict[str, Any]) -> None:
    for name, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$id"] == f"urn:fabctl:schema:1:offload-{name.removeprefix('Offload').lower()}"


def test_every_command(said: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    folder, fabric, saved = tmp_path / "lab", tmp_path / "fabric.json", tmp_path / "plan.json"
    site = lab.make_site(folder)
    fabric.write_text(dump_snapshot(site.fabric))
    where = (fabric, "--driver", f"lab:folder={folder}")
    name = lab_feature.FEATURE.name

    assert len(said("OffloadList", "list", *where, "--feature", name)["alike"]) == 3
    assert said("OffloadPlan", "plan", name, *where, "--set", "file=yes", "--save", saved)["to_change"] == 7
    assert said("OffloadDiff", "diff", saved)["to_change"] == 7
    done = said("OffloadOperation", "apply", saved, "--batch", 2)
    assert (done["state"], done["holds"], len(done["readings"])) == ("applied", True, 6)
    assert said("OffloadOperation", "apply", saved)["id"] == 0
    lab.put(folder / "hardware" / f"{site.fabric.guid_text(0)} cc.threshold", "3")
    lab.fault(folder, f"silent-{site.fabric.guid_text(1)}")
    drift = said("OffloadDrift", "drift")
    assert [one["kind"] for one in drift["drifted"]] == ["hardware"]
    assert drift["unread"]
    assert said("OffloadOperation", "verify", 1)["holds"] is False
    assert said("OffloadRecovery", "recover")["recovered"] == []
    assert said("OffloadHistory", "history")["operations"][0]["id"] == 1
    assert said("OffloadPlan", "disable", name, *where[:1], "--driver", f"files:folder={folder}")["stages"] == []


@pytest.mark.parametrize(("feature", "job"), [("sharp", "hosts: 16\ncollective: all_reduce\n"), ("adaptive-routing", "")])
def test_layouts(
    said: Callable[..., dict[str, Any]], schemas: dict[str, Any], tmp_path: Path, fixtures: Path, feature: str, job: str
) -> None:
    (tmp_path / "job.yaml").write_text(job)
    jobs = ("--job", tmp_path / "job.yaml", "--node", "dgx-a100") if job else ("--driver", f"files:folder={tmp_path}")
    layout = said("OffloadPlan", "plan", feature, fixtures / "ibnetdiscover/selene-compute-2021.txt", *jobs)["layout"]
    schema = schemas[f"Offload{feature.partition('-')[0].capitalize()}"]
    jsonschema.validate(layout, schema, cls=jsonschema.Draft202012Validator)
    assert list(undescribed(layout, schema, schema)) == []


def test_a_switch_left_out_and_a_recovery(said: Callable[..., dict[str, Any]], tmp_path: Path, run: Any) -> None:
    folder, fabric = tmp_path / "lab", tmp_path / "fabric.json"
    site = lab.make_site(folder)
    fabric.write_text(dump_snapshot(site.fabric))
    where = (fabric, "--driver", f"lab:folder={folder}")
    stuck = lab.fault(folder, f"stuck-{site.fabric.guid_text(0)}")
    done = said("OffloadOperation", "enable", "lab", *where, "--yes", "--max-failures", 1)
    assert [failure["label"] for failure in done["failures"]] == [site.fabric.labels[0]]
    stuck.unlink()
    refuses = lab.fault(folder, f"refuses-{site.fabric.guid_text(1)}")
    assert run("offload", "rollback", 1).code == 8
    refuses.unlink()
    assert [one["done"] for one in said("OffloadRecovery", "recover")["recovered"]] == ["undone"]
