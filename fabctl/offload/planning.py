"""What is asked for, as it was typed, to a feature's plan."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from fabctl.errors import UsageError
from fabctl.model.lookup import find_switch
from fabctl.model.offload_plan import Change, Plan
from fabctl.nodeset import expand
from fabctl.offload import FEATURES
from fabctl.offload.at_once import read_all
from fabctl.offload.feature import Feature, Request
from fabctl.offload.features.settings import refuse_unknown
from fabctl.offload.site import Site

_CLEAR = re.compile(r"[\w@%+=:,./\[\]-]+", re.ASCII)
"""Words that are shown without quotes; brackets of node sets are."""


def make_plan(site: Site, name: str, *, enable: bool = True, switches: str = "", settings: Sequence[str] = ()) -> Plan:
    """Plan a feature. Writes nothing.

    Parameters
    ----------
    switches : str
        Node set of those that are meant; empty: all.
    settings : sequence of str
        ``KEY=VALUE`` each.

    Raises
    ------
    UsageError
        For a feature, key or value that does not exist, and for what is no node set.
    InputError
        If a switch is unknown.
    RefusedError, SourceError
        As `fabctl.offload.feature.Feature.plan` does.
    """
    feature: Feature = FEATURES.load(name)
    values = values_of(name, settings)
    meant = tuple(dict.fromkeys(find_switch(site.fabric, switch) for switch in expand(switches))) if switches else ()
    return feature.plan(
        site, Request(enable, meant or tuple(range(site.fabric.n_switches)), values, _words(name, enable, switches, values))
    )


def values_of(name: str, settings: Iterable[str]) -> Mapping[str, str]:
    """Return ``KEY=VALUE`` texts as a mapping.

    Raises
    ------
    UsageError
        If one is none, is given twice, or the feature does not know its key.
    """
    feature: Feature = FEATURES.load(name)
    values: dict[str, str] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {text} is no KEY=VALUE")
        if key in values:
            raise UsageError(f"--set {key} is given twice")
        values[key] = value
    refuse_unknown(feature, values)
    return values


def _words(name: str, enable: bool, switches: str, values: Mapping[str, str]) -> str:
    words = ["enable" if enable else "disable", name, *(["--switch", switches] if switches else [])]
    words += [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    return " ".join(word if _CLEAR.fullmatch(word) else shlex.quote(word) for word in words)


def pending(plan: Plan, site: Site) -> tuple[Change, ...]:
    """Return what applying a plan now would change: each place once, from what stands there now.

    Raises
    ------
    RefusedError, SourceError
        If a place cannot be read.
    """
    last = {change.place: change for change in plan.changes}
    changes = (replace(change, old=value) for change, value in zip(last.values(), read_all(site, last), strict=True))
    return tuple(change for change in changes if change.old != change.new)
