"""`RoutingTables`: the linear forwarding tables of all switches, with service levels where there are several."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric

NO_ROUTE = 255
"""LFT entry of a LID that a switch drops (InfiniBand Architecture Specification volume 1, section 14.2.5.6)."""


@dataclass(frozen=True, eq=False)
class RoutingTables:
    """Forwarding tables bound to a fabric.

    Parameters
    ----------
    fabric : Fabric
    lft : uint8 array of shape (n_switches, max LID + 1)
        Output port of each switch for each LID; `NO_ROUTE` where it has none, 0 for its own LID.
    origin : str
        Where they come from: an engine's name or a file.
    service_level : uint8 array of shape (n_switches, max LID + 1), optional
        SL by destination LID and the switch that the sending HCA hangs from; None means SL 0 for all. Each SL travels on the
        virtual lane of its own number.
    notes : tuple of str
        Assumptions worth printing.
    """

    fabric: Fabric
    lft: NDArray[np.uint8]
    origin: str
    service_level: NDArray[np.uint8] | None = None
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def n_vls(self) -> int:
        """Data virtual lanes that a port needs: one more than the highest SL."""
        return 1 if self.service_level is None else int(self.service_level.max(initial=0)) + 1

    @cached_property
    def next_channel(self) -> NDArray[np.int32]:
        """Channel that each switch forwards each LID to, shape (n_switches, max LID + 1); -1 where it forwards to none.

        Entry -1 stands for no route, for a port without cable and for the switch's own LID alike.
        """
        channel_at = self.fabric.channel_at
        out = np.empty(self.lft.shape, dtype=np.int32)
        for switch in range(self.fabric.n_switches):
            np.take(channel_at[switch], self.lft[switch], out=out[switch])
        return out
