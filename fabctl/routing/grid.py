"""Grids found by their cabling: meshes, tori, hypercubes, HyperX; products of lines, rings and full meshes.

Two links of different dimensions at a switch are the sides of one square, whose opposite sides are parallel; two of the same
dimension never are (Imrich and Klavzar, Product Graphs, 2000, chapter 4). So links that are opposite sides of squares belong
together, such classes that form squares with the same other classes make a dimension, and what its links join, all others left
out, are the places along it. Neither names nor port numbers are believed; these only give the dimensions their order. A ring of
four is the product of two links, and is found as such. Missing switches and cables take squares away, but make none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric
from fabctl.routing.grid_links import Links, common_labels, switch_links
from fabctl.routing.squares import find_squares, no_grid

Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]
Kind = Literal["line", "ring", "full"]

MOST_CLASSES = 4096
"""Classes of parallel links: a HyperX of 64 x 64 has 4,032."""
MOST_DIMENSIONS = 15
"""A hypercube of more has more switches than a subnet has LIDs."""
LIKENESS = 0.5
"""Classes of one dimension have at least this share of the classes that they form no square with in common."""
FULL = 0.75
"""A dimension with this share of a full mesh's links is one that lacks some."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the switches of a grid stand.

    Parameters
    ----------
    sizes : tuple of int
        Places along each dimension, by ascending port numbers of the dimension's links.
    kinds : tuple of {"line", "ring", "full"}
        How each dimension's places are joined: to the next, to the next in a circle, or all to all; two places are "full".
    place : int64 array of shape (n_switches, n_dimensions)
        Coordinates; neighbours along lines and rings have consecutive ones.
    channel_dimension : int16 array of shape (n_channels,)
        Dimension of each channel between switches, -1 for others.
    """

    sizes: tuple[int, ...]
    kinds: tuple[Kind, ...]
    place: Int64
    channel_dimension: NDArray[np.int16]

    @property
    def text(self) -> str:
        """For people: ``ring 8 x ring 8 x line 3``."""
        return " x ".join(f"{kind} {size}" for kind, size in zip(self.kinds, self.sizes, strict=True))

    @property
    def missing(self) -> int:
        """Places without a switch."""
        return int(np.prod(self.sizes)) - len(self.place)


def find_grid(fabric: Fabric) -> Grid:
    """Return the grid that a fabric's switches form, with places and cables missing at most here and there.

    Raises
    ------
    RefusedError
        If they form none; with a switch or a cable that does not fit.

    Complexity
    ----------
    O(sum over switches of their degree squared), and O(dimensions x classes of parallel links squared).
    """
    links = switch_links(fabric)
    if not len(links.src):
        raise no_grid("it has no cables between switches")
    part = common_labels(fabric.n_switches, links.src, links.dst)
    if part.any():
        raise no_grid(f"{fabric.labels[int(np.flatnonzero(part)[0])]} cannot reach {fabric.labels[0]}: the fabric is in parts")
    squares = find_squares(fabric, links)
    sides = np.concatenate([squares[:, :2], squares[:, 2:]])
    sides = np.concatenate([sides, links.reverse[sides]])
    parallel = np.unique(common_labels(len(links.src), sides[:, 0], sides[:, 1]), return_inverse=True)[1]
    either = np.minimum(parallel, parallel[links.reverse])
    dimension = _dimensions(fabric, links, either, squares)
    axes = [_axis(fabric, links, parallel, dimension, axis) for axis in range(int(dimension.max()) + 1)]
    place = np.stack([position for _, _, position in axes], axis=1)
    joins = [join for _, join, _ in axes]
    _place_strays(fabric, links, place, joins)
    dimension = _check(fabric, links, place, joins)
    kinds = [kind for kind, _, _ in axes]
    return _ordered(fabric, links, dimension, kinds, place, [len(join) for join in joins])


def _dimensions(fabric: Fabric, links: Links, either: Int64, squares: Int64) -> Int64:
    """Return the dimension of each link; -1 for links in no square, where others are in some."""
    if not len(squares):
        return np.zeros(len(links.src), dtype=np.int64)
    # squares are (first, its opposite, second, its opposite): first and second meet at a corner
    one, other = either[squares[:, 0]], either[squares[:, 2]]
    classes, index = np.unique(np.concatenate([one, other]), return_inverse=True)
    if len(classes) > MOST_CLASSES:
        raise no_grid(f"its links fall into {len(classes)} parallel classes")
    one, other = np.split(index, 2)
    apart = np.zeros((len(classes), len(classes)), dtype=bool)
    apart[one, other] = apart[other, one] = True
    weight = np.bincount(index, minlength=len(classes))
    dimension = np.full(len(classes), -1, dtype=np.int64)
    while (dimension < 0).any():
        if dimension.max() >= MOST_DIMENSIONS - 1:
            raise no_grid(f"its squares, those of {fabric.labels[0]} among them, have more than {MOST_DIMENSIONS} directions")
        leader = int(np.argmax(np.where(dimension < 0, weight, -1)))
        both = (~apart[leader] & ~apart).sum(axis=1)
        any_of = (~apart[leader] | ~apart).sum(axis=1)
        dimension[(dimension < 0) & (both >= LIKENESS * any_of)] = int(dimension.max()) + 1
    of_link = np.full(int(either.max()) + 1, -1, dtype=np.int64)
    of_link[classes] = dimension
    return of_link[either]


def _axis(fabric: Fabric, links: Links, parallel: Int64, dimension: Int64, axis: int) -> tuple[Kind, Bools, Int64]:
    """Return a dimension's kind, which of its places are joined, and the place of each switch, -1 where not known yet.

    Switches stand at the same place if links of other dimensions join them, or links that are parallel lead from both.
    """
    own, others = np.flatnonzero(dimension == axis), np.flatnonzero((dimension >= 0) & (dimension != axis))
    own = own[np.argsort(parallel[own], kind="stable")]
    first = own[np.searchsorted(parallel[own], parallel[own])]
    label = common_labels(
        fabric.n_switches,
        np.concatenate([links.src[others], links.src[own]]),
        np.concatenate([links.dst[others], links.src[first]]),
    )
    known = np.zeros(fabric.n_switches, dtype=bool)
    known[links.src[dimension >= 0]] = True
    labels, position = np.unique(label[known], return_inverse=True)
    place = np.full(fabric.n_switches, -1, dtype=np.int64)
    place[known] = position
    joined = np.zeros((len(labels), len(labels)), dtype=bool)
    joined[place[links.src[own]], place[links.dst[own]]] = True
    if joined.diagonal().any():
        bad = own[place[links.src[own]] == place[links.dst[own]]][0]
        raise no_grid(f"{links.text(fabric, int(bad))} joins switches that other cables put in one place")
    kind, order = _shape(joined)
    if kind is None:
        degree = joined.sum(axis=1)
        odd = int(np.argmax(degree == degree.max()))
        name = fabric.labels[int(np.flatnonzero(place == odd)[0])]
        raise no_grid(
            f"{len(labels)} places around {name} are joined by {int(joined.sum()) // 2} links: no line, no ring, no full mesh"
        )
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    place[known] = rank[place[known]]
    return kind, joined[np.ix_(order, order)], place


def _shape(joined: Bools) -> tuple[Kind | None, Int64]:
    """Return the kind of a dimension, None for none, and its places in order along it."""
    size, degree = len(joined), joined.sum(axis=1)
    n_joins = int(degree.sum()) // 2
    order = np.arange(size)
    if size == 2 or 2 * n_joins == size * (size - 1):
        return "full", order
    kind: Kind
    if n_joins == size - 1 and degree.max() == 2:
        kind, start = "line", int(np.argmax(degree == 1))
    elif degree.min() == degree.max() == 2:
        kind, start = "ring", 0
    else:
        return ("full" if 2 * n_joins >= FULL * size * (size - 1) else None), order
    walk = [start]
    while len(walk) < size:
        onward = [place for place in np.flatnonzero(joined[walk[-1]]).tolist() if place not in walk[-2:]]
        if not onward or onward[0] == start:
            return None, order
        walk.append(onward[0])
    return kind, np.array(walk)


def _place_strays(fabric: Fabric, links: Links, place: Int64, joins: list[Bools]) -> None:
    """Give switches whose links are in no square any free place beside all their neighbours."""
    waiting = np.flatnonzero(place[:, 0] < 0).tolist()
    if 2 * len(waiting) > len(place):
        raise no_grid(f"{len(waiting)} switches are in no square: {fabric.labels[waiting[0]]}")
    taken = {tuple(cell) for cell in place[place[:, 0] >= 0].tolist()}
    while waiting:
        for switch in waiting:
            around = links.dst[links.ptr[switch] : links.ptr[switch + 1]]
            settled = around[place[around, 0] >= 0]
            if len(settled):
                break
        cells = [_beside(place[other].tolist(), joins) for other in settled.tolist()]
        free = sorted(set(cells[0]).intersection(*cells[1:]) - taken)
        if not free:
            raise no_grid(f"there is no place for {fabric.labels[switch]}")
        place[switch] = free[0]
        taken.add(free[0])
        waiting.remove(switch)


def _beside(cell: list[int], joins: list[Bools]) -> set[tuple[int, ...]]:
    return {
        (*cell[:axis], other, *cell[axis + 1 :])
        for axis, join in enumerate(joins)
        for other in np.flatnonzero(join[cell[axis]]).tolist()
    }


def _check(fabric: Fabric, links: Links, place: Int64, joins: list[Bools]) -> Int64:
    """Return the dimension of every link: the one in which its ends differ, and are joined."""
    sizes = np.array([len(join) for join in joins])
    cells = np.ravel_multi_index(tuple(place.T), tuple(sizes))
    first, count = np.unique(cells, return_index=True, return_counts=True)[1:]
    if (count > 1).any():
        twice = np.flatnonzero(cells == cells[first[count > 1][0]])
        raise no_grid(f"{fabric.labels[twice[0]]} and {fabric.labels[twice[1]]} would stand in one place")
    if 2 * len(place) <= sizes.prod():
        raise no_grid(f"only {len(place)} of {sizes.prod()} places would have a switch, {fabric.labels[0]} among them")
    here, there = place[links.src], place[links.dst]
    differs = here != there
    axis = np.argmax(differs, axis=1)
    rows = np.arange(len(axis))
    fits = differs.sum(axis=1) == 1
    for number, join in enumerate(joins):
        mine = axis == number
        fits[mine] &= join[here[rows[mine], number], there[rows[mine], number]]
    if not fits.all():
        raise no_grid(f"{links.text(fabric, int(np.argmin(fits)))} fits no dimension")
    return axis


def _ordered(fabric: Fabric, links: Links, dimension: Int64, kinds: list[Kind], place: Int64, sizes: list[int]) -> Grid:
    """Return the grid with its dimensions in the order of their ports."""
    of_channel = dimension[links.of_channel]
    port = fabric.port_number[fabric.channel_port[links.channel]]
    key = [(float(np.median(port[of_channel == axis])), axis) for axis in range(len(kinds))]
    order = [axis for _, axis in sorted(key)]
    channel_dimension = np.full(len(fabric.channel_port), -1, dtype=np.int16)
    channel_dimension[links.channel] = np.argsort(order)[of_channel]
    return Grid(tuple(sizes[axis] for axis in order), tuple(kinds[axis] for axis in order), place[:, order], channel_dimension)
