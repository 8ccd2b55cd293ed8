"""Tables that the scripts here make, and the pages of docs/ that hold each between its script's marks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"
HEADING = ("| what | fabctl, CPU s | bound | whole process, CPU s | peak MB | peer |", "|---|---|---|---|---|---|")


def arguments(doc: str | None, page: str, **flags: str) -> argparse.Namespace:
    """Return a script's command line: ``--write``, and other flags with their help.

    Parameters
    ----------
    doc : str
        Its docstring.
    page : str
        The file in docs/ that ``--write`` is about.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in {"write": f"put what comes out into docs/{page}", **flags}.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    return parser.parse_args()


def publish(lines: Sequence[str], script: str, page: str, *, write: bool) -> None:
    """Print lines, and put them between a script's marks in a page of docs/ where that is asked for."""
    text = "\n".join(lines).strip()
    print(text)
    if not write:
        return
    begin, end = f"<!-- begin: benchmarks/{Path(script).name} -->", "<!-- end -->"
    before, mark, rest = (DOCS / page).read_text().partition(begin)
    if not mark:
        sys.exit(f"docs/{page} has no line {begin}")
    (DOCS / page).write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}")


def row(what: str, figures: dict[str, Any], bound: str, peer: str = "", digits: int = 2) -> str:
    """Return a row under `HEADING` of what `cases.py` measured; `digits` are those of fabctl's seconds."""
    return (
        f"| {what} | {figures['cpu_s']:.{digits}f} | {bound} | {figures['process_cpu_s']:.2f} |"
        f" {figures['peak_rss_mb']:.0f} | {peer} |"
    )
