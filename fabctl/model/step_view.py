"""What ``fabctl bench step`` tells: how long a training's step takes, of what that is made, and how it scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Compute:
    """How long computing takes; unknown if both are 0.

    Parameters
    ----------
    efficiency : float
        Share of the GPU's peak that it reaches while it computes, waiting left out.
    ms : float
        Or milliseconds that the busiest rank computes in a step.
    """

    efficiency: float = 0.0
    ms: float = 0.0


@dataclass(frozen=True)
class StepPhase:
    """A collective of the step, in all its groups.

    Parameters
    ----------
    kind, name, operation : str
        As in `fabctl.model.job_view.PartView`.
    algorithm, protocol : str
        What NCCL would choose; protocol empty where the node is not known, or NCCL does not price the operation.
    groups, group_size : int
    message_bytes : float
        Of the busiest group.
    times : int
        Runs per step.
    seconds : float, optional
        Of one run; None if it needs an unknown inside of hosts.
    binds, binds_at : str
        What most of the time goes to, as in `fabctl.model.predictions.Row`; empty without a time.
    inside : bool
        Whether every group sits in one host.
    overlapped : bool
        Whether the job says that it hides behind compute.
    exposed_seconds : float
        What the step waits for it; without compute times that of what does not hide.
    """

    kind: str
    name: str
    operation: str
    algorithm: str
    protocol: str
    groups: int
    group_size: int
    message_bytes: float
    times: int
    seconds: float | None
    binds: str
    binds_at: str
    inside: bool
    overlapped: bool
    exposed_seconds: float = 0.0

    @property
    def step_seconds(self) -> float | None:
        """Of all runs in a step."""
        return None if self.seconds is None else self.seconds * self.times


@dataclass(frozen=True)
class Segment:
    """A part of the step's critical path.

    Parameters
    ----------
    name : str
        ``compute forward``, ``pipeline bubble``, ``tp``: communication by its kind.
    seconds : float
    """

    name: str
    seconds: float


@dataclass(frozen=True)
class ScaleRow:
    """The same training with fewer replicas, each with as many sequences (weak scaling).

    Parameters
    ----------
    n_hosts, n_ranks, dp : int
    step_seconds : float, optional
        None if compute is unknown.
    exposed_seconds : float
        Communication that the step waits for.
    tokens_per_s : float, optional
    efficiency : float, optional
        Throughput per rank against that of the first row; None if compute is unknown.
    waits_for : str
        Kind of communication that the step waits for longest; empty if it waits for none.
    """

    n_hosts: int
    n_ranks: int
    dp: int
    step_seconds: float | None
    exposed_seconds: float
    tokens_per_s: float | None
    efficiency: float | None
    waits_for: str


@dataclass(frozen=True)
class StepView:
    """A step of a training on one set of routes.

    Parameters
    ----------
    name, path : str
        Of the job.
    routes : str
        Engine or tables file.
    node : str
        Name of the node type; empty: unknown.
    gpu, precision : str
        In what the GPU multiplies; `gpu` empty: unknown.
    peak_tflops : float
        Of one GPU in that precision; 0: unknown.
    offloads : tuple of str
        Those that are on.
    hosts : str
        Node set.
    n_hosts, ranks_per_host, n_ranks : int
    model, source : str
        Title, and where its shape comes from.
    parameters : int
    parallelism : mapping of str to int
    sequences, tokens : int
        In a step; 0 tokens where the model has none.
    model_flops : float
        Of a step, without recomputation; 0: unknown.
    compute : Compute
    phases : tuple of StepPhase
    path_segments : tuple of Segment
        The critical path, adding up to `step_seconds`; without compute times only communication.
    hidden_seconds : float
        Communication that hides behind compute; without compute times what is meant to.
    notes, assumptions : tuple of str
    """

    name: str
    path: str
    routes: str
    node: str
    gpu: str
    precision: str
    peak_tflops: float
    offloads: tuple[str, ...]
    hosts: str
    n_hosts: int
    ranks_per_host: int
    n_ranks: int
    model: str
    source: str
    parameters: int
    parallelism: Mapping[str, int]
    sequences: int
    tokens: int
    model_flops: float
    compute: Compute
    phases: tuple[StepPhase, ...]
    path_segments: tuple[Segment, ...]
    hidden_seconds: float
    notes: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()

    def _sum(self, *names: str) -> float:
        return sum(segment.seconds for segment in self.path_segments if segment.name in names)

    @property
    def compute_seconds(self) -> float:
        """Computing on the busiest rank; 0 if it is unknown."""
        return self._sum(*COMPUTING)

    @property
    def bubble_seconds(self) -> float:
        """Waiting for the pipeline to fill and to drain, communication in it included."""
        return self._sum(BUBBLE)

    @property
    def exposed_seconds(self) -> float:
        """Communication that the step waits for, the bubble left out."""
        return self._sum(*(segment.name for segment in self.path_segments if segment.name not in (*COMPUTING, BUBBLE)))

    @property
    def step_seconds(self) -> float | None:
        """Time of a step; None if compute is unknown."""
        known = self.compute.efficiency or self.compute.ms
        return sum(segment.seconds for segment in self.path_segments) if known else None

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens of all ranks together per second; None if the step's time is unknown, or the model has no tokens."""
        return self.tokens / self.step_seconds if self.step_seconds and self.tokens else None

    @property
    def tflops_per_gpu(self) -> float | None:
        """Model operations per second and rank, 1e12; recomputation left out."""
        return self.model_flops / self.step_seconds / self.n_ranks / 1e12 if self.step_seconds and self.model_flops else None

    @property
    def mfu(self) -> float | None:
        """Share of the peak that the whole step reaches (model FLOPs utilisation)."""
        reached = self.tflops_per_gpu
        return reached / self.peak_tflops if reached is not None and self.peak_tflops else None


FORWARD, BACKWARD, BUBBLE = "compute, forward", "compute, backward", "pipeline bubble"
COMPUTING = (FORWARD, BACKWARD)
"""Names of segments that are computing."""
