"""Plans as files: JSON with a version and a digest of its own. A plan is data; nothing in it is ever run.

The digest guards against damage and slips of the hand. It is no signature: whoever may write the file may change the plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fabctl.errors import InputError, RefusedError
from fabctl.model.offload_plan import Basis, Change, Check, Place, Plan, Risk, Stage
from fabctl.model.operation import Reach
from fabctl.offload.basis import value_digest
from fabctl.offload.secrets import bare_secret

FORMAT = "fabctl-offload-plan"
VERSION = 1

_INLINE = 256
"""Longer values are kept once, under their SHA-256."""

_AGAIN = "make the plan again: fabctl offload plan ... --save FILE"
_T = TypeVar("_T")


def save_plan(plan: Plan, reach: Reach | None = None) -> str:
    """Return a plan as text; equal plans give equal text.

    Parameters
    ----------
    reach : Reach, optional
        How its site was reached, so that it can be applied without saying so again.

    Raises
    ------
    RefusedError
        If a value holds a secret.
    """
    texts: dict[str, str] = {}
    body = {
        "feature": plan.feature,
        "request": plan.request,
        "basis": {
            "fabric": plan.basis.fabric,
            "tables": plan.basis.tables,
            "manager": plan.basis.manager,
            "values": [[*_place_out(place), digest] for place, digest in plan.basis.values],
        },
        "stages": [_stage_out(stage, texts) for stage in plan.stages],
        "undo": [_stage_out(stage, texts) for stage in plan.undo],
        "notes": list(plan.notes),
        "reach": None if reach is None else reach_out(reach),
        "texts": texts,
    }
    return json.dumps({"format": FORMAT, "version": VERSION, "digest": _digest(body), "plan": body}, indent=1) + "\n"


def plan_id(plan: Plan) -> str:
    """Return what a plan is called: 12 hex digits of its digest, which does not depend on how its site was reached."""
    return hashlib.sha256(save_plan(plan).encode()).hexdigest()[:12]


def load_plan(text: str, path: str) -> Plan:
    """Return the plan that a text holds.

    Raises
    ------
    InputError
        If the text is no JSON, no plan, or cut short.
    RefusedError
        If it was edited, or comes from a newer fabctl.
    """
    return _understood(_plan_in, text, path)


def load_reach(text: str, path: str) -> Reach | None:
    """Return how the site of a saved plan was reached, None if it does not say. Raises as `load_plan`."""
    return _understood(lambda body: None if body["reach"] is None else reach_in(body["reach"]), text, path)


def reach_out(reach: Reach) -> dict[str, Any]:
    """Return a `Reach` as JSON."""
    return {"source": reach.source, "drivers": {name: dict(options) for name, options in reach.drivers}}


def reach_in(document: Any) -> Reach:
    """Return a `Reach` from JSON."""
    drivers = {_text(name): _mapping(options) for name, options in _mapping(document["drivers"]).items()}
    return Reach(
        _text(document["source"]),
        tuple((name, tuple((_text(key), _text(value)) for key, value in options.items())) for name, options in drivers.items()),
    )


def _understood(read: Callable[[Mapping[str, Any]], _T], text: str, path: str) -> _T:
    try:
        return read(_body(text, path))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"damaged plan: {type(error).__name__} {error}", where=path, hint=_AGAIN) from error


def _body(text: str, path: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"this plan is no JSON: {error.msg}", where=f"{path}:{error.lineno}:{error.colno}", hint="was it cut short?"
        ) from error
    except RecursionError as error:
        raise InputError("this plan is no JSON that fabctl wrote", where=path, hint=_AGAIN) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"no plan: its format is not '{FORMAT}'", where=path)
    version = document.get("version")
    if isinstance(version, int) and version > VERSION:
        raise RefusedError(
            f"a plan of version {version}; this fabctl knows version {VERSION}", where=path, hint="update fabctl on this machine"
        )
    if version != VERSION:
        raise InputError(f"no plan of version {VERSION}", where=path, hint=_AGAIN)
    body = _mapping(document["plan"])
    if document["digest"] != _digest(body):
        raise RefusedError("this plan was edited: its content does not match its digest", where=path, hint=_AGAIN)
    return body


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _plan_in(body: Mapping[str, Any]) -> Plan:
    basis, texts = _mapping(body["basis"]), _mapping(body["texts"])
    return Plan(
        feature=_text(body["feature"]),
        request=_text(body["request"]),
        basis=Basis(
            fabric=_text(basis["fabric"]),
            tables=_text(basis["tables"]),
            manager=_text(basis["manager"]),
            values=tuple((_place_in(value[:3]), _text(value[3])) for value in basis["values"]),
        ),
        stages=tuple(_stage_in(stage, texts) for stage in body["stages"]),
        undo=tuple(_stage_in(stage, texts) for stage in body["undo"]),
        notes=tuple(_text(note) for note in body["notes"]),
    )


def _stage_out(stage: Stage, texts: dict[str, str]) -> dict[str, Any]:
    return {
        "name": stage.name,
        "changes": [
            {
                "place": _place_out(change.place),
                "old": _value_out(change.old, texts, change.place),
                "new": _value_out(change.new, texts, change.place),
                "risk": change.risk.name,
                "why": change.why,
            }
            for change in stage.changes
        ],
        "checks": [
            {"place": _place_out(check.place), "value": _value_out(check.value, texts, check.place)} for check in stage.checks
        ],
    }


def _stage_in(stage: Mapping[str, Any], texts: Mapping[str, Any]) -> Stage:
    return Stage(
        _text(stage["name"]),
        tuple(
            Change(
                _place_in(change["place"]),
                _value_in(change["old"], texts),
                _value_in(change["new"], texts),
                Risk[change["risk"]],
                _text(change["why"]),
            )
            for change in stage["changes"]
        ),
        tuple(Check(_place_in(check["place"]), _text(_value_in(check["value"], texts))) for check in stage["checks"]),
    )


def _place_out(place: Place) -> list[str]:
    return [place.driver, place.target, place.key]


def _place_in(value: Any) -> Place:
    driver, target, key = value
    return Place(_text(driver), _text(target), _text(key))


def _value_out(value: str | None, texts: dict[str, str], place: Place) -> Any:
    if value is None:
        return None
    digest = value_digest(value)
    key = None if digest in texts else bare_secret(value)
    if key is not None:
        raise RefusedError(
            f"the value of {place.key} holds a secret ({key}): it does not go into a plan", hint="this is a bug of its driver"
        )
    if len(value) <= _INLINE:
        return value
    texts[digest] = value
    return {"text": digest}


def _value_in(value: Any, texts: Mapping[str, Any]) -> str | None:
    if isinstance(value, dict):
        value = texts[value["text"]]
    return None if value is None else _text(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no mapping")
    return value
