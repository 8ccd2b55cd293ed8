"""Squares: four switches in a circle of links, with neither diagonal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.routing.grid_links import Links

Int64 = NDArray[np.int64]

WALKS = 1 << 18
"""Walks of two links that are looked at in one go."""
MOST_BROKEN = 8
"""A grid lacks fewer than one in so many links."""


def no_grid(why: str) -> RefusedError:
    """Return the error that says why a fabric is no grid."""
    return RefusedError(
        f"this fabric is no grid: {why}",
        hint="--engine auto picks by structure; --engine updn routes any fabric without credit loops",
    )


def find_squares(fabric: Fabric, links: Links) -> Int64:
    """Return the squares as pairs of opposite sides, shape (n, 4): a link, its opposite, another from its corner, its opposite.

    Opposite sides point the same way. They are found from the pairs of switches that are not joined and have exactly two common
    neighbours: in a grid, missing links apart, there are never more.

    Raises
    ------
    RefusedError
        If so many pairs in a part of the fabric have more than two common neighbours that missing links cannot be why.

    Complexity
    ----------
    O(sum over switches of their degree squared); fabrics that are no grid, trees above all, are told by their first switches.
    """
    n, degree = fabric.n_switches, np.diff(links.ptr)
    walks = np.concatenate([[0], np.cumsum(np.bincount(links.src, weights=degree[links.dst], minlength=n))]).astype(np.int64)
    found = [np.zeros((0, 4), dtype=np.int64)]
    begin = 0
    while begin < n:
        room = min(begin + max(1, WALKS // n), n)
        end = max(begin + 1, min(room, int(np.searchsorted(walks, walks[begin] + WALKS))))
        found.append(_squares_of(fabric, links, degree, begin, end))
        begin = end
    return np.concatenate(found)


def _squares_of(fabric: Fabric, links: Links, degree: Int64, begin: int, end: int) -> Int64:
    """Return the squares that have a corner in ``begin .. end - 1``, and the one across at a higher index."""
    n = fabric.n_switches
    out = np.arange(links.ptr[begin], links.ptr[end])
    steps = degree[links.dst[out]]
    first = np.repeat(out, steps)
    second = np.arange(len(first)) - np.repeat(np.cumsum(steps) - steps - links.ptr[links.dst[out]], steps)
    key = (links.src[first] - begin) * n + links.dst[second]
    count = np.bincount(key, minlength=(end - begin) * n)
    near = np.concatenate([(links.src[out] - begin) * n + links.dst[out], np.arange(end - begin) * n + np.arange(begin, end)])
    count[near] = 0
    if MOST_BROKEN * np.count_nonzero(count > 2) > len(out):
        pair = int(np.argmax(count))
        here, there = fabric.labels[begin + pair // n], fabric.labels[pair % n]
        raise no_grid(f"{here} and {there} have {int(count[pair])} common neighbours")
    kept = np.flatnonzero((count[key] == 2) & (links.src[first] < links.dst[second]))
    pairs = kept[np.argsort(key[kept], kind="stable")].reshape(-1, 2)
    one, other = first[pairs[:, 0]], first[pairs[:, 1]]
    chordless = links.find(links.dst[one], links.dst[other]) < 0
    one_on, other_on = second[pairs[chordless, 0]], second[pairs[chordless, 1]]
    return np.stack([one[chordless], other_on, other[chordless], one_on], axis=1)
