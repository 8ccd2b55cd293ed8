"""Signals held back while values are half written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HANGUP = (signal.SIGHUP,)
"""The terminal is gone: the work goes on without it."""

ALL = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back(*signals: signal.Signals) -> Iterator[None]:
    """Do nothing on some signals. Tools are in process groups of their own, which a terminal does not signal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda _number, _frame: None) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
