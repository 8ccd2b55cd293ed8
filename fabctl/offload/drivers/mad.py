"""The driver that talks to switches and HCAs themselves, with infiniband-diags: nothing goes through the subnet manager.

A value is what the node answers; there is nothing configured beside it. Exit codes of the tools are not believed: the cycle reads
everything back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Self

from fabctl.errors import RefusedError, SourceError
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import Place, Risk
from fabctl.offload.driver import Manager, Observed
from fabctl.offload.drivers import mad_congestion, mad_counters, mad_ports
from fabctl.offload.drivers.mad_tools import Target, Tools, checked_options

LOCAL = "local"
"""Key, at target ``fabric``: the node on which fabctl runs."""

TRAINING_S = 20.0
"""How long links may take to come up again."""

_POLL_S = 0.2
_TRAINING = ("port.speed", "port.width")


@dataclass(frozen=True)
class Attribute:
    """Something that a node holds.

    Parameters
    ----------
    read : callable
    write : callable, optional
        None: it can only be read.
    port : bool, optional
        Whether each port has its own; None: a node may be meant, or a port of it.
    prove : callable, optional
        Called before each write.
    """

    read: Callable[[Tools, Target], Observed]
    write: Callable[[Tools, Target, str], None] | None = None
    port: bool | None = False
    prove: Callable[[Tools, Target], None] | None = None


_CLASS = mad_congestion.prove_class
ATTRIBUTES: Mapping[str, Attribute] = {
    "cc.info": Attribute(mad_congestion.read_info, port=None),
    "cc.switch": Attribute(mad_congestion.read_switch, mad_congestion.write_switch, prove=_CLASS),
    "cc.ca": Attribute(mad_congestion.read_ca, mad_congestion.write_ca, port=True, prove=_CLASS),
    "cc.table": Attribute(mad_congestion.read_table, mad_congestion.write_table, port=True, prove=_CLASS),
    "port.info": Attribute(mad_ports.read_info, port=True),
    "port.link": Attribute(mad_ports.read_link, port=True),
    "port.state": Attribute(mad_ports.read_state, mad_ports.write_state, port=True),
    "port.speed": Attribute(mad_ports.read_speed, mad_ports.write_speed, port=True),
    "port.width": Attribute(mad_ports.read_width, mad_ports.write_width, port=True),
    "counters": Attribute(mad_counters.read_counters),
}
"""By key of a place."""


class MadDriver:
    """Reads and writes by infiniband-diags.

    Parameters
    ----------
    fabric : Fabric
        Says which LID a node has.
    options : mapping of str to str
        From `fabctl.offload.drivers.mad_tools.checked_options`.
    """

    name = "mad"
    keys: ClassVar[Mapping[str, str]] = {
        "ca": "local HCA that the tools use [default: the first with an active port]",
        "port": "its port [default: the first active one]",
        "config": "file of infiniband-diags that holds the M_Key [default: /etc/infiniband-diags/ibdiag.conf]",
    }

    def __init__(self, fabric: Fabric, options: Mapping[str, str]) -> None:
        self.options = options
        self._tools = Tools(fabric, options)
        self._training: list[Target] = []

    @classmethod
    def make(cls, options: Mapping[str, str], fabric: Fabric) -> Self:
        """Return a driver for a fabric; the tools are looked for when they are first needed."""
        return cls(fabric, checked_options(options))

    def manager(self) -> Manager | None:
        """Return None: nothing here goes through the subnet manager."""
        return None

    def read(self, place: Place) -> str | None:
        """Return what a node holds, as `observe`."""
        return self.observe(place).value

    def write(self, place: Place, value: str | None) -> None:
        """Set what a node holds.

        Raises
        ------
        RefusedError
            If it cannot be set, the node has moved to another LID, or it says that it does not have it.
        SourceError
            If the node does not answer; it may have taken the value all the same.
        """
        attribute = self._attribute(place)
        if attribute.write is None or value is None:
            raise RefusedError(f"{place.key} of {place.target} can only be read" if value else f"{place.key} cannot be removed")
        target = self._target(place, attribute)
        self._tools.prove(target)
        if attribute.prove is not None:
            attribute.prove(self._tools, target)
        if place.key in _TRAINING and mad_ports.read_link(self._tools, target).value == "up":
            self._training.append(target)
        try:
            attribute.write(self._tools, target, value)
        except (ValueError, KeyError) as error:
            raise RefusedError(f"'{value}' is no value of {place.key}") from error

    def settle(self, risk: Risk) -> None:
        """Wait until links that are trained anew are up again, or long enough; nodes do all else when they are told."""
        deadline = time.monotonic() + TRAINING_S
        while self._training and time.monotonic() < deadline:
            with suppress(SourceError):  # the way to the switch may lead over the very link
                if mad_ports.read_link(self._tools, self._training[-1]).value == "up":
                    self._training.pop()
                    continue
            time.sleep(_POLL_S)
        self._training.clear()

    def observe(self, place: Place) -> Observed:
        """Ask a node what it holds."""
        if place.key == LOCAL:
            answer = self._tools.local_guid()
            return Observed(answer.text, f"$ {answer.command}")
        attribute = self._attribute(place)
        return attribute.read(self._tools, self._target(place, attribute))

    def _attribute(self, place: Place) -> Attribute:
        try:
            return ATTRIBUTES[place.key]
        except KeyError as error:
            raise RefusedError(f"the driver 'mad' knows no '{place.key}'", hint=f"it knows {', '.join(ATTRIBUTES)}") from error

    def _target(self, place: Place, attribute: Attribute) -> Target:
        target = self._tools.target(place.target)
        if attribute.port not in (None, target.port is not None):
            raise RefusedError(f"{place.key} belongs to {'a port' if attribute.port else 'a node'}, not to {place.target}")
        return target
