"""`Ground`: what runs are held against. `Expected`: what comes out of it for one run."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from fabctl.errors import FabctlError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.model.predictions import Prediction
from fabctl.model.rates import HEADER_BYTES, MTU_BYTES, Float64
from fabctl.model.tables import RoutingTables
from fabctl.model.validation import Predicted, Run, Sample
from fabctl.traffic.job import JobSpec
from fabctl.traffic.placement import Job

ROUNDING = 0.02
"""Relative difference up to which a size that is rounded down to whole pieces counts as the log's."""


BETWEEN = (0.1, 0.95)
"""Shares of latency in a predicted time between which a size is neither bound by latency nor by bandwidth."""
ALLOWANCE = 0.25
"""How much slower such a size may be besides the threshold. NCCL's own model, by which it chooses and fabctl predicts, is
optimistic there: sound machines reach 0.67 to 0.8 of it (docs/validate.md)."""


@dataclass(frozen=True)
class Ground:
    """What runs are held against.

    Parameters
    ----------
    node : NodeGraph, optional
    offloads : Offloads
    required : tuple of str
        Names of offloads that were asked for: refused where the hosts lack them.
    tables : RoutingTables, optional
        Routes, and with them the fabric; None: no fabric is asked.
    rates : float64 array of shape (n_channels,), optional
        Data rates in Gb/s, with `tables`.
    spec : JobSpec, optional
        Hosts and ranks of the runs; by default what the logs say.
    read : bool
        Whether the routes were read from switches, and not computed.
    command, routes, source : str
        What was typed, without ``--with`` and the options of the routes, which are apart; and its part that names the fabric.
    """

    node: NodeGraph | None = None
    offloads: Offloads = field(default_factory=Offloads)
    required: tuple[str, ...] = ()
    tables: RoutingTables | None = None
    rates: Float64 | None = None
    spec: JobSpec | None = None
    read: bool = False
    command: str = "fabctl bench validate LOG"
    routes: str = ""
    source: str = ""

    def again(self, *, offload: str = "", tables: str = "") -> str:
        """Return what was typed with one offload more, or with tables in place of its routes."""
        names = ",".join((*self.required, *([offload] if offload else [])))
        routes = f"--tables {tables}" if tables else self.routes
        return " ".join(word for word in (self.command, routes, f"--with {names}" if names else "") if word)

    @property
    def fabric(self) -> Fabric | None:
        """The fabric of the routes."""
        return self.tables.fabric if self.tables else None


@dataclass(frozen=True, eq=False)
class Expected:
    """A prediction for the sizes of a run.

    Parameters
    ----------
    sizes : mapping of int to Predicted
        Empty: nothing is predicted, and `notes` say why.
    notes, assumptions : tuple of str
    prediction : Prediction, optional
        Where NCCL runs the collective.
    job : Job, optional
        Where it runs over the fabric.
    judged : bool
        Whether the model is good enough for sizes to be flagged.
    otherwise : callable, optional
        Sizes with other offloads; raises `FabctlError` where they cannot work.
    offloads : Offloads
        That are counted on, the log's own settings included.
    """

    sizes: Mapping[int, Predicted] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    prediction: Prediction | None = None
    job: Job | None = None
    judged: bool = True
    otherwise: Callable[[Offloads], Mapping[int, Predicted]] | None = None
    offloads: Offloads = field(default_factory=Offloads)

    @cached_property
    def _ascending(self) -> list[int]:
        return sorted(self.sizes)

    def at(self, size_bytes: int) -> Predicted | None:
        """Return what is predicted for a size, itself or rounded down to whole pieces."""
        return nearest(self.sizes, size_bytes, self._ascending)

    def with_offloads(self, offloads: Offloads) -> Mapping[int, Predicted]:
        """Return the sizes with other offloads; none where they change nothing or cannot work."""
        if self.otherwise is None or offloads == self.offloads:
            return {}
        try:
            return self.otherwise(offloads)
        except FabctlError:
            return {}


def nearest(sizes: Mapping[int, Predicted], size_bytes: int, ascending: Sequence[int]) -> Predicted | None:
    """Return the entry of the largest size up to one, if it is no more than rounded."""
    index = bisect_right(ascending, size_bytes) - 1
    if index < 0 or size_bytes - ascending[index] > ROUNDING * size_bytes:
        return None
    return sizes[ascending[index]]


def speed_ratio(sample: Sample, predicted: Predicted | None) -> float | None:
    """Return the measured over the predicted speed; None where one of them is not known."""
    if predicted is None:
        return None
    if predicted.time_us and sample.time_us:
        return predicted.time_us / sample.best_us
    return sample.gb_s / predicted.gb_s if predicted.gb_s and sample.gb_s else None


def flag_of(ratio: float, predicted: Predicted, threshold: float) -> Literal["", "slow", "fast"]:
    """Tell whether a speed, relative to the predicted one, is off by more than a threshold."""
    latency = predicted.latency_us / predicted.time_us if predicted.time_us else 0.0
    allowed = threshold + (ALLOWANCE if BETWEEN[0] < latency < BETWEEN[1] else 0.0)
    return "slow" if ratio < 1 - allowed else "fast" if ratio > 1 + threshold else ""


def parse_threshold(text: str) -> float:
    """Return 0.2 from ``20%`` or ``0.2``.

    Raises
    ------
    UsageError
        If it is no share between 0 and 1.
    """
    number = text.strip().removesuffix("%")
    try:
        value = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise UsageError(f"'{text}' is no threshold", hint="write a share: 20% or 0.2")
    return value


def payload_share(run: Run) -> float:
    """Return the share of a link's data rate that is payload, with packets of the run's MTU."""
    mtu = run.mtu_bytes or MTU_BYTES
    return mtu / (mtu + HEADER_BYTES)
