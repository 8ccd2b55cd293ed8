"""Changes that may make a pair's route faster, each tried on the same traffic and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.around import Around, Ends, Figures
from fabctl.congestion.peers import Peers
from fabctl.congestion.trace import distances, with_entry
from fabctl.model.pairs import ChangeKind, Trial
from fabctl.model.tables import RoutingTables

Float64 = NDArray[np.float64]

GAIN = 1.01
"""A change helps if the route gets at least this much faster."""
HARM = 1 + 1e-6
"""And if the slowest of all flows does not get slower by this."""
ENTRIES = 8
"""Entries that are measured at most: those whose new way is least loaded."""


@dataclass(frozen=True, eq=False)
class Case:
    """The route that is to become faster.

    Parameters
    ----------
    around : Around
        What it meets.
    ends : tuple of (int, int)
        Sending and receiving port of each of the pair's legs: rail by rail, there and back.
    rails : tuple of int
        Rail of each leg.
    leg : int
        The one that is to become faster.
    channels : tuple of int
        Its way.
    before : Figures
        Of all legs.
    peers : Peers
    safe : callable
        Whether tables are free of loops and credit loops.
    """

    around: Around
    ends: Ends
    rails: tuple[int, ...]
    leg: int
    channels: tuple[int, ...]
    before: Figures
    peers: Peers
    safe: Callable[[RoutingTables], bool]

    @property
    def rate(self) -> float:
        """Bytes per second before any change."""
        return float(self.before.rate[self.leg])

    def trial(self, kind: ChangeKind, what: str, after: Around, ends: Ends | None = None) -> Trial:
        """Return what a change gives this leg."""
        figures = after.figures(self.ends if ends is None else ends)
        rate, slowest_s = float(figures.rate[self.leg]), self.around.slowest_s()
        slowest = after.slowest_s() / slowest_s if slowest_s else 1.0
        return Trial(
            kind=kind,
            what=what,
            after_gb_s=rate / 1e9,
            binds=self.around.tables.fabric.cable_label(int(figures.binds[self.leg])),
            slowest=slowest,
            helps=rate >= GAIN * self.rate and slowest <= HARM,
        )


def slow_cables(case: Case) -> Iterator[Trial]:
    """Yield what each cable on the way that is slower than its kind would give if it were not."""
    fabric = case.around.tables.fabric
    for channel in case.channels:
        common = case.peers.slower_than(channel)
        if common:
            what = f"replace or clean the cable {fabric.cable_label(channel)}: its kind runs at {common}"
            yield case.trial("cable", what, replace(case.around, rates=case.peers.mended(case.around.rates, channel)))


def other_entry(case: Case) -> Trial:
    """Return the best table entry to change: another next hop of equal length, at one switch on the way."""
    binding = case.channels.index(int(case.before.binds[case.leg]))
    moves = sorted(_moves(case, binding))[:ENTRIES]
    if not moves:
        return Trial("entry", "no other next hop of equal length avoids the cable that binds")
    tables, target = case.around.tables, case.ends[case.leg][1]
    lid = int(tables.fabric.port_lid[target])
    tried = []
    for _, switch, number in moves:
        changed = with_entry(tables, switch, lid, number)
        what = (
            f"at {tables.fabric.labels[switch]} send LID {lid} ({tables.fabric.port_label(target)}) out of port "
            f"{number} instead of {int(tables.lft[switch, lid])}"
        )
        tried.append((case.trial("entry", what, case.around.by_tables(changed, target)), changed))
    for trial, changed in sorted(tried, key=lambda pair: order_of(pair[0])):
        if not trial.helps or case.safe(changed):
            return trial
    return Trial("entry", "every other next hop of equal length that is faster could close a loop of credits")


def order_of(trial: Trial) -> tuple[bool, float, float]:
    """Return a key that puts what helps first, then the fastest route, then the least time of all flows."""
    return not trial.helps, -round(trial.after_gb_s or 0.0, 9), round(trial.slowest or 0.0, 9)


def _moves(case: Case, binding: int) -> Iterator[tuple[float, int, int]]:
    """Yield what entries before the cable that binds can name instead, on a way of equal length.

    Each is the longest drain time on the new way, the switch and the port.
    """
    around, target = case.around, case.ends[case.leg][1]
    tables, fabric = around.tables, around.tables.fabric
    lid = int(fabric.port_lid[target])
    left = distances(tables, target)
    drain = around.loads() / around.rates
    for hop in range(1, min(binding + 1, len(case.channels) - 1)):
        switch = int(fabric.channel_src[case.channels[hop]])
        for channel in range(int(fabric.channel_ptr[switch]), int(fabric.channel_ptr[switch + 1])):
            following = int(fabric.channel_dst[channel])
            if channel == case.channels[hop] or following >= fabric.n_switches:
                continue
            if left[following] != len(case.channels) - hop - 1:
                continue
            way = [channel, *_way(tables, following, lid)]
            if int(case.before.binds[case.leg]) not in way:
                yield float(drain[way].max()), switch, int(fabric.port_number[fabric.channel_port[channel]])


def _way(tables: RoutingTables, switch: int, lid: int) -> Iterator[int]:
    fabric = tables.fabric
    while switch < fabric.n_switches:
        channel = int(fabric.channel_at[switch, tables.lft[switch, lid]])
        yield channel
        switch = int(fabric.channel_dst[channel])


def other_rail(case: Case) -> Trial:
    """Return the fastest leg of the same direction on another rail."""
    same = [leg for leg in range(case.leg % 2, len(case.ends), 2) if leg != case.leg]
    if not same:
        return Trial("rail", "the pair has no other rail")
    best = max(same, key=lambda leg: (round(float(case.before.rate[leg]), 3), -leg))
    rate, fabric = float(case.before.rate[best]), case.around.tables.fabric
    name = f"rail {case.rails[best]}" if case.rails[best] >= 0 else fabric.port_label(case.ends[best][0])
    return Trial(
        kind="rail",
        what=f"use {name} ({fabric.port_label(case.ends[best][0])} > {fabric.port_label(case.ends[best][1])})",
        after_gb_s=rate / 1e9,
        binds=fabric.cable_label(int(case.before.binds[best])),
        helps=rate >= GAIN * case.rate,
    )
