"""What is known of routes: whether they are safe, how good they are, and which cables bound them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.tables import RoutingTables

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Lost:
    """A switch whose HCAs cannot reach a LID: the table has no entry, leads out of the fabric, or loops."""

    switch: int
    port: int
    reason: str


@dataclass(frozen=True)
class Verification:
    """What `fabctl.routing.verify` found.

    Parameters
    ----------
    pairs : int
        (leaf switch, destination LID) pairs walked.
    lost_hca, lost_other : int
        Pairs lost whose destination is an HCA; is a switch or an aggregation node.
    examples : tuple of Lost
        The first few of them.
    loop : tuple of int
        Channels of one forwarding loop; empty if there is none.
    dependencies : int
        Edges of the channel dependency graphs of all virtual lanes, for the traffic between HCAs.
    credit_loop : tuple of int
        Channels of a shortest credit loop of the traffic between HCAs; empty if those graphs are acyclic.
    management_loop : tuple of int
        Channels of one that needs traffic from HCAs to switches or aggregation nodes as well; empty if there is none, or one
        without such traffic.
    unlisted : tuple of int
        Ports whose LID no table has an entry for.
    n_vls : int
        Virtual lanes in use.
    loop_vl : int
        Virtual lane of `credit_loop`, else of `management_loop`.
    """

    pairs: int
    lost_hca: int
    lost_other: int
    examples: tuple[Lost, ...]
    loop: tuple[int, ...]
    dependencies: int
    credit_loop: tuple[int, ...]
    management_loop: tuple[int, ...]
    unlisted: tuple[int, ...]
    n_vls: int = 1
    loop_vl: int = 0

    @property
    def safe(self) -> bool:
        """Whether no HCA is lost, nothing loops, and traffic between HCAs has no credit loop."""
        return not (self.lost_hca or self.loop or self.credit_loop)


@dataclass(frozen=True, eq=False)
class AllToAll:
    """Exact loads of one unit from every port to every other.

    Parameters
    ----------
    loads : int64 array of shape (n_channels,)
        Units on each channel.
    destinations : int64 array of shape (n_channels,)
        How many destinations' traffic each channel carries.
    """

    loads: Int64
    destinations: Int64


@dataclass(frozen=True)
class Estimate:
    """A mean over random patterns with the half width of its 99 % confidence interval."""

    mean: float
    ci99: float
    samples: int


@dataclass(frozen=True)
class Shifts:
    """Congestion of cyclic shifts: port i sends to port i + k, in `Fabric.endpoints` order.

    Parameters
    ----------
    worst : int
        Highest number of flows on one channel over all shifts tried.
    worst_shift : int
        The first `k` that has it.
    mean : float
        Mean over the shifts of their highest load.
    tried, total : int
        Shifts tried, and shifts there are (n - 1).
    """

    worst: int
    worst_shift: int
    mean: float
    tried: int
    total: int


@dataclass(frozen=True, eq=False)
class Quality:
    """How tables treat a set of ports.

    Parameters
    ----------
    n_ports : int
    alltoall : AllToAll
        Loads per channel.
    alltoall_max : int
        Highest all-to-all load of a channel (units of one message per pair).
    alltoall_ideal : int
        n - 1: what each port must send anyway.
    alltoall_fraction : float
        Share of injection bandwidth that an all-to-all reaches: ideal time over the slowest channel's time.
    hottest : int
        Channel that bounds the all-to-all.
    shifts : Shifts
    ebb : Estimate
        Effective bisection bandwidth as a share of link bandwidth.
    destinations_min, destinations_mean, destinations_max : number
        Destinations per channel between switches.
    unused, between : int
        Channels between switches that carry nothing, and channels between switches.
    rates_known : bool
        Whether channel rates were known; if not, all channels count as equal.
    """

    n_ports: int
    alltoall: AllToAll
    alltoall_max: int
    alltoall_ideal: int
    alltoall_fraction: float
    hottest: int
    shifts: Shifts
    ebb: Estimate
    destinations_min: int
    destinations_mean: float
    destinations_max: int
    unused: int
    between: int
    rates_known: bool


@dataclass(frozen=True)
class HotCable:
    """A loaded channel with some of the flows on it.

    Parameters
    ----------
    channel : int
    load : float
        Sum of the flows' weights on it.
    flows : int
        How many flows cross it.
    examples : tuple of (int, int)
        Sending and receiving port of the first few.
    """

    channel: int
    load: float
    flows: int
    examples: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Assessment:
    """All that ``fabctl route`` says of tables.

    Parameters
    ----------
    tables : RoutingTables
    verification : Verification
    quality : Quality, optional
        None where tables lose HCAs or loop: there is nothing to score.
    hot : tuple of HotCable
        Hottest cables, hottest first.
    ports : int32 array of shape (n,)
        HCA ports that were scored.
    notes : tuple of str
        Assumptions and omissions.
    """

    tables: RoutingTables
    verification: Verification
    quality: Quality | None
    hot: tuple[HotCable, ...]
    ports: NDArray[np.int32]
    notes: tuple[str, ...]
