"""Many nodes asked at once: a tool waits for its answer most of the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

TOOLS_AT_ONCE = 6
"""As many as ibsim lets in beside a subnet manager and a few of the user's own."""

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


def at_once(ask: Callable[[Asked], Answer], items: Iterable[Asked]) -> list[Answer]:
    """Return the answers in order; the first failure ends it, and what has not begun is not asked any more."""
    pool = ThreadPoolExecutor(TOOLS_AT_ONCE)
    try:
        return list(pool.map(ask, items))
    finally:
        pool.shutdown(cancel_futures=True)
