"""What a benchmark measured, beside what is predicted: the runs of a log, their sizes, and what may make them slow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

BANDWIDTH, BOTH_WAYS, LATENCY = "bandwidth", "bandwidth both ways", "latency"
"""What is measured between two ends, in place of a collective."""
PAIRS = (BANDWIDTH, BOTH_WAYS, LATENCY)
Certainty = Literal["certain", "likely", "possible"]


@dataclass(frozen=True)
class Sample:
    """One size of a run.

    Parameters
    ----------
    line : int
        Of the log.
    size_bytes : int
        As the tool prints it.
    time_us : float
        Of one operation, microseconds; 0: not printed.
    gb_s : float
        Bus bandwidth of a collective, bandwidth of a pair, in 1e9 bytes per second; 0: not printed.
    in_place_us : float
        The same operation in place; 0: not printed.
    """

    line: int
    size_bytes: int
    time_us: float = 0.0
    gb_s: float = 0.0
    in_place_us: float = 0.0

    @property
    def best_us(self) -> float:
        """The shorter of the times out of place and in place."""
        return min(self.time_us, self.in_place_us or self.time_us)

    @property
    def best_gb_s(self) -> float:
        """`gb_s` of the better half; size over time where no bandwidth is printed."""
        if not self.time_us:
            return self.gb_s
        return (self.gb_s * self.time_us or self.size_bytes / 1e3) / self.best_us


@dataclass(frozen=True)
class NcclFacts:
    """What a log's NCCL lines and its command line say.

    Parameters
    ----------
    version : str
        Of NCCL; empty: not said.
    variables : dict of str to str
        ``NCCL_...`` as the environment or the command line set them.
    network : str
        ``IB``, ``Socket``, or a plugin's name; empty: not said.
    hcas : tuple of str
        ``mlx5_0:1/IB`` ...: the ports that NCCL found in a host.
    gdr, staged : dict of str to int
        Connections over the network with and without GPUDirect RDMA, by direction (``send``, ``receive``).
    channels : dict of str to int
        ``coll``, ``collnet`` and ``nvls`` channels; empty: not said.
    choices : dict of int to (str, str)
        Algorithm and protocol that NCCL took, by message size.
    """

    version: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    hcas: tuple[str, ...] = ()
    gdr: Mapping[str, int] = field(default_factory=dict)
    staged: Mapping[str, int] = field(default_factory=dict)
    channels: Mapping[str, int] = field(default_factory=dict)
    choices: Mapping[int, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run of a benchmark.

    Parameters
    ----------
    path : str
    line : int
        Where it begins in the log.
    tool : str
        ``nccl-tests``, ``osu`` or ``perftest``.
    test : str
        As it is called: ``all_reduce_perf``, ``osu_bw``, ``ib_write_bw``.
    operation : str
        A collective by nccl-tests' name, or one of `PAIRS`.
    samples : tuple of Sample
        At least one, in the log's order.
    n_ranks : int
        0: the log does not say.
    rank_range : (int, int)
        What the printed bandwidths allow where the log does not list its ranks; (0, 0): it does.
    hosts : tuple of str
        In rank order; empty: the log does not say.
    ranks_per_host : int
        0: unknown.
    gpu : str
        What the log calls the GPUs.
    nccl : NcclFacts
    mpi : bool
        Whether MPI runs the collective, and not NCCL.
    per_piece : bool
        Whether a size is that of one rank's piece, and not of all (OSU's all-gather and all-to-all).
    buffers : (str, str)
        ``host`` or ``device``: memory of the sender and of the receiver.
    lids : (int, int)
        Of the two ports of a pair; 0: unknown.
    mtu_bytes : int
        0: unknown.
    copies : int
        How many processes printed this run, each of its own: more than one where they knew nothing of each other.
    wrong : int
        Values that the tool found wrong.
    notes : tuple of str
        What was cut, inferred or left out.
    """

    path: str
    line: int
    tool: str
    test: str
    operation: str
    samples: tuple[Sample, ...]
    n_ranks: int = 0
    rank_range: tuple[int, int] = (0, 0)
    hosts: tuple[str, ...] = ()
    ranks_per_host: int = 0
    gpu: str = ""
    nccl: NcclFacts = NcclFacts()
    mpi: bool = False
    per_piece: bool = False
    buffers: tuple[str, str] = ("host", "host")
    lids: tuple[int, int] = (0, 0)
    mtu_bytes: int = 0
    copies: int = 1
    wrong: int = 0
    notes: tuple[str, ...] = ()

    def fits(self, n_ranks: int) -> bool:
        """Tell whether the run can have had so many ranks."""
        low, high = self.rank_range if any(self.rank_range) else (self.n_ranks, self.n_ranks)
        return low <= n_ranks <= high

    @property
    def ranks_text(self) -> str:
        """``32``, or ``126 to 131`` where the log does not tell exactly."""
        low, high = self.rank_range
        return f"{low} to {high}" if low < high else str(self.n_ranks)


@dataclass(frozen=True)
class Predicted:
    """What is predicted for one size.

    Parameters
    ----------
    time_us : float
        0: not predicted.
    gb_s : float
        As `Sample.gb_s`; 0: not predicted.
    latency_us : float
        The part of `time_us` that does not grow with the size.
    algorithm, protocol : str
        NCCL's; empty where there is none.
    binds, binds_at : str
        Kind and name of what bounds (`fabctl.model.predictions.Row`).
    """

    time_us: float = 0.0
    gb_s: float = 0.0
    latency_us: float = 0.0
    algorithm: str = ""
    protocol: str = ""
    binds: str = ""
    binds_at: str = ""


@dataclass(frozen=True)
class Compared:
    """One size, measured and predicted.

    Parameters
    ----------
    sample : Sample
    predicted : Predicted, optional
        None: the model has nothing to say of this size.
    ratio : float, optional
        Measured speed over predicted speed; the faster of out of place and in place counts.
    flag : str
        ``slow`` or ``fast`` where the ratio is off by more than the threshold, else empty.
    """

    sample: Sample
    predicted: Predicted | None = None
    ratio: float | None = None
    flag: Literal["", "slow", "fast"] = ""


@dataclass(frozen=True)
class Cause:
    """Something that may explain what was measured.

    Parameters
    ----------
    code : str
        ``VAL...``, stable.
    title : str
    certainty : str
        ``certain`` where the log says so itself, ``likely`` where numbers fit, else ``possible``.
    evidence : tuple of str
    next_step : str
        What to type or to set next.
    """

    code: str
    title: str
    certainty: Certainty
    evidence: tuple[str, ...]
    next_step: str


@dataclass(frozen=True)
class Verdict:
    """A run beside its prediction.

    Parameters
    ----------
    run : Run
    rows : tuple of Compared
        In the order of the log.
    routes : str
        Engine or tables; empty: no fabric was asked.
    node : str
        Node type; empty: unknown.
    causes : tuple of Cause
        The likeliest first.
    assumptions : tuple of str
        Of the prediction.
    notes : tuple of str
        What was decided, and why something is not predicted.
    judged : bool
        Whether the prediction is good enough for sizes to be flagged.
    """

    run: Run
    rows: tuple[Compared, ...]
    routes: str = ""
    node: str = ""
    causes: tuple[Cause, ...] = ()
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    judged: bool = True

    def flagged(self, flag: str) -> tuple[Compared, ...]:
        """Return the rows with a flag."""
        return tuple(row for row in self.rows if row.flag == flag)


@dataclass(frozen=True)
class Validation:
    """All runs of the logs.

    Parameters
    ----------
    verdicts : tuple of Verdict
        At least one, in the order of the logs.
    threshold : float
        Relative: 0.2 for 20 %.
    allowance : float
        How much slower sizes between latency and bandwidth may be, besides.
    causes : tuple of Cause
        What only several runs together show.
    """

    verdicts: tuple[Verdict, ...]
    threshold: float
    allowance: float
    causes: tuple[Cause, ...] = ()
