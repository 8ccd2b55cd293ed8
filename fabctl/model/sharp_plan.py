"""`SharpTrees`: the aggregation trees that jobs get, how many jobs can stream at once, and what keeps one more from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Constraint(StrEnum):
    """What can keep a job from streaming, by the name under which it is told."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """Make a member that carries its meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    CAPABILITY = "capability", "a switch or an HCA does not stream, or is not known to"
    EXCLUDED = "excluded", "SHARP is switched off on a switch (sharp-enabled: 0)"
    SM_PORT = "sm-port", "the subnet manager runs on an HCA of the job"
    REACH = "reach", "no switch has all leaves of a rail below it"
    SWITCH = "one-tree-per-switch", "a switch has one active streaming tree at a time (Quantum)"
    PORT = "one-tree-per-port", "a port has one active streaming tree at a time (Quantum-2)"
    RADIX = "radix", "an aggregation node has so many children"
    TREES = "trees", "a subnet has so many streaming trees"
    QUOTA = "quota", "an aggregation node has resources for so many jobs on one tree"
    HOSTS = "hosts", "there are so many hosts"


@dataclass(frozen=True)
class Binding:
    """A constraint where it binds.

    Parameters
    ----------
    constraint : Constraint
    text : str
        One sentence, with the switch, port or number.
    hint : str
        What would help; empty: nothing is known to.
    """

    constraint: Constraint
    text: str
    hint: str = ""


@dataclass(frozen=True)
class SharpTree:
    """The streaming tree of one rail of a job.

    Parameters
    ----------
    rail : int
    root, root_guid : str
        Label and GUID of its root.
    depth : int
        Cables from its farthest leaf switch to the root; 0: one switch.
    switches : tuple of str
        Labels of all its switches, root first, then from the leaves up.
    n_leaves : int
        Switches on which HCAs of the job hang.
    n_cables : int
        Between switches.
    children : int
        The most that one of its switches has: HCAs and switches below it.
    """

    rail: int
    root: str
    root_guid: str
    depth: int
    switches: tuple[str, ...]
    n_leaves: int
    n_cables: int
    children: int


@dataclass(frozen=True)
class SharpGain:
    """What `bench` predicts for one message, without SHARP and with it.

    Parameters
    ----------
    size_bytes : int
    without_us, with_us : float
    without_by, with_by : str
        NCCL's algorithm.
    """

    size_bytes: int
    without_us: float
    with_us: float
    without_by: str
    with_by: str

    @property
    def speedup(self) -> float:
        """Time without over time with; below 1: SHARP is slower."""
        return self.without_us / self.with_us


@dataclass(frozen=True)
class SharpJob:
    """A job and its trees.

    Parameters
    ----------
    name : str
    hosts : str
        As a node set.
    n_hosts : int
    rails : tuple of int
    trees : tuple of SharpTree
        One per rail; empty if it cannot stream beside those that do.
    refused : Binding, optional
        Why not.
    gains : tuple of SharpGain
    gain_note : str
        What the gains rest on, or why there are none.
    """

    name: str
    hosts: str
    n_hosts: int
    rails: tuple[int, ...]
    trees: tuple[SharpTree, ...]
    refused: Binding | None = None
    gains: tuple[SharpGain, ...] = ()
    gain_note: str = ""

    @property
    def depth(self) -> int:
        """The deepest of its trees; 0 without any."""
        return max((tree.depth for tree in self.trees), default=0)

    @property
    def n_switches(self) -> int:
        """Switches on its trees, each counted once."""
        return len({switch for tree in self.trees for switch in tree.switches})


@dataclass(frozen=True)
class Copies:
    """How many jobs like the one that was asked for can stream at once: it where it is, the others on the hosts left.

    Parameters
    ----------
    n_hosts, n_rails : int
    fit : int
        Found, each with all its trees.
    bound : int
        More are impossible.
    binds : Binding
        Why not one more than `bound`; where `fit` is less, between the two nothing was found and nothing excluded.
    hosts : tuple of str
        Where the copies run, the job itself first.
    others : tuple of (int, Binding)
        What other constraints would allow, the tightest first.
    """

    n_hosts: int
    n_rails: int
    fit: int
    bound: int
    binds: Binding
    hosts: tuple[str, ...]
    others: tuple[tuple[int, Binding], ...] = ()

    @property
    def exact(self) -> bool:
        """Whether `fit` is the most that there can be."""
        return self.fit == self.bound


@dataclass(frozen=True)
class SharpLimit:
    """A limit that was counted with.

    Parameters
    ----------
    name : str
    value : str
    source : str
    """

    name: str
    value: str
    source: str


@dataclass(frozen=True)
class SharpTrees:
    """The trees of some jobs that stream at the same time.

    Parameters
    ----------
    jobs : tuple of SharpJob
        As they were given.
    bound : int
        More of them cannot stream at once.
    exact : bool
        Whether no other choice of trees lets more of them stream, or as many on less deep trees.
    binds : Binding, optional
        What sets `bound`; None if all of them stream.
    copies : Copies, optional
        For one job.
    limits : tuple of SharpLimit
    environment : tuple of str
        ``NAME=VALUE`` for the jobs.
    notes : tuple of str
    """

    jobs: tuple[SharpJob, ...]
    bound: int
    exact: bool
    binds: Binding | None
    copies: Copies | None
    limits: tuple[SharpLimit, ...]
    environment: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def streaming(self) -> int:
        """Jobs that stream."""
        return sum(bool(job.trees) for job in self.jobs)
