"""Trees of switches that join HCAs: the edges on which SHARP reduces and multicast copies, found from the fabric's structure.

A tree's root is the switch whose farthest leaf in use is nearest, the sum of the distances deciding between several, and each
switch goes towards it by a shortest way. Of several equally good roots and ways that is taken which has the fewest trees so far,
so that many trees do not share a switch or a cable unless they must. SHARP's aggregation manager builds trees of shortest ways
too (Graham et al., Scalable Hierarchical Aggregation Protocol, COMHPC 2016); which of them it gives to a job is its own affair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric

Int = NDArray[np.int64]

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
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        n = fabric.n_switches
        between = np.flatnonzero((fabric.channel_src < n) & (fabric.channel_dst < n) & (fabric.channel_src != fabric.channel_dst))
        self._channel = between
        self._src, self._dst = fabric.channel_src[between], fabric.channel_dst[between]
        self._distance: dict[int, NDArray[np.int16]] = {}
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
        leaf = fabric.channel_dst[host_channel]
        if np.any(leaf >= fabric.n_switches):
            lost = int(np.argmax(leaf >= fabric.n_switches))
            raise RefusedError(
                f"{fabric.port_label(int(ports[lost]))} hangs on no switch, so that no tree of switches reaches it"
            )
        leaves = np.unique(leaf)
        distance = self._distances(leaves).astype(np.int64)
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

    def _distances(self, switches: NDArray[np.integer]) -> NDArray[np.int16]:
        """Return the hops from every switch to some, shape (len(switches), n_switches)."""
        unknown = np.array([switch for switch in switches.tolist() if switch not in self._distance], dtype=np.int64)
        if len(unknown):
            self._distance.update(zip(unknown.tolist(), self._search(unknown), strict=True))
        return np.stack([self._distance[switch] for switch in switches.tolist()])

    def _search(self, switches: Int) -> NDArray[np.int16]:
        """Search from several switches at once, breadth first, a bit for each: 64 cost as much as one."""
        which = np.arange(len(switches))
        reached = np.zeros((self.fabric.n_switches, -(-len(switches) // 64)), dtype=np.uint64)
        reached[switches, which // 64] = np.uint64(1) << (which % 64).astype(np.uint64)
        distance = np.full((len(switches), self.fabric.n_switches), FAR, dtype=np.int16)
        distance[which, switches] = 0
        senders, start = np.unique(self._src, return_index=True)
        for hops in range(1, FAR if len(senders) else 0):
            new = np.zeros_like(reached)
            new[senders] = np.bitwise_or.reduceat(reached[self._dst], start, axis=0)
            new &= ~reached
            if not new.any():
                break
            reached |= new
            bits = np.unpackbits(new.view(np.uint8), axis=1, count=len(switches), bitorder="little")
            distance[bits.T.astype(bool)] = hops
        return distance

    def _towards(self, root: int, leaves: NDArray[np.integer]) -> Int:
        """Return the channels from leaves to a root, one out of each switch on the way."""
        distance = self._distances(np.array([root]))[0]
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
