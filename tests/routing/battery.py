"""Every engine over every family of topologies at three sizes: what comes of it, and the table of docs/battery.md.

    python tests/routing/battery.py            # computes the table
    python tests/routing/battery.py --write    # and puts it into docs/battery.md

``1``, ``2`` ...: routes that reach everything, without loops, free of credit loops in so many virtual lanes. ``loop``: a credit loop
is possible, and named. ``-``: refused.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import families

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.routes import Verification
from fabctl.routing import ENGINES
from fabctl.routing.compute import compute_tables
from fabctl.routing.verify import verify

PAGE = Path(__file__).resolve().parent.parent.parent / "docs/battery.md"
BEGIN, END = "<!-- begin: tests/routing/battery.py -->", "<!-- end -->"
REFUSED, LOOP = "-", "loop"


def outcome(fabric: Fabric, engine: str) -> tuple[str, str]:
    """Return an engine's cell for a fabric, and why it refused.

    Raises
    ------
    AssertionError
        If it loses traffic, or loops.
    """
    try:
        tables = compute_tables(fabric, engine)
    except RefusedError as error:
        return REFUSED, error.message
    found: Verification = verify(tables)
    assert (found.lost_hca, found.loop, found.unlisted) == (0, (), ()), engine
    if found.credit_loop:
        return LOOP, ""
    return str(found.n_vls), ""


def expected() -> dict[tuple[str, str, str], str]:
    """Return the cells of docs/battery.md by engine, family and size."""
    heading, _, *rows = [line for line in PAGE.read_text().split(BEGIN)[1].split(END)[0].splitlines() if line.startswith("|")]
    engines = [name.strip(" `") for name in heading.split("|")[2:-1]]
    cells = {}
    for row in rows:
        family, *by_engine = (cell.strip(" `") for cell in row.split("|")[1:-1])
        for engine, text in zip(engines, by_engine, strict=True):
            cells.update({(engine, family, size): cell for size, cell in zip(families.SIZES, text.split(), strict=True)})
    return cells


def table() -> Iterator[str]:
    """Yield the lines of docs/battery.md's table."""
    engines = ENGINES.names()
    yield f"| family | {' | '.join(f'`{name}`' for name in engines)} |"
    yield "|---" * (len(engines) + 1) + "|"
    for family in families.SPECS:
        cells = [" ".join(outcome(families.build(family, size), name)[0] for size in families.SIZES) for name in engines]
        yield f"| {family} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table; write it on request."""
    text = "\n".join(table())
    sys.stdout.write(f"{text}\n")
    if "--write" in sys.argv:
        page = PAGE.read_text()
        block = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.DOTALL)
        PAGE.write_text(block.sub(f"{BEGIN}\n\n{text}\n\n{END}", page))


if __name__ == "__main__":
    main()
