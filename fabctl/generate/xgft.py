"""Extended generalised fat trees by their papers' parameters: ``m``, ``w`` and, for parallel cables, ``p``.

See `fabctl.generate.tree` for the structure, the numbering and the papers. ``XGFT(2;16,32;1,16)`` is written ``m: [16, 32]`` and
``w: [1, 16]``.
"""

from __future__ import annotations

from collections.abc import Mapping

from fabctl.generate.plan import Family, Plan, Settings, checked, plain_plan
from fabctl.generate.tree import Tree
from fabctl.yamlspec import Node

MAX_HEIGHT = 8


def _plan(values: Mapping[str, Node], settings: Settings) -> Plan:
    children = values["m"]
    m = _numbers(children)
    if not 1 <= len(m) <= MAX_HEIGHT:
        raise children.error(f"'m' has {len(m)} levels, a tree has 1 to {MAX_HEIGHT}")
    w = _numbers(values["w"], len(m))
    p = _numbers(values["p"], len(m)) if "p" in values else (1,) * len(m)
    if w[0] != 1:
        raise (
            values["w"]
            .items()[0]
            .error(
                f"'w' must begin with 1, not {w[0]}: leaves that share hosts only share no fabric",
                hint="for hosts with an HCA on each of several leaves take family: rail-optimised",
            )
        )
    return plain_plan(checked(Tree(m, w, p), settings), settings)


def _numbers(values: Node, length: int | None = None) -> tuple[int, ...]:
    numbers = tuple(item.integer(low=1) for item in values.items())
    if length is not None and len(numbers) != length:
        raise values.error(f"'{values.name}' has {len(numbers)} levels, 'm' has {length}")
    return numbers


FAMILY = Family(keys=("m", "w", "p"), required=("m", "w"), plan=_plan)
