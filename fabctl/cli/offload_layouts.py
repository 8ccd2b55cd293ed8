"""What features lay out over a fabric, shown below their plans: SHARP's trees for jobs, adaptive routing's groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fabctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fabctl.cli.offload_plan import Wanted
    from fabctl.cli.offload_site import Reached
    from fabctl.report.output import Table


class Layout(NamedTuple):
    """A layout for people and for JSON; `code` where not all of it can be had."""

    text: Sequence[str | Table]
    data: Mapping[str, Any]
    code: ExitCode = ExitCode.DONE


def laid_out(reached: Reached, wanted: Wanted) -> Layout | None:
    """Return the layout of a feature; None if it has none."""
    lay_out = _LAYOUTS.get(wanted.feature)
    return lay_out(reached, wanted) if lay_out else None


def _trees(reached: Reached, wanted: Wanted) -> Layout | None:
    from fabctl.offload.features import sharp
    from fabctl.offload.planning import values_of
    from fabctl.report.offload_sharp import sharp_data, sharp_text

    if not reached.site.jobs:
        return None
    trees = sharp.trees(reached.site, reached.job_names, values_of(wanted.feature, wanted.settings))
    code = ExitCode.DONE if trees.streaming == len(trees.jobs) else ExitCode.PARTIAL if trees.streaming else ExitCode.REFUSED
    return Layout(sharp_text(trees), sharp_data(trees), code)


def _groups(reached: Reached, wanted: Wanted) -> Layout:
    from fabctl.offload.features.adaptive_routing import details
    from fabctl.offload.planning import values_of
    from fabctl.report.offload_adaptive import adaptive_data, adaptive_text

    found = details(reached.site, values_of(wanted.feature, wanted.settings))
    return Layout(adaptive_text(found), adaptive_data(found))


_LAYOUTS: dict[str, Callable[[Reached, Wanted], Layout | None]] = {"sharp": _trees, "adaptive-routing": _groups}
