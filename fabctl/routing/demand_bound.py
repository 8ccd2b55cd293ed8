"""How hot the hottest channel must be, whatever the tables: the hosts' own channels, and what each leaf's links must share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.routing.demand import Demand, Loads
from fabctl.routing.paths import switch_channels

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class HeatBound:
    """A lower bound of the hottest channel's heat.

    Parameters
    ----------
    heat : float
    why : str
        What sets it, for people.
    """

    heat: float
    why: str


def heat_bound(wanted: Demand) -> HeatBound:
    """Return the greatest of the bounds.

    Notes
    -----
    Tables send all traffic of a switch for a destination out on one link, and all traffic from a switch for a destination in on
    one. Of such bundles of loads ``a[0] >= a[1] >= ...``, some one of `m` links gets ``k + 1`` of the first ``k m + 1``: no less
    than the sum of the ``k + 1`` smallest of these.

    Complexity
    ----------
    O(entries log entries).
    """
    fabric = wanted.fabric
    own = float(Loads(wanted, wanted.still).heat.max(initial=0))
    best = HeatBound(own, "the hosts' own cables")
    channels = switch_channels(fabric)
    row = np.repeat(np.arange(len(wanted.ports)), np.diff(wanted.first))
    bundle = row.astype(np.int64) * fabric.n_switches + wanted.leaf
    for at, ends, way in ((wanted.leaf, fabric.channel_src, "out of"), (wanted.home[row], fabric.channel_dst, "into")):
        links = np.bincount(ends[channels], minlength=fabric.n_switches)
        least = np.full(fabric.n_switches, np.inf)
        np.minimum.at(least, ends[channels], wanted.slowness[channels])
        room = np.bincount(ends[channels], weights=1 / wanted.slowness[channels], minlength=fabric.n_switches).astype(np.float64)
        mean = np.zeros_like(wanted.phase), wanted.amount * wanted.share[wanted.phase]
        for kind, amount in (mean, (wanted.phase, wanted.amount)):
            for switch, heat in _shared(at, kind, bundle, amount, links, least, room):
                if heat > best.heat * (1 + 1e-9):
                    best = HeatBound(heat, f"the {links[switch]} links {way} {fabric.labels[switch]}")
    return best


def _shared(
    at: NDArray[np.int32],
    kind: NDArray[np.integer],
    bundle: Int64,
    amount: Float64,
    links: Int64,
    least: Float64,
    room: Float64,
) -> list[tuple[int, float]]:
    """Return the switch with the highest bound of each sort, and the bound: by even shares, and by whole bundles."""
    if not len(at):
        return []
    order = np.lexsort((bundle, at, kind))
    at, kind, bundle, amount = at[order], kind[order], bundle[order], amount[order]
    start = np.flatnonzero(_changes(bundle, at, kind))
    amount, at, kind = np.add.reduceat(amount, start), at[start], kind[start]
    order = np.lexsort((-amount, at, kind))
    at, kind, amount = at[order], kind[order], amount[order]
    group = np.flatnonzero(_changes(at, kind))
    even = np.add.reduceat(amount, group) / room[at[group]]
    place = np.arange(len(at)) - np.repeat(group, np.diff(np.append(group, len(at))))
    several, left = np.divmod(place, links[at])
    total = np.append(0.0, np.cumsum(amount))
    last = np.arange(1, len(at) + 1)
    whole = np.where(left == 0, total[last] - total[last - 1 - several], 0.0) * least[at]
    first, second = int(np.argmax(even)), int(np.argmax(whole))
    return [(int(at[group[first]]), float(even[first])), (int(at[second]), float(whole[second]))]


def _changes(*keys: NDArray[np.integer]) -> NDArray[np.bool_]:
    new = np.zeros(len(keys[0]), dtype=bool)
    new[:1] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return new
