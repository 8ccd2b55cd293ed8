"""All features over one fabric: what each place is and could be, those that are alike together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fabctl.errors import RefusedError, SourceError
from fabctl.model.assessment import Alike, Assessed, Kind, Status, Survey
from fabctl.model.fabric import Fabric
from fabctl.offload import FEATURES
from fabctl.offload.site import Site


def survey(site: Site, features: Sequence[str] = ()) -> Survey:
    """Assess features, all of them by default. Writes nothing.

    A feature whose driver cannot be reached, or refuses, is unknown, and the others are assessed all the same.

    Raises
    ------
    UsageError
        If there is no such feature.
    """
    names = tuple(features) or tuple(FEATURES.names())
    kinds = _kinds(site.fabric)
    alike: list[Alike] = []
    unread: dict[str, str] = {}
    for name in names:
        feature = FEATURES.load(name)
        try:
            assessed = feature.assess(site)
        except (SourceError, RefusedError) as error:
            unread[name] = error.message
            assessed = [Assessed(name, Kind.FABRIC, Status.UNKNOWN, error.message)]
        alike += _alike(assessed, kinds)
    counts = {kind: sum(1 for found in kinds.values() if found is kind) for kind in (Kind.SWITCH, Kind.HCA)}
    counts[Kind.HOST] = len(site.fabric.hosts.name)
    return Survey(names, counts, tuple(sorted(site.drivers)), tuple(alike), unread)


def _alike(assessed: Sequence[Assessed], kinds: dict[str, Kind]) -> list[Alike]:
    groups: dict[tuple[str, Kind, Status, str, str], list[str]] = {}
    for one in assessed:
        kind = Kind.FABRIC if one.target == Kind.FABRIC else kinds.get(one.target, Kind.HOST)
        groups.setdefault((one.feature, kind, one.status, one.fact, one.source), []).append(one.target)
    order = list(Kind)
    found = [Alike(*key, tuple(targets)) for key, targets in groups.items()]
    return sorted(found, key=lambda group: (order.index(group.kind), -len(group.targets), group.status, group.fact))


def _kinds(fabric: Fabric) -> dict[str, Kind]:
    """Return what each label stands for; a label that is neither a switch nor an HCA is a host's name."""
    kinds = {fabric.labels[node]: Kind.SWITCH for node in range(fabric.n_switches)}
    kinds |= {fabric.labels[node]: Kind.HCA for node in np.flatnonzero(fabric.is_hca).tolist()}
    return kinds
