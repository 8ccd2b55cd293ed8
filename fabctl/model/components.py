"""Which switches hang together, over the channels that one looks at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def components(n: int, src: NDArray[np.int32], dst: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the lowest number in the component of each of `n` switches, over channels in both directions.

    Parameters
    ----------
    src, dst : int32 array of shape (n_channels,)
        Ends of each channel.
    """
    label = np.arange(n)
    while True:
        lower = label.copy()
        np.minimum.at(lower, src, label[dst])
        lower = lower[lower]
        if np.array_equal(lower, label):
            return label
        label = lower
