"""Likely causes of what a run shows, the likeliest first."""

from __future__ import annotations

from fabctl.bench.validation import fits, said
from fabctl.bench.validation.ground import Expected, Ground
from fabctl.model.validation import Cause, Compared, Run

ORDER = ("certain", "likely", "possible")


def likely_causes(
    run: Run, rows: tuple[Compared, ...], expected: Expected, ground: Ground, threshold: float
) -> tuple[Cause, ...]:
    """Return what the log itself says, and what its numbers suggest."""
    case = fits.Case(run, rows, expected, ground, threshold)
    found = [
        said.separate_runs(run),
        said.wrong_values(run),
        said.sockets(run),
        said.staged(run),
        said.fewer_hcas(run, expected),
        said.other_gpus(run, ground),
        said.other_choices(run, rows),
        fits.cliff(run, rows) if run.copies == 1 else None,
        fits.predicted_collision(case),
    ]
    if any(row.flag for row in rows):
        found += [
            fits.plateau(case),
            fits.hosts_unknown(case),
            fits.gdr_off(case),
            fits.nvls_off(case),
            fits.sharp_off(case),
            fits.sharp_on(case),
            fits.beyond_cables(case),
            fits.two_hosts(case),
            fits.degraded_links(case),
            fits.shared_cable(case),
            fits.wrong_unit(case),
            fits.slow_member(case),
            fits.slow_latency(case),
        ]
    found.append(fits.unsteady(rows) if run.copies == 1 else None)
    return tuple(sorted((cause for cause in found if cause), key=lambda cause: ORDER.index(cause.certainty)))
