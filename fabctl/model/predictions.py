"""What `fabctl.bench` predicts: times and bandwidths of collectives, and the cable that bounds them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """The directed cable that bounds an operation.

    Parameters
    ----------
    source, target : (str, int)
        Node label and port number of the sending and of the receiving end.
    speed : str
        ``4xHDR``.
    data_gbps : float
        Rate after line coding, Gb/s.
    flows : int
        Flows of the operation on it.
    at_host : bool
        Whether one end is an HCA: no route could do better.
    equals : int
        How many directed cables are as slow as this one, itself included.
    """

    source: tuple[str, int]
    target: tuple[str, int]
    speed: str
    data_gbps: float
    flows: int
    at_host: bool
    equals: int

    @property
    def label(self) -> str:
        """``node/P7 -> node/P3``."""
        return f"{self.source[0]}/P{self.source[1]} -> {self.target[0]}/P{self.target[1]}"


@dataclass(frozen=True)
class Limit:
    """What one part of the way allows.

    Parameters
    ----------
    kind : str
        ``nvlink``, ``pcie``, ``hca``, ``cable`` or ``nccl``.
    name : str
        Which one: ``GPU0 - PLX0``, ``leaf-1/P3 -> spine-2/P1``.
    algbw_gb_s : float
        Algorithm bandwidth of large messages if nothing else bound, GB/s.
    """

    kind: str
    name: str
    algbw_gb_s: float


LATENCY = "latency"
"""What binds a message that takes longer to begin and to pass on than to send."""


@dataclass(frozen=True)
class Row:
    """One message size.

    Parameters
    ----------
    size_bytes : int
        As nccl-tests prints it: whole elements, and whole 16-byte pieces per rank where the message is split.
    count : int
        Elements of 4 bytes, per rank where the message is split.
    time_us : float
    latency_us : float
        The part of `time_us` that does not grow with the size.
    algbw_gb_s, busbw_gb_s : float
        Gigabytes (1e9) per second.
    algorithm : str
        What NCCL takes, as ``NCCL_ALGO`` spells it (``Ring``, ``NVLS``); ``pairwise``, ``pxn`` or ``pattern`` of what it has no
        choice in.
    protocol : str
        ``LL``, ``LL128`` or ``Simple``.
    binds : str
        `LATENCY`, or the kind of the `Limit` that most of the time goes to.
    binds_at : str
        Name of that limit; empty for `LATENCY`.
    """

    size_bytes: int
    count: int
    time_us: float
    latency_us: float
    algbw_gb_s: float
    busbw_gb_s: float
    algorithm: str
    protocol: str
    binds: str
    binds_at: str


@dataclass(frozen=True)
class Way:
    """An algorithm that a table's rows take, and what bounds its large messages.

    Parameters
    ----------
    algorithm, protocol : str
        As in `Row`; the protocol that is best for them.
    limits : tuple of Limit
        With this protocol, tightest first.
    peak_busbw_gb_s : float
        busbw of an endless message.
    """

    algorithm: str
    protocol: str
    limits: tuple[Limit, ...]
    peak_busbw_gb_s: float


@dataclass(frozen=True)
class Prediction:
    """One collective on one set of routes.

    Parameters
    ----------
    routes : str
        Engine or tables file; empty inside a host.
    collective : str
    algorithm : str
        Of the largest size, fabctl's name: ``ring``, ``tree``, ``sharp``.
    redop : str
    root : int
        -1 where the operation has none.
    rows : tuple of Row
        At least one, ascending.
    bound : Bound, optional
        The fabric's slowest cable with that algorithm; None inside a host.
    peak_busbw_gb_s : float
        busbw of an endless message.
    host_busbw_gb_s : float
        What the hosts' own cables alone allow.
    ways : tuple of Way
        One for each algorithm in `rows`, in their order.
    advice : tuple of str
        Where NCCL's choice is not the fastest here, and how to set another.
    """

    routes: str
    collective: str
    algorithm: str
    redop: str
    root: int
    rows: tuple[Row, ...]
    bound: Bound | None
    peak_busbw_gb_s: float
    host_busbw_gb_s: float
    ways: tuple[Way, ...] = ()
    advice: tuple[str, ...] = ()

    @property
    def mean_busbw_gb_s(self) -> float:
        """Mean busbw over the rows, nccl-tests' last line."""
        return sum(row.busbw_gb_s for row in self.rows) / len(self.rows)


@dataclass(frozen=True)
class BenchTable:
    """Predictions of one job.

    Parameters
    ----------
    hosts : str
        Node set, in natural order.
    n_hosts, ranks_per_host, n_ranks : int
    rails : tuple of int
        Rail of each HCA port that a host uses.
    routes : tuple of str
        Engines and tables, in the order asked for.
    predictions : tuple of Prediction
        By collective, then by routes.
    assumptions : tuple of str
    notes : tuple of str
        What was decided for this job.
    node : str
        What the hosts are, for people; empty: unknown.
    offloads : tuple of str
        Names of those that are counted on.
    """

    hosts: str
    n_hosts: int
    ranks_per_host: int
    n_ranks: int
    rails: tuple[int, ...]
    routes: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    assumptions: tuple[str, ...]
    notes: tuple[str, ...]
    node: str = ""
    offloads: tuple[str, ...] = ()
