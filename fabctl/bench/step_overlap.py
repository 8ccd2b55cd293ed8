"""From the times of computing and of each collective to the time of a step: what waits, what hides, and the pipeline's bubble.

Rules, with m microbatches, p stages and v virtual stages on each:

- A rank computes F forward and B backward for each microbatch, on the fullest stage.
- What is not meant to hide waits: exchanges of tensor, context and expert parallelism and transfers between stages once for each
  microbatch; embeddings and data parallelism once a step.
- What is meant to hide hides behind computing of its own microbatch, as much as there is. Two collectives share that time where
  both use the fabric, or both the links inside hosts; what is longer waits. Gradients of data parallelism hide behind backward of
  the last microbatch ([2]_ section 3.2.3: by buckets, as they become ready), gathered parameters behind forward of the first
  ([3]_), but one layer of each never does: there is nothing to compute before the first, nor after the last. FSDP's gathers and
  scatters hide behind all of their microbatch ([3]_ section 3.3), as do ZeRO 2's scatters behind its backward.
- The pipeline fills and drains: the other stages' microbatches, a v-th of each ([1]_ section 2.2: (p - 1) / v of a microbatch
  where stages are equal, less than this where they are not), with their transfers, which then have nothing to hide behind.

References
----------
.. [1] Narayanan et al., Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM, SC 2021.
.. [2] Li et al., PyTorch Distributed: Experiences on Accelerating Data Parallel Training, VLDB 2020.
.. [3] Zhao et al., PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel, VLDB 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fabctl.bench.step_compute import StageTimes
from fabctl.model.step_view import BACKWARD, BUBBLE, FORWARD, Segment, StepPhase
from fabctl.traffic.training_spec import KINDS

EVERY, EVERY_BACKWARD, FIRST_FORWARD, LAST_BACKWARD = "every microbatch", "every backward", "first forward", "last backward"
"""Computing behind which communication hides."""


@dataclass(frozen=True)
class Pipeline:
    """How a step is cut in time.

    Parameters
    ----------
    microbatches, stages, interleave : int
    layers : int
        Of the fullest stage; 0: unknown.
    zero : int
        ZeRO stage: whether data parallelism runs once a step or for each microbatch.
    """

    microbatches: int
    stages: int = 1
    interleave: int = 1
    layers: int = 0
    zero: int = 0

    def once(self, phase: StepPhase) -> bool:
        """Tell whether a phase runs once a step, however many microbatches there are."""
        if phase.kind == "dp":
            return self.zero < 2 or (self.zero == 2 and phase.operation == "all_gather")
        return phase.kind == "embedding"


@dataclass(frozen=True)
class Schedule:
    """A step in time.

    Parameters
    ----------
    phases : tuple of StepPhase
        With what each is waited for.
    segments : tuple of Segment
        The critical path.
    hidden_seconds : float
        Communication behind computing.
    """

    phases: tuple[StepPhase, ...]
    segments: tuple[Segment, ...]
    hidden_seconds: float


def schedule(phases: Sequence[StepPhase], pipeline: Pipeline, stages: StageTimes | None) -> Schedule:
    """Return a step in time.

    Parameters
    ----------
    phases : sequence of StepPhase
        Those without a time count as nothing.
    stages : StageTimes, optional
        None: computing is unknown; then all that is meant to hide does.

    Complexity
    ----------
    O(phases).
    """
    times = stages or StageTimes(np.zeros(pipeline.stages), np.zeros(pipeline.stages))
    fullest = int(np.argmax(times.both))
    forward, backward = float(times.forward[fullest]), float(times.backward[fullest])
    m = pipeline.microbatches
    waited = [0.0 if phase.overlapped else phase.step_seconds or 0.0 for phase in phases]
    windows: dict[tuple[str, bool], list[int]] = {}
    for number, phase in enumerate(phases):
        if phase.overlapped:
            windows.setdefault((_window(phase, pipeline), phase.inside), []).append(number)
    room = {EVERY: m * (forward + backward), EVERY_BACKWARD: m * backward, FIRST_FORWARD: forward, LAST_BACKWARD: backward}
    for (window, _), numbers in windows.items() if stages else ():
        total = sum(phases[number].step_seconds or 0.0 for number in numbers)
        one_layer = total / pipeline.layers if pipeline.layers and window in (FIRST_FORWARD, LAST_BACKWARD) else 0.0
        waits = max(total - room[window], one_layer)
        for number in numbers:
            waited[number] = (phases[number].step_seconds or 0.0) * waits / total if total else 0.0

    exposed = tuple(replace(phase, exposed_seconds=seconds) for phase, seconds in zip(phases, waited, strict=True))
    per_microbatch = sum(phase.exposed_seconds for phase in exposed if not pipeline.once(phase)) / m
    hidden_transfers = sum((phase.step_seconds or 0.0) - phase.exposed_seconds for phase in exposed if phase.kind == "pp") / m
    others = float(times.both.sum() - times.both[fullest])
    bubble = (others + (pipeline.stages - 1) * (per_microbatch + hidden_transfers)) / pipeline.interleave
    by_kind = {kind: sum(phase.exposed_seconds for phase in exposed if phase.kind == kind) for kind in KINDS}
    segments = [Segment(FORWARD, m * forward), Segment(BACKWARD, m * backward)] if stages else []
    segments += [Segment(kind, seconds) for kind, seconds in by_kind.items() if seconds]
    segments += [Segment(BUBBLE, bubble)] if bubble else []
    hidden = sum((phase.step_seconds or 0.0) - phase.exposed_seconds for phase in exposed)
    return Schedule(exposed, tuple(segments), max(hidden, 0.0))


def _window(phase: StepPhase, pipeline: Pipeline) -> str:
    """Return the computing behind which a phase hides."""
    if not pipeline.once(phase):
        return EVERY_BACKWARD if phase.kind == "dp" and pipeline.zero == 2 else EVERY
    return FIRST_FORWARD if phase.operation == "all_gather" else LAST_BACKWARD
