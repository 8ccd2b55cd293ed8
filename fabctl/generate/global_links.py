"""Links between the groups of a dragonfly: every group has the same number of them to every other, or nearly.

With one link between each two groups, port k of group i (k counts all ports of the group, switch by switch) goes to group
i + k + 1 modulo the number of groups, where it ends on port (ports - 1 - k). That is the arrangement that later work calls
relative, or palm tree; Kim et al. leave it open. With fewer groups the ports go round the other groups again and again, and
those that are left over after the last whole round go to groups at even distances.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fabctl.generate.plan import Int64
from fabctl.yamlspec import Node


def read_groups(values: Mapping[str, Node], ports: int) -> int:
    """Return the value of ``groups``: at most, and by default, as many as `ports` global links of each can join."""
    return values["groups"].integer(low=2, high=ports + 1) if "groups" in values else ports + 1


def join_groups(groups: int, switches: int, outward: int, *, first_switch: int, first_slot: int) -> Int64:
    """Return the links between groups, shape (n_links, 4): switch, its slot, switch, its slot (see `fabctl.generate.graph`).

    Every two groups are joined by ``switches * outward // (groups - 1)`` links or one more. All slots are used, but for the
    last of each group where there is an odd number of groups with an odd number of links each.

    Parameters
    ----------
    groups : int
        2 to switches * outward + 1.
    switches, outward : int
        Switches of each group that have global links, and how many each has.
    first_switch, first_slot : int
        The first of these switches, which are numbered group by group, and the first slot of its global links.
    """
    ends = _group_links(groups, switches * outward)
    ends[:, ::2] *= switches
    ends[:, ::2] += first_switch + ends[:, 1::2] // outward
    ends[:, 1::2] = first_slot + ends[:, 1::2] % outward
    return ends


def _group_links(groups: int, ports: int) -> Int64:
    """Return the links, shape (n_links, 4): group, its port, group, its port."""
    rounds, spare = divmod(ports, groups - 1)
    group, port = np.arange(groups)[:, None], 0
    found = []
    for distances in [*[np.arange(1, groups)] * rounds, _even_distances(groups, spare)]:
        # distance d out is distance groups - d back, and stands as far from the end of the round as d from its beginning
        own = port + np.arange(len(distances))
        back = own[::-1]
        peer = (group + distances) % groups
        once = group < peer
        found.append(np.stack([column[once] for column in np.broadcast_arrays(group, own, peer, back)], axis=1))
        port += len(distances)
    return np.concatenate(found)


def _even_distances(groups: int, count: int) -> Int64:
    """Return `count` distances out of 1 to groups - 1, ascending and spread out, with d also groups - d among them.

    Examples
    --------
    >>> _even_distances(17, 4).tolist(), _even_distances(10, 3).tolist()
    ([3, 7, 10, 14], [3, 5, 7])
    """
    pairs, middle = count // 2, count % 2 and groups % 2 == 0
    near = (2 * np.arange(pairs) + 1) * ((groups - 1) // 2) // max(2 * pairs, 1) + 1
    half = np.array([groups // 2] if middle else [], dtype=np.int64)
    return np.concatenate([near, half, groups - near[::-1]])
