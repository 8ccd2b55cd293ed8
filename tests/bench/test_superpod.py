"""Every count of NVIDIA's SuperPOD tables, from the generator."""

from __future__ import annotations

import pytest
from numbers_superpod import ROWS, Row


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_the_generator_draws_the_published_counts(row: Row) -> None:
    assert row.drawn == row.published
