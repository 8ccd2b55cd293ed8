"""`Pool`: switches, cables and trees that streaming trees hold, and what is free beside them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fabctl.offload.sharp.demand import Rules


@dataclass(frozen=True)
class Grown:
    """A tree of switches.

    Parameters
    ----------
    root : int
    depth : int
        Cables from the farthest leaf to the root.
    switches : tuple of int
        Root first.
    up : tuple of int
        The channel out of each other switch towards the root.
    children : int
        The most that one switch has.
    """

    root: int
    depth: int
    switches: tuple[int, ...]
    up: tuple[int, ...]
    children: int


class Pool:
    """What is held by trees.

    Parameters
    ----------
    rules : Rules
    reverse : sequence of int
        The channel of the same cable in the other direction, by channel.
    """

    def __init__(self, rules: Rules, reverse: Sequence[int]) -> None:
        self.rules = rules
        self._reverse = reverse
        self.trees = 0
        self.trees_at: Counter[int] = Counter()
        self.jobs_at: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._busy: set[int] = set()

    def takes(self, switch: int, job: str) -> bool:
        """Return whether a switch can be on one more tree, of some job."""
        if self.rules.one_tree[switch] and self.trees_at[switch]:
            return False
        return not self.full(switch, job)

    def full(self, switch: int, job: str) -> bool:
        """Return whether an aggregation node has no resources for one more job."""
        jobs, most = self.jobs_at[switch], self.rules.jobs_per_switch
        return bool(most) and job not in jobs and len(jobs) >= most

    def free_cable(self, channels: list[int]) -> int | None:
        """Return the first of some parallel channels on which no tree is."""
        if not self.rules.one_per_port:
            return channels[0]
        return next((channel for channel in channels if channel not in self._busy), None)

    def hold(self, tree: Grown, job: str) -> None:
        """Give a tree to a job."""
        self.trees += 1
        self._busy.update(self._both_ways(tree))
        for switch in tree.switches:
            self.trees_at[switch] += 1
            self.jobs_at[switch][job] += 1

    def release(self, tree: Grown, job: str) -> None:
        """Take a tree back."""
        self.trees -= 1
        self._busy.difference_update(self._both_ways(tree))
        for switch in tree.switches:
            self.trees_at[switch] -= 1
            self.jobs_at[switch][job] -= 1
            if not self.jobs_at[switch][job]:
                del self.jobs_at[switch][job]

    def _both_ways(self, tree: Grown) -> Iterator[int]:
        for channel in tree.up:
            yield channel
            yield self._reverse[channel]
