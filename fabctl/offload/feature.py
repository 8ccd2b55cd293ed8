"""What the cycle asks of a feature, and the plan that most features make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fabctl.model.assessment import Assessed
from fabctl.model.offload_plan import Change, Check, Plan, Stage
from fabctl.offload.basis import basis_of
from fabctl.offload.site import Site
from fabctl.offload.undo import mirrored


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Parameters
    ----------
    enable : bool
        False: disable.
    switches : tuple of int
        Node indices of the switches that are meant; all of them if nothing was said.
    values : mapping of str to str
        ``--set KEY=VALUE``, checked by the feature.
    words : str
        As it was typed, for the plan and the journal.
    """

    enable: bool
    switches: tuple[int, ...]
    values: Mapping[str, str]
    words: str


class Feature(Protocol):
    """An offload of the fabric or of its hosts."""

    name: str
    keys: Mapping[str, str]
    """What ``--set`` takes: key to one line of explanation."""

    def assess(self, site: Site) -> Sequence[Assessed]:
        """Return what each switch, HCA or host that it concerns is and could be. Unknown stays unknown. Writes nothing."""

    def plan(self, site: Site, request: Request) -> Plan:
        """Return what would be changed; no stages if nothing needs to be. Writes nothing.

        Raises
        ------
        RefusedError
            If the hardware, the subnet manager's flavour or the driver cannot, with the reason and the nearest thing that works.
        UsageError
            For values that it does not know.
        """


def planned(
    site: Site, request: Request, feature: str, changes: Sequence[Change], checks: Sequence[Check], notes: Sequence[str]
) -> Plan:
    """Return the plan of one stage, taken back by the values of before; without changes there is no stage."""
    stages = (Stage(feature, tuple(changes), tuple(checks)),) if changes else ()
    return Plan(feature, request.words, basis_of(site, changes), stages, mirrored(stages), tuple(notes))
