"""Options of adaptive routing and hashing, and what they add to a report of routes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.common import TEXT_FORMATS
from fabctl.errors import UsageError

if TYPE_CHECKING:
    from fabctl.model.flows import Flows
    from fabctl.model.routes import Assessment
    from fabctl.report.output import Report

MODES = ("lag", "tree", "dragonfly+")
MOST_QPS = 128
HIGHEST_SL = 15
_NAMES = ("adaptive_mode", "adaptive_sls", "hash_seed", "qps")


def adaptive_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--adaptive``, ``--adaptive-sls``, ``--hash`` and ``--qps`` as one dict, ``adaptive``; empty if none is given."""
    command = _collected(command)
    for decorate in (
        click.option(
            "--qps", type=click.IntRange(1, MOST_QPS), metavar="N", help="With --hash: queue pairs per flow.  [default: 1]"
        ),
        click.option(
            "--hash",
            "hash_seed",
            type=click.IntRange(min=0),
            metavar="SEED",
            help="Score flows hashed over the ports of --adaptive (HBF); without it, over the LIDs of a port (LMC).",
        ),
        click.option("--adaptive-sls", metavar="SL,SL", help="Service levels that --adaptive routes.  [default: all]"),
        click.option(
            "--adaptive",
            "adaptive_mode",
            type=click.Choice(MODES),
            help="Score adaptive routing beside the static routes, with groups of ports by this algorithm.",
        ),
    ):
        command = decorate(command)
    return command


def with_adaptive(
    report: Report,
    adaptive: dict[str, Any],
    assessment: Assessment,
    traffic: tuple[Flows | None, str],
    *,
    bisections: int,
    seed: int,
) -> Report:
    """Return a report of routes with adaptive routing beside them, if that is asked for and there is anything to score.

    Parameters
    ----------
    traffic : tuple of (Flows or None, str)
        As `fabctl.traffic.scope.scope` gives it.

    Raises
    ------
    RefusedError
        If there is nothing to choose between.
    """
    if not adaptive or assessment.quality is None:
        return report
    from fabctl.congestion.adaptive_quality import Ask, adaptive_quality
    from fabctl.report.adaptive import add_adaptive

    flows, title = traffic
    found = adaptive_quality(
        assessment.tables,
        assessment.ports,
        flows,
        Ask(**adaptive),
        traffic=title,
        static_ebb=assessment.quality.ebb,
        samples=bisections,
        seed=seed,
    )
    return add_adaptive(report, found)


def read_sls(text: str) -> frozenset[int]:
    """Return the service levels of a list like ``0,1``.

    Raises
    ------
    UsageError
        If it is no list of service levels.

    Examples
    --------
    >>> sorted(read_sls("3, 0"))
    [0, 3]
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) <= HIGHEST_SL for part in parts):
        raise UsageError(
            f"--adaptive-sls: '{text}' is no list of service levels", hint=f"write numbers from 0 to {HIGHEST_SL}: 0,1"
        )
    return frozenset(int(part) for part in parts)


def _collected(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        mode, sls, hash_seed, qps = (kwargs.pop(name) for name in _NAMES)
        if sls is not None and mode is None:
            raise UsageError("--adaptive-sls is for --adaptive", hint=f"--adaptive {'|'.join(MODES)}")
        if qps is not None and hash_seed is None:
            raise UsageError("--qps is for --hash", hint="--hash SEED --qps N")
        adaptive: dict[str, Any] = {}
        if mode is not None or hash_seed is not None:
            if kwargs.get("output_format") not in TEXT_FORMATS:
                raise UsageError(
                    f"-o {kwargs.get('output_format')} writes the tables' own routes",
                    hint="leave --adaptive and --hash out",
                )
            enabled = None if sls is None else read_sls(sls)
            adaptive = {"mode": mode or "", "sls": enabled, "hash_seed": hash_seed, "qps": qps or 1}
        return command(*args, adaptive=adaptive, **kwargs)

    return wrapped
