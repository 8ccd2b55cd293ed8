"""What switches and HCAs hold of IBA congestion control, as the text that plans and journals keep.

Source of the fields: InfiniBand Architecture Specification volume 1, annex A10 (attributes SwitchCongestionSetting,
CACongestionSetting, CongestionControlTable), as libibmad and OpenSM name them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Self

N_SLS = 16
N_PORTS = 255
"""Ports that a mask can name: bit `n` is port `n`, bit 255 is reserved."""

_ENTRY = re.compile(r"(\d+):(\d+)(?:-(\d+))?")
_LEVELS = re.compile(r"SL(\d+)(?:-(\d+))?=(\d+):(\d+):(\d+):(\d+)")


@dataclass(frozen=True)
class SwitchSetting:
    """How a switch marks packets, for all its ports.

    Parameters
    ----------
    threshold : int
        0 none, 1 loose ... 15 aggressive.
    marking_rate : int
        Mean number of packets between two that are marked.
    packet_size : int
        Smaller packets are not marked; credits of 64 bytes.
    victim_mask : int
        Ports that mark whether they are the root of congestion or its victim.
    credit_mask : int
        Ports that act on credit starvation.
    cs_threshold : int
        Credit starvation: 0 none ... 15 aggressive.
    cs_return_delay : str
        ``shift:multiplier``.
    """

    threshold: int
    marking_rate: int
    packet_size: int
    victim_mask: int
    credit_mask: int
    cs_threshold: int
    cs_return_delay: str

    @property
    def text(self) -> str:
        """One line, the same for equal settings."""
        return " ".join(
            f"{field.name}={value:#x}" if field.name.endswith("mask") else f"{field.name}={value}"
            for field in fields(self)
            for value in [getattr(self, field.name)]
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the setting that `text` shows.

        Raises
        ------
        ValueError
            If it is no such text.

        Examples
        --------
        >>> line = "threshold=15 marking_rate=10 packet_size=8 victim_mask=0x6 credit_mask=0x0 cs_threshold=0 cs_return_delay=0:0"
        >>> SwitchSetting.parse(line).victim_mask, SwitchSetting.parse(line).text == line
        (6, True)
        """
        words: Mapping[str, str] = dict(word.split("=", 1) for word in text.split())
        if list(words) != [field.name for field in fields(cls)]:
            raise ValueError(f"no switch congestion setting: {text!r}")
        numbers = {name: int(word, 0) for name, word in words.items() if name != "cs_return_delay"}
        return cls(**numbers, cs_return_delay=words["cs_return_delay"])

    @property
    def is_zero(self) -> bool:
        """Whether every field is zero: a switch that never was set, or a tool that printed nothing as zeros."""
        return not any(
            (self.threshold, self.marking_rate, self.packet_size, self.victim_mask, self.credit_mask, self.cs_threshold)
        )


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
        """One line, the same for equal settings: ``port_control=0 SL0-7=150:1:2:0 SL8-15=0:0:0:0``."""
        words = [f"port_control={self.port_control}"]
        for reaction, group in groupby(range(N_SLS), key=lambda sl: self.reactions[sl]):
            levels = list(group)
            name = f"SL{levels[0]}" if len(levels) == 1 else f"SL{levels[0]}-{levels[-1]}"
            words.append(f"{name}={reaction.timer}:{reaction.increase}:{reaction.trigger}:{reaction.minimum}")
        return " ".join(words)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the setting that `text` shows.

        Raises
        ------
        ValueError
            If it is no such text.

        Examples
        --------
        >>> line = "port_control=0 SL0-7=150:1:2:0 SL8-15=0:0:0:0"
        >>> CaSetting.parse(line).reactions[7].timer, CaSetting.parse(line).text == line
        (150, True)
        """
        head, *words = text.split()
        name, _, control = head.partition("=")
        reactions: list[Reaction] = []
        for word in words:
            match = _LEVELS.fullmatch(word)
            if match is None or int(match[1]) != len(reactions):
                raise ValueError(f"no HCA congestion setting: {text!r}")
            timer, increase, trigger, minimum = (int(match[group]) for group in range(3, 7))
            reactions += [Reaction(timer, increase, trigger, minimum)] * (int(match[2] or match[1]) - int(match[1]) + 1)
        if name != "port_control" or len(reactions) != N_SLS:
            raise ValueError(f"no HCA congestion setting: {text!r}")
        return cls(int(control), tuple(reactions))

    @property
    def is_zero(self) -> bool:
        """Whether every field is zero."""
        return not self.port_control and set(self.reactions) == {Reaction(0, 0, 0, 0)}

    def reacting(self, levels: frozenset[int], reaction: Reaction) -> Self:
        """Return the setting in which some SLs react so, and all others not at all."""
        idle = Reaction(0, 0, 0, 0)
        return replace(self, reactions=tuple(reaction if sl in levels else idle for sl in range(N_SLS)))


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
