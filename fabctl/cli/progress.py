"""A progress bar on stderr, where that is a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total: int, already: int = 0) -> Iterator[Callable[[], None]]:
    """Show how far a long command is; yield what is called after each of `total` parts, `already` of which are done."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb" or already >= total:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, completed=already)
        yield lambda: bar.advance(task)
