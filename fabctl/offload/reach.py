"""How a site was reached, and how another process reaches it again: no secret is kept, only the paths of their files."""

from __future__ import annotations

from fabctl.errors import FabctlError, InputError
from fabctl.model.fabric import Fabric
from fabctl.model.operation import Reach
from fabctl.offload import DRIVERS
from fabctl.offload.driver import Driver
from fabctl.offload.journal import Journal
from fabctl.offload.planfile import load_reach
from fabctl.offload.site import Site

LIVE = "live"


def describe(site: Site) -> Reach:
    """Return how a site was reached."""
    return Reach(
        site.source, tuple((name, tuple(sorted(driver.options.items()))) for name, driver in sorted(site.drivers.items()))
    )


def planned_site(text: str, path: str) -> Site:
    """Return the site of a saved plan, reached as the plan was made.

    Raises
    ------
    InputError
        If the plan does not say how, or its fabric cannot be read.
    FabctlError
        As `fabctl.offload.planfile.load_plan` and the drivers' own.
    """
    reach = load_reach(text, path)
    if reach is None or not reach.source:
        raise InputError("this plan does not say how its fabric is reached", where=path, hint="name the fabric and --driver")
    return _site(reach, _discovered() if reach.source == LIVE else _loaded(reach.source))


def reached(journal: Journal, number: int, *, anew: bool = True) -> Site:
    """Return the site of an operation, reached as the journal says.

    Parameters
    ----------
    anew : bool
        Whether a live fabric is discovered again. If it is not, or cannot be, the fabric is as it was then.
    """
    reach = journal.reach(number)
    fabric = journal.fabric(number)
    if anew and reach.source == LIVE:
        try:
            fabric = _discovered()
        except FabctlError:
            return _site(reach, fabric)
    return _site(reach, fabric)


def _site(reach: Reach, fabric: Fabric) -> Site:
    drivers: dict[str, Driver] = {name: DRIVERS.load(name).make(dict(options), fabric) for name, options in reach.drivers}
    return Site(fabric, drivers, source=reach.source)


def _discovered() -> Fabric:
    from fabctl.sources.live import discover_live

    return discover_live().fabric


def _loaded(path: str) -> Fabric:
    from fabctl.sources.reading import load_fabric

    return load_fabric(path).fabric
