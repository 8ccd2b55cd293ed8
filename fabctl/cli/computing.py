"""``--efficiency`` and ``--compute-ms``: how long a training computes, as commands offer it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import click

from fabctl.errors import UsageError


def compute_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--efficiency`` and ``--compute-ms`` as one `Compute`, ``compute``; None if neither is given."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from fabctl.model.step_view import Compute

        efficiency, compute_ms = kwargs.pop("efficiency"), kwargs.pop("compute_ms")
        if efficiency is not None and compute_ms is not None:
            raise UsageError("--efficiency excludes --compute-ms")
        if efficiency is not None and not 0 < efficiency <= 1:
            raise UsageError(f"--efficiency {efficiency:g} is no share of the peak", hint="above 0, at most 1: 0.6")
        if compute_ms is not None and not 0 < compute_ms < math.inf:
            raise UsageError(f"--compute-ms {compute_ms:g} is no time", hint="milliseconds above 0")
        given = efficiency is not None or compute_ms is not None
        return command(*args, compute=Compute(efficiency or 0.0, compute_ms or 0.0) if given else None, **kwargs)

    for option, metavar, text in (
        ("--compute-ms", "MS", "Or what the busiest rank computes in a step, milliseconds."),
        ("--efficiency", "SHARE", "Of a training: share of the GPUs' peak that they reach while they compute: 0.6."),
    ):
        wrapped = click.option(option, type=float, metavar=metavar, help=text)(wrapped)
    return wrapped
