"""Files for hosts as a plan: rendered into a folder, for people to carry over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fabctl.errors import RefusedError, UsageError
from fabctl.model.offload_plan import Change, Place, Plan, Risk
from fabctl.nodeset import expand
from fabctl.offload.feature import Request, planned
from fabctl.offload.site import Site
from fabctl.traffic.roster import nearest


@dataclass(frozen=True)
class Rendered:
    """A file.

    Parameters
    ----------
    target : str
        The host for which it is, or `FABRIC` for all.
    name : str
    text : str
        Empty: it is not wanted.
    why : str
        What it does, and how disruptive that is where it is carried out: to render it disturbs nobody.
    """

    target: str
    name: str
    text: str
    why: str


def render(site: Site, request: Request, feature: str, files: Sequence[Rendered], notes: Sequence[str]) -> Plan:
    """Return the plan that makes the files of a folder these; no stages if they are.

    Raises
    ------
    RefusedError
        Without the driver ``files``.
    """
    driver = site.driver("files")
    changes = []
    for file in files:
        place = Place(driver.name, file.target, f"file:{file.name}")
        old, new = driver.read(place), _bytes(file.text)
        if old != new:
            changes.append(Change(place, old, new, Risk.NONE, file.why if new else "not needed any more"))
    return planned(site, request, feature, changes, (), notes)


def chosen_hosts(site: Site, request: Request, key: str = "hosts") -> tuple[str, ...]:
    """Return the hosts that ``--set hosts=NODESET`` names; none if nothing was said.

    Raises
    ------
    RefusedError
        For ``--switch``: this is of hosts.
    UsageError
        For hosts that the fabric does not have; the nearest are offered.
    """
    if len(request.switches) < site.fabric.n_switches:
        raise RefusedError("this is of hosts, not of switches", hint=f"in place of --switch: --set {key}=NODESET")
    names = tuple(dict.fromkeys(expand(request.values[key]))) if key in request.values else ()
    for name in names:
        if name not in site.fabric.hosts.name:
            near = " or ".join(nearest(name, site.fabric.hosts.name))
            raise UsageError(f"{key}: the fabric has no host '{name}'", hint=f"did you mean {near}?" if near else "")
    return names


def _bytes(text: str) -> str | None:
    """Return a text as values are: its bytes as latin-1 text; None if it is empty."""
    return text.encode().decode("latin-1") if text else None
