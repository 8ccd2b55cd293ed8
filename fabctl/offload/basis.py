"""What a plan was made from, as digests; and in what a site has changed since."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import FABRIC, Basis, Change, Place, Plan
from fabctl.offload.at_once import read_all
from fabctl.offload.names import place_label
from fabctl.offload.site import Site
from fabctl.sources.live import read_live_tables

_SHOWN = 60


def basis_of(site: Site, changes: Iterable[Change], *, upon: Iterable[Place] = (), tables: bool = False) -> Basis:
    """Return what a plan with these changes rests on.

    Parameters
    ----------
    changes : iterable of Change
        In order; the first one at a place holds what stands there now.
    upon : iterable of Place
        What is not changed and must stay as it is: neither the plan nor what it has changed holds without.
    tables : bool
        Whether the forwarding tables that the switches hold matter.

    Raises
    ------
    SourceError
        If a driver's subnet manager cannot be reached, or a place or live tables cannot be read.
    """
    kept = tuple(upon)
    first = dict(zip(kept, read_all(site, kept), strict=True))
    for change in changes:
        first.setdefault(change.place, change.old)
    return Basis(
        fabric=site.fabric.digest,
        tables=_tables_digest(site) if tables else "",
        manager=_managers(site, {place.driver for place in first}),
        values=tuple((place, value_digest(value)) for place, value in first.items()),
    )


def value_digest(value: str | None) -> str:
    """Return the SHA-256 of a value; of the empty text where there is none."""
    return hashlib.sha256((value or "").encode("utf-8", "surrogatepass")).hexdigest()


def shown(value: str | None) -> str:
    """Return a value in one short line, for people."""
    if value is None:
        return "absent"
    if len(value) > _SHOWN or "\n" in value:
        return f"a text of {len(value)} characters (SHA-256 {value_digest(value)[:12]})"
    return f"'{value}'"


def changes_since(plan: Plan, site: Site) -> list[str]:
    """Return in what a site differs from what a plan was made from, for people; nothing if the plan still fits.

    Raises
    ------
    SourceError
        If a place, a subnet manager or live tables cannot be read.
    """
    basis, fabric = plan.basis, site.fabric
    found = []
    if basis.fabric != fabric.digest:
        lost = lost_targets(plan, fabric)
        found.append(
            lost or f"the fabric's digest is {fabric.digest[:12]}, and was {basis.fabric[:12]}: its nodes, cables or LIDs differ"
        )
    if basis.tables and basis.tables != _tables_digest(site):
        found.append("the forwarding tables are others than those the plan was made with")
    manager = _managers(site, {place.driver for place, _ in basis.values})
    if basis.manager != manager:
        found.append(f"the subnet manager is {manager or 'unknown'}, and was {basis.manager or 'unknown'}")
    old = {change.place: change.old for change in reversed(plan.changes)}
    values = read_all(site, (place for place, _ in basis.values))
    for (place, digest), now in zip(basis.values, values, strict=True):
        if value_digest(now) != digest:
            was = f"was {shown(old[place])}" if place in old else "had another value"
            found.append(f"{place.key} of {place_label(fabric, place)} is {shown(now)}, and {was}")
    return found


def lost_targets(plan: Plan, fabric: Fabric) -> str:
    """Return in words which switches and HCAs of a plan a fabric does not have; nothing if it has them all."""
    known = {fabric.guid_text(node) for node in range(fabric.n_nodes)}
    meant = {change.place.target.partition("/")[0] for change in plan.changes} - {FABRIC}
    lost = sorted(guid for guid in meant if guid.startswith("0x") and guid not in known)
    if meant and len(lost) == len(meant):
        return f"this is another fabric: it has no {lost[0]}"
    if lost:
        return f"the fabric has no {', '.join(lost[:3])} any more"
    return ""


def _managers(site: Site, drivers: set[str]) -> str:
    found = [site.driver(name).manager() for name in sorted(drivers)]
    return "; ".join(dict.fromkeys(manager.label for manager in found if manager is not None))


def _tables_digest(site: Site) -> str:
    return hashlib.sha256(read_live_tables(site.fabric).lft.tobytes()).hexdigest()
