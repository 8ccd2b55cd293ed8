"""Message sizes as nccl-tests steps through them and rounds them."""

from __future__ import annotations

from collections.abc import Sequence

from fabctl.errors import RefusedError, UsageError
from fabctl.traffic.collective import Collective

ELEMENT_BYTES = 4
"""nccl-tests' default type, float."""
PIECE_BYTES = 16
"""nccl-tests rounds each rank's piece of a split message down to this."""


def size_range(begin_bytes: int, end_bytes: int, factor: int) -> list[int]:
    """Return nccl-tests' sizes: from `begin_bytes` to `end_bytes`, each `factor` times the one before.

    Raises
    ------
    UsageError
        If the range is empty, or the factor does not grow.
    """
    if begin_bytes < 1:
        raise UsageError("the smallest size must be at least 1 byte")
    if end_bytes < begin_bytes:
        raise UsageError(f"the largest size ({end_bytes}) is below the smallest ({begin_bytes})")
    if factor < 2:
        raise UsageError(f"the factor between sizes must be at least 2, not {factor}")
    sizes = [begin_bytes]
    while sizes[-1] * factor <= end_bytes:
        sizes.append(sizes[-1] * factor)
    return sizes


def shapes(collective: Collective, n_ranks: int, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Return size and count as nccl-tests prints them for some sizes, each once.

    Raises
    ------
    RefusedError
        If all are too small to be split over the ranks.
    """
    found = dict.fromkeys(_shape(collective, n_ranks, size) for size in sizes)
    found.pop((0, 0), None)
    if not found:
        least = PIECE_BYTES * n_ranks if collective.per_rank else ELEMENT_BYTES
        raise RefusedError(f"{collective.name} over {n_ranks} ranks needs messages of at least {least} bytes")
    return list(found)


def rounding_notes(collectives: Sequence[Collective]) -> tuple[str, ...]:
    """Return what to say of the rounding."""
    split = ", ".join(collective.name for collective in collectives if collective.per_rank)
    return (f"{split}: sizes are rounded down to {PIECE_BYTES} bytes per rank, as nccl-tests does",) if split else ()


def _shape(collective: Collective, n_ranks: int, size_bytes: int) -> tuple[int, int]:
    count = size_bytes // ELEMENT_BYTES
    if not collective.per_rank:
        return count * ELEMENT_BYTES, count
    per_piece = PIECE_BYTES // ELEMENT_BYTES
    count = count // n_ranks // per_piece * per_piece
    return count * ELEMENT_BYTES * n_ranks, count
