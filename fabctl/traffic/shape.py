"""`Shape`: how a group's members sit on hosts and HCAs, whichever hosts these are; what an algorithm builds on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fabctl.traffic.group import Group

Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Shape:
    """Members 0 .. n - 1 of a group on nodes 0 .. N - 1.

    NCCL calls a host a node and numbers nodes in the order in which the communicator first meets them (`src/init.cc`,
    ``initTransportsRank``); a node's rails are numbered likewise, by the first member that uses each HCA port.

    Parameters
    ----------
    node : int64 array of shape (n,)
        Node of each member.
    rail : int64 array of shape (n,)
        Rail of each member's HCA port, numbered within its node.
    channels : int
        NCCL channels; channel `c` goes through rail ``c mod n_rails``. 0: one per rail.
    cross_nic : int
        NCCL's crossNic of rings: 0, 1 or 2.
    """

    node: Int
    rail: Int
    channels: int = 0
    cross_nic: int = 0

    def __len__(self) -> int:
        return len(self.node)

    @cached_property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return int(self.node.max()) + 1

    @cached_property
    def n_rails(self) -> int:
        """Rails that all nodes have."""
        rails = np.zeros(self.n_nodes, dtype=np.int64)
        np.maximum.at(rails, self.node, self.rail + 1)
        return int(rails.min())

    @property
    def n_channels(self) -> int:
        """Number of channels, one per rail unless a number is given."""
        return self.channels or self.n_rails

    @cached_property
    def leader(self) -> Int:
        """First member at each HCA of each node, shape (n_nodes, n_rails): it stands for the HCA."""
        table = np.zeros((self.n_nodes, self.n_rails), dtype=np.int64)
        member = np.flatnonzero(self.rail < self.n_rails)[::-1]
        table[self.node[member], self.rail[member]] = member
        return table

    @cached_property
    def members(self) -> tuple[Int, ...]:
        """Members of each node, ascending."""
        order = np.argsort(self.node, kind="stable")
        return tuple(np.split(order, np.cumsum(np.bincount(self.node))[:-1]))

    def chain(self, node: int, first: int) -> Int:
        """Return a node's members in the order of a chain that begins with member `first` and goes round."""
        members = self.members[node]
        return np.roll(members, -int(np.searchsorted(members, first)))


@dataclass(frozen=True, eq=False)
class Batch:
    """Groups of one shape.

    Parameters
    ----------
    shape : Shape
    which : int64 array of shape (n_groups,)
        Their numbers among all groups.
    rank, port : int32 array of shape (n_groups, n)
        Of each member: see `Group`.
    """

    shape: Shape
    which: Int
    rank: NDArray[np.int32]
    port: NDArray[np.int32]


def batches(groups: Sequence[Group], channels: int = 0, cross_nic: int = 0) -> Iterator[Batch]:
    """Sort groups by their shape.

    Complexity
    ----------
    O(m log m) in the number of all members, vectorised.
    """
    if not groups:
        return
    size = np.array([len(group) for group in groups])
    group = np.repeat(np.arange(len(groups)), size)
    rank, host, port = (np.concatenate([getattr(one, column) for one in groups]) for column in ("rank", "host", "port"))
    node = _numbered(group, host)
    rail = _numbered(group * (int(host.max(initial=0)) + 1) + host, port)
    start = np.cumsum(size) - size
    alike: dict[bytes, list[int]] = {}
    for index, (first, length) in enumerate(zip(start.tolist(), size.tolist(), strict=True)):
        key = node[first : first + length].tobytes() + rail[first : first + length].tobytes()
        alike.setdefault(key, []).append(index)
    for indices in alike.values():
        first, length = int(start[indices[0]]), int(size[indices[0]])
        member = start[indices][:, None] + np.arange(length)
        shape = Shape(node[first : first + length], rail[first : first + length], channels, cross_nic)
        yield Batch(shape, np.array(indices), rank[member], port[member])


def shape_of(group: Group, channels: int = 0, cross_nic: int = 0) -> Shape:
    """Return the shape of one group."""
    return next(batches([group], channels, cross_nic)).shape


def _numbered(outer: NDArray[np.integer], inner: NDArray[np.integer]) -> Int:
    """Return the number of each element: distinct `inner` values count within each `outer` value from their first on."""
    key = outer.astype(np.int64) * (int(inner.max(initial=0)) + 1) + inner
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    order = np.lexsort((first, outer[first]))
    start = np.concatenate([[True], np.diff(outer[first][order]) != 0])
    position = np.arange(len(first)) - np.maximum.accumulate(np.where(start, np.arange(len(first)), 0))
    number = np.empty(len(first), dtype=np.int64)
    number[order] = position
    return number[which]
