"""One destination on the mend, on a fabric small enough to know every answer."""

from __future__ import annotations

import numpy as np
import pytest
from routing_oracles import build

from fabctl.model.fabric import Fabric
from fabctl.routing.repair import Repair

HOME, DEAD, BEHIND, SHORT, LONG = range(5)


@pytest.fixture
def fabric() -> Fabric:
    """HOME hangs below SHORT and LONG; DEAD has lost its cable to HOME; BEHIND forwarded to DEAD, and could to SHORT."""
    return build([1, 1, 1, 0, 0], [(HOME, SHORT), (HOME, LONG), (DEAD, LONG), (BEHIND, DEAD), (BEHIND, SHORT)])


def channel(fabric: Fabric, here: int, there: int) -> int:
    found = np.flatnonzero((fabric.channel_src == here) & (fabric.channel_dst == there))
    return int(found[0])


def mend(fabric: Fabric, limit: list[int], order: list[int] | None = None) -> tuple[dict[int, int], set[int], list[float]]:
    """Return whom DEAD and BEHIND forward to once mended, who is stranded, and the loads."""
    repair = Repair(fabric, np.array([1, 1, 1, 0, 0]), np.zeros(len(fabric.channel_port)))
    ways = [-1, -1, channel(fabric, BEHIND, DEAD), channel(fabric, SHORT, HOME), channel(fabric, LONG, HOME)]
    stranded = repair.mend(HOME, ways, [1, -1, -1, 2, 2], limit, order)
    return {s: int(fabric.channel_dst[ways[s]]) for s in (DEAD, BEHIND) if s not in stranded}, stranded, repair._load


def test_an_entry_stays_while_its_path_is_no_longer_than_allowed(fabric: Fabric) -> None:
    ways, stranded, load = mend(fabric, [1, 3, 4, 2, 2])
    assert (ways, stranded) == ({DEAD: LONG, BEHIND: DEAD}, set())
    assert load[channel(fabric, LONG, HOME)] == load[channel(fabric, DEAD, LONG)] == 2


def test_an_entry_moves_if_its_path_grew_longer_than_the_engine_s(fabric: Fabric) -> None:
    ways, stranded, load = mend(fabric, [1, 3, 3, 2, 2])
    assert (ways, stranded) == ({DEAD: LONG, BEHIND: SHORT}, set())
    assert load[channel(fabric, SHORT, HOME)] == 1


def test_a_longer_path_is_better_than_none(fabric: Fabric) -> None:
    ways, stranded, _ = mend(fabric, [1, 2, 2, 2, 2])
    assert stranded == set()
    assert ways[DEAD] == LONG


def test_the_order_of_channels_is_kept(fabric: Fabric) -> None:
    order = [0] * len(fabric.channel_port)
    order[channel(fabric, LONG, HOME)] = order[channel(fabric, SHORT, HOME)] = 1
    order = [5 if at == channel(fabric, BEHIND, DEAD) else level for at, level in enumerate(order)]
    ways, stranded, _ = mend(fabric, [-1] * 5, order)
    assert (ways, stranded) == ({DEAD: LONG, BEHIND: SHORT}, set())
    order[channel(fabric, BEHIND, SHORT)] = 5
    assert mend(fabric, [-1] * 5, order)[1] == {BEHIND}
    order[channel(fabric, DEAD, LONG)] = 1
    assert mend(fabric, [-1] * 5, order)[1] == {DEAD, BEHIND}
