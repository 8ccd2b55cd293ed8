"""Published numbers beside what fabctl predicts, and the table of docs/models.md.

    python tests/bench/published.py            # computes the table
    python tests/bench/published.py --write    # and puts it into docs/models.md

Each ``numbers_<part>.py`` beside this file holds a list ``NUMBERS``; `test_published.py` checks every one against its tolerance, and
that the page holds what comes out.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs/models.md"
BEGIN, END = "<!-- begin: tests/bench/published.py -->", "<!-- end -->"


@dataclass(frozen=True)
class Number:
    """A published number.

    Parameters
    ----------
    what : str
        System and quantity, for the table.
    unit : str
    published : float
        The middle of a published range.
    source : str
        Title, or project and issue; with the context that matters.
    predicted : callable
        Computes it with fabctl.
    tolerance : float
        Relative; with `reason`: why so much and not less.
    fitted : bool
        Whether a constant of the model was set by this very number: then it checks nothing, and the table says so.
    explained : str
        Where the model cannot meet it without tuning: why. The test then only checks that it still misses.
    at_least : bool
        Whether the number was published as a lower bound.
    """

    what: str
    unit: str
    published: float
    source: str
    predicted: Callable[[], float]
    tolerance: float
    reason: str
    fitted: bool = False
    explained: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the prediction is within the tolerance."""
        error = self.predicted() / self.published - 1
        return error >= -self.tolerance and (self.at_least or error <= self.tolerance)


def all_numbers() -> list[Number]:
    """Return the numbers of all parts, in the order of their files' names."""
    sys.path.insert(0, str(HERE))
    return [number for path in sorted(HERE.glob("numbers_*.py")) for number in importlib.import_module(path.stem).NUMBERS]


def table(numbers: list[Number]) -> str:
    """Return the table in Markdown."""
    lines = [
        "| what | published | predicted | error | tolerance, and why | source |",
        "|---|---|---|---|---|---|",
    ]
    for number in numbers:
        predicted = number.predicted()
        error = predicted / number.published - 1
        why = f"not met: {number.explained}" if number.explained else f"{number.tolerance:.1%}: {number.reason}"
        why = f"fitted to it; {why}" if number.fitted else why
        least = "> " if number.at_least else ""
        cells = (
            number.what,
            f"{least}{number.published:g} {number.unit}",
            f"{predicted:.4g}",
            f"{error:+.1%}",
            why,
            number.source,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page_table() -> str:
    """Return the table that docs/models.md holds."""
    return PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip()


if __name__ == "__main__":
    made = table(all_numbers())
    sys.stdout.write(made + "\n")
    if "--write" in sys.argv:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
