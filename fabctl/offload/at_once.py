"""Many places asked at once: a tool, or UFM, waits for its answer most of the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fabctl.model.offload_plan import Place
from fabctl.offload.site import Site
from fabctl.sources.live import TOOLS_AT_ONCE

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


def at_once(ask: Callable[[Asked], Answer], items: Iterable[Asked]) -> list[Answer]:
    """Return the answers in order; the first failure ends it, and what has not begun is not asked any more.

    What is asked may ask at once in its turn: tools that run together are counted where they are run.
    """
    pool = ThreadPoolExecutor(TOOLS_AT_ONCE)
    try:
        return list(pool.map(ask, items))
    finally:
        pool.shutdown(cancel_futures=True)


def read_all(site: Site, places: Iterable[Place]) -> list[str | None]:
    """Return what is configured at places, in order.

    Raises
    ------
    SourceError
        If one cannot be read.
    """
    return at_once(lambda place: site.driver(place.driver).read(place), places)
