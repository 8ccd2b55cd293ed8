"""What switches and HCAs hold of IBA congestion control, as the text that plans and journals keep.

Source of the fields: InfiniBand Architecture Specification volume 1, annex A10 (attributes SwitchCongestionSetting,
CACongestionSetting, CongestionControlTable), as libibmad and OpenSM name them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Self

N_SLS = 16
N_PORTS = 255
"""Ports that a mask can name: bit `n` is port `n`, bit 255 is reserved."""

_ENTRY = re.compile(r"(\d+):(\d+)(?:-(\d+))?")
_LEVELS = re.compile(r"SL(\d+)(?:-(\d+))?=(\d+):(\d+):(\d+):(\d+)")
_PORTS = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?")
_IDLE = "no reaction"


@dataclass(frozen=True)
class SwitchSetting:
    """How a switch marks packets, for all its ports.

    Parameters
    ----------
    threshold : int
        0 none, 1 loose ... 15 aggressive.
    rate : int
        Mean number of packets between two that are marked (Marking_Rate).
    size : int
        Smaller packets are not marked; credits of 64 bytes (Packet_Size).
    victims : int
        Mask of ports that mark whether they are the root of congestion or its victim (Victim_Mask).
    credits : int
        Mask of ports that act on credit starvation (Credit_Mask).
    starving : int
        Credit starvation: 0 none ... 15 aggressive (CS_Threshold).
    delay : str
        ``shift:multiplier`` (CS_ReturnDelay).
    """

    threshold: int = 0
    rate: int = 0
    size: int = 0
    victims: int = 0
    credits: int = 0
    starving: int = 0
    delay: str = "0:0"

    @property
    def text(self) -> str:
        """One line, the same for equal settings: the threshold, and what else is not zero; masks as port numbers.

        Examples
        --------
        >>> SwitchSetting(threshold=15, rate=10, size=8, victims=0x2001E).text
        'threshold=15 rate=10 size=8 victims=1-4,17'
        """
        words = [f"threshold={self.threshold}"]
        for name, default in list(_NOTHING.items())[1:]:
            value = getattr(self, name)
            if value != default:
                words.append(f"{name}={ports_text(value) if name in _MASKS else value}")
        return " ".join(words)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the setting that `text` shows.

        Raises
        ------
        ValueError
            If it is no such text.
        """
        found: dict[str, int | str] = {}
        for word in text.split():
            name, _, value = word.partition("=")
            if name not in _NOTHING or name in found:
                raise ValueError(f"no switch congestion setting: {text!r}")
            found[name] = parse_ports(value) if name in _MASKS else value if name == "delay" else int(value)
        if "threshold" not in found:
            raise ValueError(f"no switch congestion setting: {text!r}")
        return cls(**found)  # type: ignore[arg-type]


_NOTHING = {field.name: field.default for field in fields(SwitchSetting)}
_MASKS = ("victims", "credits")


def ports_text(mask: int) -> str:
    """Return the ports of a mask as numbers and ranges.

    Examples
    --------
    >>> ports_text(0x2001E), ports_text(0)
    ('1-4,17', 'none')
    """
    words = []
    for _, group in groupby(
        enumerate(port for port in range(mask.bit_length()) if mask >> port & 1), lambda pair: pair[1] - pair[0]
    ):
        run = [port for _, port in group]
        words.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ",".join(words) or "none"


def parse_ports(text: str) -> int:
    """Return the mask of ports that numbers and ranges name.

    Raises
    ------
    ValueError
        If they are no ports of a switch: 0 to 254.

    Examples
    --------
    >>> hex(parse_ports("1-4,17")), parse_ports("none")
    ('0x2001e', 0)
    """
    mask = 0
    for word in text.split(",") if text != "none" else ():
        match = _PORTS.fullmatch(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < N_PORTS:
            raise ValueError(f"'{word}' is no port, and no range of ports")
        mask |= (1 << last + 1) - (1 << first)
    return mask


@dataclass(frozen=True)
class Reaction:
    """How an HCA slows down on one SL.

    Parameters
    ----------
    timer : int
        After this time the table index falls by one; units of 1.024 us.
    increase : int
        Added to the table index when a BECN arrives.
    trigger : int
        Index at which an event is logged.
    minimum : int
        Lowest table index.
    """

    timer: int
    increase: int
    trigger: int
    minimum: int


IDLE = Reaction(0, 0, 0, 0)
"""An HCA that does not slow down."""


@dataclass(frozen=True)
class CaSetting:
    """How a port of an HCA reacts to marked packets.

    Parameters
    ----------
    port_control : int
        Bit 0: 0 by queue pair, 1 by SL.
    reactions : tuple of 16 Reaction
        By SL.
    """

    port_control: int
    reactions: tuple[Reaction, ...]

    @property
    def text(self) -> str:
        """One line, the same for equal settings: SLs that react, each with timer, increase, trigger and minimum.

        Examples
        --------
        >>> CaSetting(1, (Reaction(150, 1, 2, 0),) * 8 + (Reaction(0, 0, 0, 0),) * 8).text
        'port_control=1 SL0-7=150:1:2:0'
        """
        words = [f"port_control={self.port_control}"] if self.port_control else []
        for reaction, group in groupby(range(N_SLS), key=lambda sl: self.reactions[sl]):
            levels = list(group)
            name = f"SL{levels[0]}" if len(levels) == 1 else f"SL{levels[0]}-{levels[-1]}"
            if reaction != IDLE:
                words.append(f"{name}={reaction.timer}:{reaction.increase}:{reaction.trigger}:{reaction.minimum}")
        return " ".join(words) or _IDLE

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the setting that `text` shows.

        Raises
        ------
        ValueError
            If it is no such text.
        """
        control, reactions = 0, [IDLE] * N_SLS
        for word in text.split() if text != _IDLE else ():
            name, _, value = word.partition("=")
            match = _LEVELS.fullmatch(word)
            if match:
                first, last = int(match[1]), int(match[2] or match[1])
                if not first <= last < N_SLS:
                    raise ValueError(f"no HCA congestion setting: {text!r}")
                reactions[first : last + 1] = [Reaction(*map(int, match.groups()[2:]))] * (last - first + 1)
            elif name == "port_control":
                control = int(value)
            else:
                raise ValueError(f"no HCA congestion setting: {text!r}")
        return cls(control, tuple(reactions))

    def reacting(self, levels: frozenset[int], reaction: Reaction) -> Self:
        """Return the setting in which some SLs react so, and all others not at all."""
        return replace(self, reactions=tuple(reaction if sl in levels else IDLE for sl in range(N_SLS)))


def table_text(entries: list[tuple[int, int]]) -> str:
    """Return a congestion control table: ``shift:multiplier`` for each entry, runs that count up by one shortened.

    Examples
    --------
    >>> table_text([(0, 0), (0, 1), (0, 2), (1, 2)])
    '0:0-2,1:2'
    """
    words = []
    for _, group in groupby(enumerate(entries), key=lambda pair: (pair[1][0], pair[1][1] - pair[0])):
        run = [entry for _, entry in group]
        words.append(f"{run[0][0]}:{run[0][1]}" + (f"-{run[-1][1]}" if len(run) > 1 else ""))
    return ",".join(words)


def parse_table(text: str) -> list[tuple[int, int]]:
    """Return the entries of a table as (shift, multiplier).

    Raises
    ------
    ValueError
        If it is no such text, or has values that no table has.

    Examples
    --------
    >>> parse_table("0:0-2,1:2")
    [(0, 0), (0, 1), (0, 2), (1, 2)]
    """
    entries: list[tuple[int, int]] = []
    for word in text.split(","):
        match = _ENTRY.fullmatch(word)
        if match is None:
            raise ValueError(f"'{word}' is no entry shift:multiplier")
        first, last = int(match[2]), int(match[3] or match[2])
        if int(match[1]) > 3 or last > 0x3FFF or last < first:
            raise ValueError(f"'{word}': a shift is 0 to 3, a multiplier 0 to 16383")
        entries += [(int(match[1]), multiplier) for multiplier in range(first, last + 1)]
    return entries
