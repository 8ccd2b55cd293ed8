"""State, speed and width of one port: read by ``smpquery portinfo``, set by ``ibportstate``.

``ibportstate query`` is not used: it also asks the port at the other end, and fails where that does not answer. The answer to a
Set may be lost with the very link that it takes down, and the switch be out of reach until the subnet manager has routed around:
so a Set without an answer is followed by reading until the switch answers again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from fabctl.errors import RefusedError, SourceError
from fabctl.offload.driver import Observed
from fabctl.offload.drivers.mad_text import fields
from fabctl.offload.drivers.mad_tools import Target, Tools
from fabctl.offload.simulator import refuse_ports
from fabctl.units import Speed, speed_from_gbps

BASE = {Speed.SDR: 1, Speed.DDR: 2, Speed.QDR: 4}
"""Bits of LinkSpeedEnabled (IBA vol. 1, 14.2.5.6)."""

EXTENDED = {Speed.FDR: 1, Speed.EDR: 2, Speed.HDR: 4, Speed.NDR: 8}
"""Bits of LinkSpeedExtEnabled that ``ibportstate`` of infiniband-diags 44 can set; XDR has its own field since then."""

WIDTHS = {"1X": 1, "4X": 2, "8X": 4, "12X": 8, "2X": 16}
"""Bits of LinkWidthEnabled."""

REROUTE_S = 60.0
"""How long a switch may be out of reach after one of its ports was set: OpenSM sweeps every 10 s, and when a switch reports."""

_POLL_S = 0.5
_NO_EXTENDED = 30
"""LinkSpeedExtEnabled that switches all extended speeds off."""

_DISABLED = "Disabled"
_UP = "LinkUp"


@dataclass(frozen=True)
class PortInfo:
    """A port as it says that it is.

    Parameters
    ----------
    state, physical : str
        ``Active``, ``LinkUp``.
    speeds, supported_speeds : tuple of Speed
        Enabled, and possible; slowest first.
    widths, supported_widths : tuple of str
    """

    state: str
    physical: str
    speeds: tuple[Speed, ...]
    supported_speeds: tuple[Speed, ...]
    widths: tuple[str, ...]
    supported_widths: tuple[str, ...]

    @property
    def text(self) -> str:
        """One line of what the port is and can be."""
        return (
            f"state={self.state} physical={self.physical} speeds={_joined(self.speeds)}"
            f" supported_speeds={_joined(self.supported_speeds)} widths={','.join(self.widths)}"
            f" supported_widths={','.join(self.supported_widths)}"
        )


def read_info(tools: Tools, target: Target) -> Observed:
    """Return what a port is and can be."""
    info, evidence = _port_info(tools, target)
    return Observed(info.text, evidence)


def read_state(tools: Tools, target: Target) -> Observed:
    """Return ``enabled`` or ``disabled``."""
    info, evidence = _port_info(tools, target)
    return Observed("disabled" if info.physical == _DISABLED else "enabled", evidence)


def read_link(tools: Tools, target: Target) -> Observed:
    """Return ``up`` where the link is trained, else ``down``."""
    info, evidence = _port_info(tools, target)
    return Observed("up" if info.physical == _UP else "down", evidence)


def read_speed(tools: Tools, target: Target) -> Observed:
    """Return the enabled speeds, slowest first."""
    info, evidence = _port_info(tools, target)
    return Observed(_joined(info.speeds), evidence)


def read_width(tools: Tools, target: Target) -> Observed:
    """Return the enabled widths, narrowest first."""
    info, evidence = _port_info(tools, target)
    return Observed(",".join(info.widths), evidence)


def write_state(tools: Tools, target: Target, value: str) -> None:
    """Enable or disable a port."""
    if value not in ("enabled", "disabled"):
        raise RefusedError(f"'{value}' is no state of a port")
    _set(tools, target, value.removesuffix("d"))


def write_speed(tools: Tools, target: Target, value: str) -> None:
    """Enable some speeds, and train the link anew."""
    speeds = {Speed[name] for name in value.split(",")}
    foreign = sorted(speeds - BASE.keys() - EXTENDED.keys())
    if foreign:
        raise RefusedError(f"ibportstate cannot set {_joined(foreign)}")
    info, _ = _port_info(tools, target)
    words = ["speed", str(sum(bit for speed, bit in BASE.items() if speed in speeds))]
    if EXTENDED.keys() & set(info.supported_speeds):
        words += ["espeed", str(sum(bit for speed, bit in EXTENDED.items() if speed in speeds) or _NO_EXTENDED)]
    _set(tools, target, *words, *_trained(info))


def write_width(tools: Tools, target: Target, value: str) -> None:
    """Enable some widths, and train the link anew."""
    bits = sum(WIDTHS[name] for name in value.split(","))
    info, _ = _port_info(tools, target)
    _set(tools, target, "width", str(bits), *_trained(info))


def _trained(info: PortInfo) -> list[str]:
    """Return the word that has a link trained anew; none for a port that is switched off, which it would switch on."""
    return [] if info.physical == _DISABLED else ["reset"]


def _set(tools: Tools, target: Target, *words: str) -> None:
    """Set a port; where no answer comes, wait until the switch can be asked again, and leave the judgement to who reads."""
    refuse_ports()
    try:
        tools.ask("ibportstate", "", target, str(target.port), *words)
    except SourceError:
        deadline = time.monotonic() + REROUTE_S
        while not _answers(tools, target, last=time.monotonic() > deadline):
            time.sleep(_POLL_S)


def _answers(tools: Tools, target: Target, *, last: bool) -> bool:
    try:
        _port_info(tools, target)
    except SourceError:
        if last:
            raise
        return False
    return True


def _port_info(tools: Tools, target: Target) -> tuple[PortInfo, str]:
    answer = tools.ask("smpquery", "portinfo", target, str(target.port))
    found = fields(answer.text)
    names = ["LinkState", "PhysLinkState", "LinkWidthEnabled", "LinkWidthSupported", "LinkSpeedEnabled", "LinkSpeedSupported"]
    missing = [name for name in names if not found.get(name)]
    if missing:
        raise SourceError(f"{target.label}: the answer holds no {missing[0]}; the tool printed half of it")
    if found["PhysLinkState"] == "NoChange":
        raise SourceError(f"{target.label}: the answer is all zeros: no port is in such a state")
    info = PortInfo(
        found["LinkState"],
        found["PhysLinkState"],
        _speeds(found["LinkSpeedEnabled"], found.get("LinkSpeedExtEnabled", ""), target),
        _speeds(found["LinkSpeedSupported"], found.get("LinkSpeedExtSupported", ""), target),
        _widths(found["LinkWidthEnabled"], target),
        _widths(found["LinkWidthSupported"], target),
    )
    shown = [f"{name} {found[name]}" for name in names[:3]] + [f"{name} {found[name]}" for name in found if "SpeedE" in name]
    return info, f"$ {answer.command}\n" + "\n".join(shown)


def _speeds(base: str, extended: str, target: Target) -> tuple[Speed, ...]:
    """Return the speeds of ``2.5 Gbps or 5.0 Gbps or 10.0 Gbps`` and ``14.0625 Gbps or 25.78125 Gbps``."""
    found = set()
    for word in _alternatives(base) + ([] if "disabled" in extended else _alternatives(extended)):
        if word in ("0", "Extended speed", "No Extended Speed"):
            continue
        rate, _, unit = word.partition(" ")
        try:
            speed = speed_from_gbps(float(rate)) if unit == "Gbps" else Speed.UNKNOWN
        except ValueError:
            speed = Speed.UNKNOWN
        if speed is Speed.UNKNOWN:
            raise SourceError(f"{target.label}: a speed that this smpquery does not know: '{word}'")
        found.add(speed)
    return tuple(sorted(found))


def _widths(text: str, target: Target) -> tuple[str, ...]:
    found = _alternatives(text)
    if not set(found) <= WIDTHS.keys():
        raise SourceError(f"{target.label}: a width that this smpquery does not know: '{text}'")
    return tuple(sorted(found, key=lambda name: int(name.removesuffix("X"))))


def _alternatives(text: str) -> list[str]:
    return [word for word in text.replace("(IBA extension)", "").strip().split(" or ") if word]


def _joined(speeds: Sequence[Speed]) -> str:
    return ",".join(speed.name for speed in speeds)
