"""What the local search for jobs hands to its kernel: arrays by name."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Net(NamedTuple):
    """What does not change: channels, allowed paths (as `fabctl.routing.paths.Paths`, target first) and the demand."""

    ptr: NDArray[np.int32]
    src: NDArray[np.int32]
    dst: NDArray[np.int32]
    slowness: NDArray[np.float64]
    label: NDArray[np.int16]
    goes_down: NDArray[np.bool_]
    channel_down: NDArray[np.bool_]
    home: NDArray[np.int32]
    first: NDArray[np.int64]
    leaf: NDArray[np.int32]
    phase: NDArray[np.int32]
    amount: NDArray[np.float64]
    jobs: NDArray[np.int64]
    job: NDArray[np.int32]
    share: NDArray[np.float64]


class State(NamedTuple):
    """What moves change: next channels and sending switches behind them, both by switch and destination, and loads.

    `worst`, `mean` and `part` are as in `fabctl.routing.demand.Loads`.
    """

    next_channel: NDArray[np.int32]
    behind: NDArray[np.int32]
    worst: NDArray[np.float64]
    mean: NDArray[np.float64]
    part: NDArray[np.float64]


class Work(NamedTuple):
    """Scratch: by switch (`via` -1 between calls, `seen` 0), by phase (`sums` 0), by channel (`barred` False), by job, by move.

    `effort` is what was spent, what may be, and whether worst moments count.
    A chain keeps destination, switch, number of replaced entries and relieved channel; of these entries, switch and channel.
    """

    cost: NDArray[np.float64]
    via: NDArray[np.int32]
    queue: NDArray[np.int32]
    seen: NDArray[np.int32]
    starts: NDArray[np.int32]
    kinds: NDArray[np.int32]
    sums: NDArray[np.float64]
    moved: NDArray[np.int32]
    replaced: NDArray[np.int32]
    waiting: NDArray[np.int32]
    barred: NDArray[np.bool_]
    effort: NDArray[np.int64]
    chance: NDArray[np.uint64]
