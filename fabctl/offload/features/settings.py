"""``--set KEY=VALUE``, checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

from fabctl.errors import UsageError
from fabctl.offload.feature import Feature


def refuse_unknown(feature: Feature, values: Mapping[str, str]) -> None:
    """Raise `UsageError` for a key that a feature does not know; the nearest is offered."""
    for key in values:
        if key not in feature.keys:
            near = get_close_matches(key, feature.keys, n=1)
            known = f"known: {', '.join(feature.keys) or 'none'}"
            hint = f"did you mean '{near[0]}'? {known}" if near else known
            raise UsageError(f"{feature.name} knows no '{key}'", hint=hint)


def refuse_disabling(values: Mapping[str, str], but: Collection[str] = ()) -> None:
    """Raise `UsageError` for a setting that makes no sense with ``--disable``."""
    for key in sorted(values.keys() - set(but)):
        hint = f"it takes {', '.join(sorted(but))} alone" if but else "leave --set out"
        raise UsageError(f"--disable takes no --set {key}", hint=hint)


def choice(values: Mapping[str, str], key: str, choices: Sequence[str]) -> str:
    """Return one of some words; empty if nothing was said.

    Raises
    ------
    UsageError
        For any other word.
    """
    word = values.get(key, "")
    if word and word not in choices:
        raise UsageError(f"{key} is {', '.join(choices[:-1])} or {choices[-1]}, not '{word}'", hint=f"--set {key}={choices[0]}")
    return word


def number(values: Mapping[str, str], key: str, lowest: int, highest: int, default: int) -> int:
    """Return a number, decimal or hexadecimal.

    Raises
    ------
    UsageError
        If it is none, or out of its range.
    """
    word = values.get(key)
    if word is None:
        return default
    try:
        found = int(word, 0)
    except ValueError as error:
        raise UsageError(f"{key} is a number, not '{word}'", hint=f"--set {key}={default}") from error
    if not lowest <= found <= highest:
        raise UsageError(f"{key} is {lowest} to {highest}, not {found}", hint=f"--set {key}={default}")
    return found
