"""`Flows`: who sends how much to whom, between ports of HCAs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Flows:
    """Concurrent point-to-point transfers.

    Parameters
    ----------
    src, dst : int32 array of shape (n_flows,)
        Sending and receiving port (indices into a fabric's port columns; see `Fabric.endpoints`).
    weight : float64 array of shape (n_flows,)
        How much each flow carries, in the unit that its maker documents (1 per flow for patterns, bytes for collectives).
    """

    src: NDArray[np.int32]
    dst: NDArray[np.int32]
    weight: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.src)


def unit_flows(src: NDArray[np.int32], dst: NDArray[np.int32]) -> Flows:
    """Return flows of weight 1."""
    return Flows(src.astype(np.int32), dst.astype(np.int32), np.ones(len(src)))
