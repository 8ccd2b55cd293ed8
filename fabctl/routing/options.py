"""What an operator may ask of any engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.phases import JobTraffic

DATA_VLS = 8
"""Data virtual lanes that hardware of the last decade and ibsim have; the architecture allows 15."""


@dataclass(frozen=True, eq=False)
class Options:
    """Options of engines; each engine's registry entry says which it honours.

    Parameters
    ----------
    max_vls : int
        Data virtual lanes that the engine may use, 1 to 15.
    roots : tuple of int
        Switches that stand at the top (OpenSM's ``-a``); empty: found by structure.
    ignored : tuple of int
        Ports of HCAs that balancing does not count as destinations (OpenSM's ``-i``).
    hop_weight : int16 array of shape (n_channels,), optional
        Length of each channel in hops, 1 or more (OpenSM's ``--hop_weights_file``); None: all are 1.
    traffic : tuple of JobTraffic
        What the jobs that run send, for the engine ``jobs``. It weighs paths and allows or forbids none, so the other engines may
        be given it as well, and leave it.
    """

    max_vls: int = DATA_VLS
    roots: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()
    hop_weight: NDArray[np.int16] | None = None
    traffic: tuple[JobTraffic, ...] = ()

    def given(self) -> tuple[str, ...]:
        """Return the names of the options that differ from their defaults, as the command line has them."""
        asked = {
            "vls": self.max_vls != DATA_VLS,
            "root": bool(self.roots),
            "ignore-port": bool(self.ignored),
            "hop-weights": self.hop_weight is not None,
        }
        return tuple(name for name, is_given in asked.items() if is_given)


DEFAULTS = Options()
