"""Trees of switches that join HCAs: the edges on which SHARP reduces and multicast copies, found from the fabric's structure.

A tree's root is the switch whose farthest leaf in use is nearest, the sum of the distances deciding between several, and each
switch goes towards it by a shortest way. Of several equally good roots and ways that is taken which has the fewest trees so far,
so that many trees do not share a switch or a cable unless they must. SHARP's aggregation manager builds trees of shortest ways
too (Graham et al., Scalable Hierarchical Aggregation Protocol, COMHPC 2016); which of them it gives to a job is its own affair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric

Int = NDArray[np.int64]
Hops = NDArray[np.int16]

FAR = np.iinfo(np.int16).max
"""Distance of what cannot be reached."""


@dataclass(frozen=True, eq=False)
class Tree:
    """Channels towards a root.

    Parameters
    ----------
    root : int
        A switch.
    up : int64 array of shape (n_edges,)
        The channel of each edge in the direction of the root: first those of the HCAs, in their order, then those of switches.
    depth : int
        Cables from the farthest leaf in use to the root; 0: the root is the only switch.
    """

    root: int
    up: Int
    depth: int


class TreeMaker:
    """Makes trees on one fabric, each beside those that it made before; what it learns of distances serves all of them.

    Parameters
    ----------
    fabric : Fabric
    usable : bool array of shape (n_switches,), optional
        Switches that trees may have; by default all.
    upwards : bool
        Whether edges go up a tier each: roots are then above all leaves.
    """

    def __init__(self, fabric: Fabric, *, usable: NDArray[np.bool_] | None = None, upwards: bool = False) -> None:
        self.fabric = fabric
        n = fabric.n_switches
        between = np.flatnonzero((fabric.channel_src < n) & (fabric.channel_dst < n) & (fabric.channel_src != fabric.channel_dst))
        if usable is not None:
            between = between[usable[fabric.channel_src[between]] & usable[fabric.channel_dst[between]]]
        if upwards:
            tiers = fabric.tiers
            between = between[tiers[fabric.channel_dst[between]] == tiers[fabric.channel_src[between]] + 1]
        self._channel = between
        self._src, self._dst = fabric.channel_src[between], fabric.channel_dst[between]
        backwards = np.argsort(self._dst, kind="stable")
        self._forth, self._back = (self._src, self._dst), (self._dst[backwards], self._src[backwards])
        self._from_leaf: dict[int, Hops] = {}
        self._to_root: dict[int, Hops] = {}
        self._trees_at = np.zeros(n, dtype=np.int64)
        self._trees_on = np.zeros(len(fabric.channel_src), dtype=np.int64)

    def tree(self, ports: NDArray[np.integer]) -> Tree:
        """Return a tree that joins some HCA ports.

        Parameters
        ----------
        ports : int array of shape (n,)
            Connected HCA ports, none twice.

        Raises
        ------
        RefusedError
            If an HCA hangs on no switch, or no switch reaches all of them.

        Complexity
        ----------
        O(leaves in use x switches), and a search over all cables for 64 leaves that are new, and for the root.
        """
        fabric = self.fabric
        host_channel = fabric.channel_of_port[ports]
        leaves = np.unique(self.leaves(ports))
        distance = self._hops(leaves)
        farthest, total = distance.max(axis=0), distance.sum(axis=0)
        if farthest.min() >= FAR:
            pair = [fabric.labels[int(switch)] for switch in (leaves[0], leaves[int(np.argmax(distance[:, leaves[0]]))])]
            raise RefusedError(f"no tree of switches joins these hosts: {pair[0]} does not reach {pair[1]}")
        roots = np.flatnonzero((farthest == farthest.min()) & (total == total[farthest == farthest.min()].min()))
        root = int(roots[np.argmin(self._trees_at[roots])])
        between = self._towards(root, leaves)
        self._trees_at[np.unique([root, *leaves, *fabric.channel_dst[between]])] += 1
        self._trees_on[between] += 1
        return Tree(root, np.concatenate([host_channel, between]).astype(np.int64), int(farthest[root]))

    def leaves(self, ports: NDArray[np.integer]) -> Int:
        """Return the switch on which each HCA port hangs.

        Raises
        ------
        RefusedError
            If one hangs on no switch.
        """
        fabric = self.fabric
        leaf = fabric.channel_dst[fabric.channel_of_port[ports]]
        if np.any(leaf >= fabric.n_switches):
            lost = int(np.argmax(leaf >= fabric.n_switches))
            raise RefusedError(
                f"{fabric.port_label(int(ports[lost]))} hangs on no switch, so that no tree of switches reaches it"
            )
        return leaf.astype(np.int64)

    def roots(self, leaves: Int) -> tuple[Int, Int]:
        """Return the switches that all of some leaves reach, the best first, and the depth of a tree from each."""
        hops = self._hops(leaves)
        farthest, total = hops.max(axis=0), hops.sum(axis=0)
        order = np.lexsort((total, farthest))
        order = order[farthest[order] < FAR]
        return order, farthest[order]

    def depths(self, root: int) -> Hops:
        """Return the hops from every switch to a root; `FAR`: it cannot be reached."""
        if root not in self._to_root:
            self._to_root[root] = self._search(np.array([root]), *self._forth)[0]
        return self._to_root[root]

    def edges(self) -> Iterator[tuple[int, int, int]]:
        """Yield each channel of which trees may be made, with the switches that it joins, in order."""
        return zip(self._channel.tolist(), self._src.tolist(), self._dst.tolist(), strict=True)

    def _hops(self, leaves: Int) -> Int:
        """Return the hops from some leaves to every switch, shape (len(leaves), n_switches)."""
        unknown = np.array([leaf for leaf in leaves.tolist() if leaf not in self._from_leaf], dtype=np.int64)
        if len(unknown):
            self._from_leaf.update(zip(unknown.tolist(), self._search(unknown, *self._back), strict=True))
        return np.stack([self._from_leaf[leaf] for leaf in leaves.tolist()]).astype(np.int64)

    def _search(self, switches: Int, here: NDArray[np.integer], there: NDArray[np.integer]) -> NDArray[np.int16]:
        """Search breadth first from several switches at once, a bit for each: 64 cost as much as one.

        A step goes from `there` to `here`, which is sorted.
        """
        which = np.arange(len(switches))
        reached = np.zeros((self.fabric.n_switches, -(-len(switches) // 64)), dtype=np.uint64)
        reached[switches, which // 64] = np.uint64(1) << (which % 64).astype(np.uint64)
        distance = np.full((len(switches), self.fabric.n_switches), FAR, dtype=np.int16)
        distance[which, switches] = 0
        takers, start = np.unique(here, return_index=True)
        for hops in range(1, FAR if len(takers) else 0):
            new = np.zeros_like(reached)
            new[takers] = np.bitwise_or.reduceat(reached[there], start, axis=0)
            new &= ~reached
            if not new.any():
                break
            reached |= new
            bits = np.unpackbits(new.view(np.uint8), axis=1, count=len(switches), bitorder="little")
            distance[bits.T.astype(bool)] = hops
        return distance

    def _towards(self, root: int, leaves: NDArray[np.integer]) -> Int:
        """Return the channels from leaves to a root, one out of each switch on the way."""
        distance = self.depths(root)
        nearer = np.flatnonzero(distance[self._dst] == distance[self._src] - 1)
        joined, is_here = np.zeros((2, self.fabric.n_switches), dtype=bool)
        joined[root] = True
        found = [np.empty(0, dtype=np.int64)]
        here = leaves[leaves != root]
        while len(here):
            joined[here] = is_here[here] = True
            edge = self._one_from_each(nearer[is_here[self._src[nearer]]])
            is_here[here] = False
            found.append(self._channel[edge])
            here = np.unique(self._dst[edge])
            here = here[~joined[here]]
        return np.concatenate(found)

    def _one_from_each(self, edges: Int) -> Int:
        """Return one edge out of each switch: to where the fewest trees are, then where most of them meet, then the freest."""
        src, dst = self._src[edges], self._dst[edges]
        together = np.bincount(dst, minlength=self.fabric.n_switches)[dst]
        order = np.lexsort((self._trees_on[self._channel[edges]], dst, -together, self._trees_at[dst], src))
        _, first = np.unique(src[order], return_index=True)
        return edges[order[first]]
