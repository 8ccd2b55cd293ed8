"""``job.yaml``: which hosts, how many ranks, which collective or pattern, which sizes.

::

    hosts: luna-[001-016]        # a node set, `all` (all complete compute hosts), or a list of such
    ranks_per_host: 8            # default: one rank per HCA used
    rails: [0, 1, 2, 3]          # default: every rail that all hosts have
    order: as-given              # rank order of the hosts: as-given, sorted, random
    seed: 1                      # of the random order and the random patterns
    collective: all_reduce       # one, a list, or `all`; or instead a pattern:
    # pattern: shift             # ring, shift, alltoall, bisect, permutation
    # shift: 4                   # distance of the shift, default 1
    size: 256M                   # or sizes: [64K, 1M, 1G]; default: 8 bytes to 16 GiB
    pxn: true                    # all-to-all goes by NVLink to the destination's rail first (NCCL's PXN); default: false
"""

from __future__ import annotations

from dataclasses import dataclass

from fabctl.errors import InputError, UsageError
from fabctl.traffic import PATTERNS
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.explicit import Operation, Transfer
from fabctl.units import parse_size
from fabctl.yamlspec import Node, load

ORDERS = ("as-given", "sorted", "random")
KEYS = ("hosts", "ranks_per_host", "rails", "order", "seed", "collective", "pattern", "shift", "size", "sizes", "pxn")
ALL = "all"


@dataclass(frozen=True)
class Placed:
    """A value of a job file with its place, for the messages of those who check it against a fabric."""

    text: str
    where: str


@dataclass(frozen=True)
class JobSpec:
    """A job as its file describes it, before it meets a fabric.

    Parameters
    ----------
    path : str
        File name, for messages; empty for the default job.
    name : str
    hosts : tuple of Placed
        Names, node sets or ``all``.
    ranks_per_host : int, optional
    ranks_where : str
        Place of ``ranks_per_host``.
    rails : tuple of int, optional
    rails_where : str
        Place of ``rails``.
    order : str
        One of `ORDERS`.
    seed : int
    collectives : tuple of str
        Registered names; empty if a pattern is given.
    pattern : str
        Registered name, or empty.
    shift : int
        Distance of the pattern ``shift``.
    sizes : tuple of int
        Bytes; empty if the file names none.
    pxn : bool
    transfers : tuple of Transfer
        Sent all at once, in place of collectives.
    operations : tuple of Operation
        Run one after the other, in place of collectives.
    n_ranks : int
        Ranks of a trace, which names no hosts: they take the first hosts that hold them. 0: all ranks of all hosts.
    notes : tuple of str
        What the reader of the file decided, worth printing.
    """

    path: str = ""
    name: str = "job"
    hosts: tuple[Placed, ...] = (Placed(ALL, ""),)
    ranks_per_host: int | None = None
    ranks_where: str = ""
    rails: tuple[int, ...] | None = None
    rails_where: str = ""
    order: str = "as-given"
    seed: int = 1
    collectives: tuple[str, ...] = tuple(COLLECTIVES.names())
    pattern: str = ""
    shift: int = 1
    sizes: tuple[int, ...] = ()
    pxn: bool = False
    transfers: tuple[Transfer, ...] = ()
    operations: tuple[Operation, ...] = ()
    n_ranks: int = 0
    notes: tuple[str, ...] = ()


def parse_job(text: str, path: str) -> JobSpec:
    """Read a job file.

    Raises
    ------
    InputError
        With ``file:line:column``, and the nearest right word for a typo.
    """
    values = load(text, path).mapping(KEYS, required=("hosts",))
    _exclude(values, "collective", "pattern")
    _exclude(values, "size", "sizes")
    ranks, rails, pattern = values.get("ranks_per_host"), values.get("rails"), values.get("pattern")
    if "shift" in values and (pattern is None or pattern.text() != "shift"):
        raise values["shift"].error("'shift' belongs to the pattern of that name", hint="pattern: shift")
    return JobSpec(
        path=path,
        hosts=_hosts(values["hosts"]),
        ranks_per_host=ranks.integer(low=1, high=1024) if ranks else None,
        ranks_where=ranks.where if ranks else "",
        rails=_rails(rails) if rails else None,
        rails_where=rails.where if rails else "",
        order=values["order"].choice(ORDERS) if "order" in values else "as-given",
        seed=values["seed"].integer(low=0) if "seed" in values else 1,
        collectives=() if pattern else _collectives(values.get("collective")),
        pattern=pattern.choice(PATTERNS.names()) if pattern else "",
        shift=values["shift"].integer() if "shift" in values else 1,
        sizes=_sizes(values),
        pxn=values["pxn"].flag() if "pxn" in values else False,
    )


def _exclude(values: dict[str, Node], first: str, second: str) -> None:
    if first in values and second in values:
        raise values[second].error(f"'{first}' and '{second}' exclude each other", hint=f"'{first}' is at {values[first].where}")


def _hosts(node: Node) -> tuple[Placed, ...]:
    entries = node.items() if node.is_list else [node]
    if not entries:
        raise node.error("'hosts' is an empty list")
    return tuple(Placed(entry.text(), entry.where) for entry in entries)


def _rails(node: Node) -> tuple[int, ...]:
    rails = [item.integer(low=0, high=255) for item in node.items()]
    if not rails:
        raise node.error("'rails' is an empty list", hint="leave the key out to use every rail")
    for index, item in enumerate(node.items()):
        if rails[index] in rails[:index]:
            raise item.error(f"rail {rails[index]} is here twice")
    return tuple(sorted(rails))


def _collectives(node: Node | None) -> tuple[str, ...]:
    if node is None or (not node.is_list and node.text() == ALL):
        return tuple(COLLECTIVES.names())
    chosen = [_collective(item) for item in (node.items() if node.is_list else [node])]
    if not chosen:
        raise node.error("'collective' is an empty list")
    return tuple(dict.fromkeys(chosen))


def _collective(node: Node) -> str:
    try:
        COLLECTIVES.load(node.text())
    except UsageError as error:
        raise node.error(error.message, hint=error.hint) from error
    return node.text()


def _sizes(values: dict[str, Node]) -> tuple[int, ...]:
    if "sizes" in values:
        nodes = values["sizes"].items()
        if not nodes:
            raise values["sizes"].error("'sizes' is an empty list")
    else:
        nodes = [values["size"]] if "size" in values else []
    return tuple(sorted({_size(node) for node in nodes}))


def _size(node: Node) -> int:
    text = node.text()
    if text.startswith("-"):
        raise node.error(f"a message cannot have a negative size: {text}")
    try:
        size_bytes = parse_size(text)
    except UsageError as error:
        raise InputError(error.message, where=node.where, hint=error.hint) from error
    if size_bytes == 0:
        raise node.error("a message of size 0 moves nothing", hint="the smallest message is 1 byte")
    return size_bytes
