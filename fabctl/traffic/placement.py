"""A job on a fabric: its hosts in rank order and the HCA ports that its ranks use."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.model.naming import natural_key
from fabctl.nodeset import NodesetError, expand, fold
from fabctl.traffic.job import ALL, JobSpec, Placed

SHOWN = 3
"""How many names a message lists."""
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, eq=False)
class Job:
    """A job placed on a fabric.

    Ranks are numbered host by host. Rank `r` of a host sends and receives through its port ``r // ranks_per_port``.

    Parameters
    ----------
    fabric : Fabric
    hosts : tuple of str
        In rank order.
    ports : int32 array of shape (n_hosts, n_ports)
        Ports that the ranks use, in rail order.
    rails : tuple of int of length n_ports
        Rail of each column of `ports`.
    ranks_per_host : int
        A multiple of n_ports.
    pxn : bool
        Whether all-to-all traffic changes to the destination's rail inside the sending host.
    notes : tuple of str
        What was decided for the user, worth printing.
    """

    fabric: Fabric
    hosts: tuple[str, ...]
    ports: NDArray[np.int32]
    rails: tuple[int, ...]
    ranks_per_host: int
    pxn: bool = False
    notes: tuple[str, ...] = ()

    @property
    def n_hosts(self) -> int:
        """Number of hosts."""
        return len(self.hosts)

    @property
    def n_ranks(self) -> int:
        """Number of ranks."""
        return self.n_hosts * self.ranks_per_host

    @property
    def ranks_per_port(self) -> int:
        """Ranks that share one HCA port."""
        return self.ranks_per_host // self.ports.shape[1]


def place(spec: JobSpec, fabric: Fabric) -> Job:
    """Place a job on a fabric.

    Rank `r` of a host uses HCA ``r * k // ranks_per_host`` of the `k` HCA ports that all its hosts have in common.

    Raises
    ------
    InputError
        If a host is unknown (the message suggests the nearest), listed twice or without a connected HCA, if there are
        fewer than two hosts, if the hosts have no rail in common, or if the ranks do not spread evenly over the HCAs.
    """
    names = _ordered(spec, _names(spec, fabric))
    index = {name: host for host, name in enumerate(fabric.hosts.name)}
    sockets = _sockets(fabric)
    rows, row_notes = _comparable(spec, {name: sockets.get(index[name], {}) for name in names})
    columns, rail_notes = _common_columns(spec, rows)
    used, ranks_per_host, rank_notes = _spread(spec, columns)
    return Job(
        fabric=fabric,
        hosts=tuple(names),
        ports=np.array([[row[column] for column in used] for row in rows.values()], dtype=np.int32),
        rails=tuple(rail for rail, _ in used),
        ranks_per_host=ranks_per_host,
        pxn=spec.pxn,
        notes=(*row_notes, *rail_notes, *rank_notes),
    )


def _names(spec: JobSpec, fabric: Fabric) -> list[str]:
    hosts = fabric.hosts
    known = set(hosts.name)
    places: dict[str, str] = {}
    for entry in spec.hosts:
        for name in _expanded(entry, known, [hosts.name[host] for host in np.flatnonzero(hosts.is_compute)]):
            if name not in known:
                raise _unknown(name, entry, spec, hosts.name)
            if name in places:
                hint = f"the first is at {places[name]}" if places[name] != entry.where else ""
                raise InputError(f"host '{name}' is here twice", where=entry.where, hint=hint)
            places[name] = entry.where
    if len(places) < 2:
        raise InputError(
            f"a job needs at least two hosts to use the fabric, this has {len(places)}{': ' + fold(places) if places else ''}",
            where=_first_place(spec),
        )
    return list(places)


def _expanded(entry: Placed, known: set[str], compute: list[str]) -> list[str]:
    if entry.text in known:
        return [entry.text]
    if entry.text == ALL:
        return compute
    try:
        return expand(entry.text)
    except NodesetError as error:
        raise InputError(error.message, where=entry.where, hint=error.hint) from error


def _unknown(name: str, entry: Placed, spec: JobSpec, known: tuple[str, ...]) -> InputError:
    every = set(known)
    missing = sum(name not in every for entry in spec.hosts for name in _expanded(entry, every, []))
    others = f" ({missing} hosts of this job are unknown)" if missing > 1 else ""
    near = _nearest(name, known)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {len(known)} hosts: {_listed(known)}"
    return InputError(f"the fabric has no host '{name}'{others}", where=entry.where, hint=hint)


def _nearest(name: str, known: tuple[str, ...]) -> list[str]:
    """Return the neighbours by number of a name that others are like, else the nearest in spelling."""
    place = bisect_left(known, natural_key(name), key=natural_key)
    like = _DIGITS.sub("0", name)
    neighbours = [
        other for other in (*known[place : place + 1], *known[max(place - 1, 0) : place]) if _DIGITS.sub("0", other) == like
    ]
    return neighbours or get_close_matches(name, known, n=SHOWN)


def _ordered(spec: JobSpec, names: list[str]) -> list[str]:
    if spec.order == "sorted":
        return sorted(names, key=natural_key)
    if spec.order == "random":
        return [names[i] for i in np.random.default_rng(spec.seed).permutation(len(names))]
    return names


_Socket = tuple[int, int]  # rail and port number: where a cable goes into a host
_Row = dict[_Socket, int]


def _sockets(fabric: Fabric) -> dict[int, _Row]:
    """Return, per host, the connected HCA ports by rail and port number; rails below 0 stand for unknown ones."""
    hosts = fabric.hosts
    rows: dict[int, _Row] = {}
    for port in fabric.endpoints.tolist():
        node = fabric.port_node[port]
        row = rows.setdefault(int(hosts.node_host[node]), {})
        socket = int(hosts.node_rail[node]), int(fabric.port_number[port])
        row[socket if socket[0] >= 0 and socket not in row else (-1 - len(row), socket[1])] = port
    return rows


def _comparable(spec: JobSpec, rows: dict[str, _Row]) -> tuple[dict[str, _Row], list[str]]:
    """Return the rows by order within the host instead where device names do not tell the rails."""
    idle = [name for name, row in rows.items() if not row]
    if idle:
        raise InputError(f"{len(idle)} hosts of this job have no connected HCA: {_listed(idle)}", where=_first_place(spec))
    unknown = [name for name, row in rows.items() if any(rail < 0 for rail, _ in row)]
    if not unknown:
        return rows, []
    counts = {len(row) for row in rows.values()}
    if len(counts) > 1:
        raise InputError(
            f"the hosts have {min(counts)} to {max(counts)} HCAs, and the rails of {_listed(unknown)} are unknown",
            where=_first_place(spec),
            hint="leave these hosts out, or give their HCAs the device names that the other hosts use",
        )
    by_order = {name: {(order, 1): port for order, port in enumerate(row.values())} for name, row in rows.items()}
    return by_order, [f"the rails of {_listed(unknown)} are unknown: HCAs are matched by their order within the host"]


def _common_columns(spec: JobSpec, rows: dict[str, _Row]) -> tuple[list[_Socket], list[str]]:
    common = sorted(set.intersection(*(set(row) for row in rows.values())))
    rails = sorted({rail for rail, _ in common})
    if not common:
        raise InputError("no rail is common to all hosts of this job", where=_first_place(spec))
    every = set.union(*(set(row) for row in rows.values()))
    short = [name for name, row in rows.items() if len(row) < len(every)]
    notes = []
    if short:
        notes.append(
            f"{len(short)} of {len(rows)} hosts lack an HCA that others have ({_listed(short)}): "
            f"the job uses the {len(common)} that all hosts have"
        )
    if spec.rails is None:
        return common, notes
    for rail in spec.rails:
        if rail not in rails:
            known = ", ".join(str(rail) for rail in rails)
            raise InputError(f"not all hosts have rail {rail}", where=spec.rails_where, hint=f"rails of all hosts: {known}")
    return [socket for socket in common if socket[0] in spec.rails], notes


def _spread(spec: JobSpec, columns: list[_Socket]) -> tuple[list[_Socket], int, list[str]]:
    available = len(columns)
    ranks = spec.ranks_per_host
    if ranks is None:
        return columns, available, [f"ranks_per_host is not given: one rank per HCA, {available} per host"]
    if ranks < available:
        used = [columns[rank * available // ranks] for rank in range(ranks)]
        rails = ", ".join(str(rail) for rail, _ in used)
        return used, ranks, [f"{ranks} ranks per host use {ranks} of its {available} HCAs (rails {rails})"]
    if ranks % available:
        raise InputError(
            f"{ranks} ranks per host do not spread evenly over {available} HCAs",
            where=spec.ranks_where,
            hint=f"{ranks - ranks % available} or {ranks - ranks % available + available} do; or choose fewer rails",
        )
    return columns, ranks, []


def _first_place(spec: JobSpec) -> str:
    return spec.hosts[0].where


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
