"""Every engine over every family at three sizes, against the table of docs/battery.md (see `battery`)."""

from __future__ import annotations

import random
import re

import battery
import families
import numpy as np
import pytest

from fabctl.routing import ENGINES
from fabctl.routing.compute import compute_tables
from fabctl.sources import ibsim_net as ibsim_source
from fabctl.twin.netfile import ibsim_net

REASONS = {
    "ftree": "ftree needs a fat tree: .* links do not join neighbouring tiers",
    "torus-2QoS": "this fabric is no grid|torus-2QoS needs a torus or a mesh",
    "dfp": r"this fabric is no Dragonfly\+",
}
"""Engines that may refuse a whole fabric, and what they say."""


@pytest.mark.parametrize("size", families.SIZES)
@pytest.mark.parametrize("family", families.SPECS)
def test_engines(family: str, size: str) -> None:
    fabric, cells = families.build(family, size), battery.expected()
    for engine in ENGINES.names():
        cell, reason = battery.outcome(fabric, engine)
        assert cell == cells[engine, family, size], f"{engine}: {reason}"
        if cell == battery.REFUSED:
            assert re.search(REASONS[engine], reason), reason


@pytest.mark.parametrize("family", families.SPECS)
def test_the_order_of_a_dump_changes_nothing(family: str) -> None:
    first, *blocks = ibsim_net(families.build(family, "small")).split("\n\n")
    one, _ = ibsim_source.parse("\n\n".join([first, *blocks]), "one.net")
    random.Random(1).shuffle(blocks)
    other, _ = ibsim_source.parse("\n\n".join([first, *blocks]), "other.net")
    cells = battery.expected()
    for engine in ENGINES.names():
        if cells[engine, family, "small"] == battery.REFUSED:
            continue
        tables = [compute_tables(fabric, engine) for fabric in (one, other, one)]
        for again in tables[1:]:
            np.testing.assert_array_equal(again.lft, tables[0].lft, err_msg=engine)
            np.testing.assert_array_equal(again.service_level, tables[0].service_level, err_msg=engine)
