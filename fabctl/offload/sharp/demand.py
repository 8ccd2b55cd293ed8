"""What jobs ask of a fabric's aggregation nodes, and what these allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.catalog import switch_asic
from fabctl.model.fabric import Fabric


@dataclass(frozen=True, eq=False)
class Branch:
    """One rail of a job: what a tree must join.

    Parameters
    ----------
    ports : int array of shape (n_hosts,)
        HCA ports.
    hosts_at : dict of int to int
        HCAs on each leaf switch, leaves ascending.
    """

    ports: NDArray[np.int32]
    hosts_at: dict[int, int]

    @property
    def leaves(self) -> list[int]:
        """Leaf switches, ascending."""
        return list(self.hosts_at)


@dataclass(frozen=True, eq=False)
class Demand:
    """A job: a tree for each of its rails, all or none.

    Parameters
    ----------
    name : str
    rails : tuple of int
    branches : tuple of Branch
        One per rail.
    """

    name: str
    rails: tuple[int, ...]
    branches: tuple[Branch, ...]


@dataclass(frozen=True, eq=False)
class Rules:
    """What aggregation nodes allow streaming jobs.

    Parameters
    ----------
    one_tree : tuple of bool
        By switch: one active tree at a time (Quantum), or one per port (Quantum-2, and what is not known).
    radix : tuple of int
        By switch: the most children; 0: no limit.
    jobs_per_switch : int
        Jobs that share the resources of an aggregation node on its trees; 0: no limit.
    trees : int
        Streaming trees in the subnet; 0: no limit.
    one_per_port : bool
        Always, but when it is asked what would be without.
    """

    one_tree: tuple[bool, ...]
    radix: tuple[int, ...]
    jobs_per_switch: int = 0
    trees: int = 0
    one_per_port: bool = True


def branch(ports: NDArray[np.int32], leaves: NDArray[np.integer]) -> Branch:
    """Return the branch of HCA ports that hang on `leaves`."""
    switches, counts = np.unique(leaves, return_counts=True)
    return Branch(ports, dict(zip(switches.tolist(), counts.tolist(), strict=True)))


def rules_of(
    fabric: Fabric, usable: NDArray[np.bool_], *, jobs_per_switch: int = 0, radix: int = 0, own_trees: bool = True
) -> Rules:
    """Return the rules of a fabric's switches, by the catalogue.

    The radix of an aggregation node is not published: it has no more children than its switch has ports.

    Parameters
    ----------
    usable : bool array of shape (n_switches,)
        Those that may be on a tree.
    radix : int
        The most children of an aggregation node; 0: unknown.
    own_trees : bool
        Whether each job takes trees of its own out of the subnet's.
    """
    asics = [switch_asic(int(device)) for device in fabric.device_id[: fabric.n_switches]]
    known = {asic for asic, use in zip(asics, usable.tolist(), strict=True) if asic and use}
    trees = [count for asic in known for count in (asic.subnet_llt, asic.subnet_sat) if count]
    ports = [asic.ports if asic else 0 for asic in asics]
    return Rules(
        one_tree=tuple(asic is not None and asic.streaming_trees == "per-switch" for asic in asics),
        radix=tuple(min(filter(None, (count, radix)), default=0) for count in ports),
        jobs_per_switch=jobs_per_switch,
        trees=min(trees, default=0) if own_trees else 0,
    )
