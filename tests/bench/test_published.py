"""Every published number within its stated tolerance, and docs/models.md as the command makes it."""

from __future__ import annotations

import published
import pytest
from published import Number

NUMBERS = published.all_numbers()


@pytest.mark.parametrize("number", NUMBERS, ids=[f"{number.what} ({number.unit})" for number in NUMBERS])
def test_published(number: Number) -> None:
    assert number.met == (not number.explained), number.predicted()


def test_the_page_holds_what_comes_out() -> None:
    assert published.page_table() == published.table(NUMBERS), "python tests/bench/published.py --write"
