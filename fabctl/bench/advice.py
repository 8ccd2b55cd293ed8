"""Where NCCL's choice is not the fastest on these routes: it knows neither them nor the other hosts' cables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from fabctl.bench.pricing import NCCL, Priced
from fabctl.model.predictions import LATENCY
from fabctl.units import size_text

WORTH = 1.1
"""How much longer NCCL's choice takes than another at least, for it to be worth a line."""


def advice(options: Sequence[list[Priced]]) -> tuple[str, ...]:
    """Return a line for the run of sizes where most time is lost; none if NCCL chooses well.

    Parameters
    ----------
    options : sequence of list of Priced
        For each size all ways, NCCL's choice first.
    """
    pairs = [(ways[0], min(ways, key=lambda way: way.time_us)) for ways in options]
    runs = []
    for key, run in groupby(pairs, key=_switch):
        if key:
            runs.append(list(run))
    if not runs:
        return ()
    lost = max(runs, key=lambda run: sum(chosen.time_us - best.time_us for chosen, best in run))
    first, (chosen, best) = lost[0][0].size_bytes, lost[-1]
    kind, name = chosen.binds
    why = "its latency is more" if kind in (LATENCY, NCCL) else f"{chosen.algorithm} meets {name}"
    sizes = size_text(chosen.size_bytes) if len(lost) == 1 else f"{size_text(first)} to {size_text(chosen.size_bytes)}"
    setting = f"NCCL_ALGO={best.algorithm} NCCL_PROTO={best.protocol}"
    share = f"{best.time_us / chosen.time_us:.0%}"
    return (f"at {sizes} {setting} would take {share} of the time of NCCL's {chosen.algorithm}: {why}",)


def _switch(pair: tuple[Priced, Priced]) -> tuple[str, ...]:
    """Return what to change for a size; nothing where NCCL's choice is good enough."""
    chosen, best = pair
    if chosen.time_us < best.time_us * WORTH:
        return ()
    return chosen.algorithm, best.algorithm, best.protocol
