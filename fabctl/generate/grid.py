"""What grids of switches share: coordinates, and links along the lines of a dimension.

Switches are numbered in lexicographic order of their coordinates, which count from 0 and stand in their names: ``sw-0-3-7``.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np

from fabctl.generate.plan import Int64
from fabctl.yamlspec import Node

MAX_DIMENSIONS = 4


def read_dims(values: Mapping[str, Node]) -> tuple[int, ...]:
    """Return the sizes of the dimensions that ``dims`` lists.

    Raises
    ------
    InputError
        Unless they are one to four numbers from 2.
    """
    items = values["dims"].items()
    if not 1 <= len(items) <= MAX_DIMENSIONS:
        raise values["dims"].error(f"'dims' has {len(items)} dimensions, a grid has 1 to {MAX_DIMENSIONS}")
    return tuple(item.integer(low=2) for item in items)


def grid_names(dims: tuple[int, ...]) -> list[str]:
    """Return the names of a grid's switches.

    Examples
    --------
    >>> grid_names((2, 2))
    ['sw-0-0', 'sw-0-1', 'sw-1-0', 'sw-1-1']
    """
    return ["sw-" + "-".join(map(str, place)) for place in product(*map(range, dims))]


def join_lines(dims: tuple[int, ...], axis: int, first: Int64, first_slot: Int64, second: Int64, second_slot: Int64) -> Int64:
    """Return links between places of every line of a dimension.

    Parameters
    ----------
    dims : tuple of int
    axis : int
        The dimension.
    first, second : int64 array of shape (n,)
        Coordinates that are joined in each line.
    first_slot, second_slot : int64 array of shape (n,)

    Returns
    -------
    int64 array of shape (n * n_lines, 4)
        See `fabctl.generate.graph`.
    """
    number = np.arange(int(np.prod(dims))).reshape(dims)
    lines = np.moveaxis(number, axis, -1).reshape(-1, dims[axis])
    ends = (lines[:, first], np.broadcast_to(first_slot, (len(lines), len(first))))
    far_ends = (lines[:, second], np.broadcast_to(second_slot, (len(lines), len(second))))
    return np.stack([column.ravel() for column in (*ends, *far_ends)], axis=1)


def join_all(dims: tuple[int, ...], axis: int, slot: int) -> Int64:
    """Return links between all places of every line of a dimension, in slots from `slot` in the neighbours' order."""
    low, high = np.triu_indices(dims[axis], 1)
    return join_lines(dims, axis, low, slot + high - 1, high, slot + low)
