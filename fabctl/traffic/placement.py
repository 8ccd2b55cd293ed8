"""A job on a fabric: its hosts in rank order and the HCA ports that its ranks use."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.nodeset import NodesetError, expand
from fabctl.traffic.job import ALL, JobSpec
from fabctl.traffic.roster import SHOWN, listed, roster


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


def place_jobs(specs: Sequence[JobSpec], fabric: Fabric) -> tuple[Job, ...]:
    """Place several jobs on a fabric, each on hosts of its own.

    Jobs that ask for a number of hosts get them in their order, out of those that no job names.

    Raises
    ------
    InputError
        As `place` does, and if two jobs share a host or a name.
    """
    named: dict[str, JobSpec] = {}
    owner: dict[str, JobSpec] = {}
    for spec in specs:
        if spec.name in named:
            first = named[spec.name].hosts[0].where
            raise InputError(f"two jobs are called '{spec.name}'", where=_first_place(spec), hint=f"the first is at {first}")
        named[spec.name] = spec
    jobs: dict[str, Job] = {}
    for spec in sorted(specs, key=lambda spec: spec.count > 0 or spec.n_ranks > 0):
        job = place(spec, fabric, owner)
        for host in job.hosts:
            if host in owner:
                raise InputError(
                    f"host '{host}' runs in two jobs, '{owner[host].name}' and '{spec.name}'",
                    where=_first_place(spec),
                    hint=f"the first is at {_first_place(owner[host])}",
                )
            owner[host] = spec
        jobs[spec.name] = job
    return tuple(jobs[spec.name] for spec in specs)


def place(spec: JobSpec, fabric: Fabric, taken: Collection[str] = ()) -> Job:
    """Place a job on a fabric.

    Rank `r` of a host uses HCA ``r * k // ranks_per_host`` of the `k` HCA ports that all its hosts have in common.

    Parameters
    ----------
    taken : collection of str
        Hosts that a job which asks for a number of them does not get.

    Raises
    ------
    InputError
        If a host is unknown (the message suggests the nearest), listed twice, without a connected HCA or with one that is
        down, if there are fewer than two hosts, if the hosts have no rail in common, or if the ranks do not spread evenly over
        the HCAs.
    """
    if spec.transfers:
        from fabctl.traffic.listed import place_transfers

        return place_transfers(spec, fabric)
    if spec.n_ranks and spec.hosts[0].text == ALL:
        from fabctl.traffic.listed import with_count

        spec = with_count(spec, fabric)
    names, host_notes = roster(spec, fabric, taken)
    index = {name: host for host, name in enumerate(fabric.hosts.name)}
    sockets = _sockets(fabric)
    _refuse_down(spec, fabric, [index[name] for name in names])
    rows, row_notes = _comparable(spec, {name: sockets.get(index[name], {}) for name in names})
    columns, rail_notes = _common_columns(spec, rows)
    used, ranks_per_host, rank_notes = _spread(spec, columns, _lacking(rows))
    return Job(
        fabric=fabric,
        hosts=tuple(names),
        ports=np.array([[row[column] for column in used] for row in rows.values()], dtype=np.int32),
        rails=tuple(rail for rail, _ in used),
        ranks_per_host=ranks_per_host,
        pxn=spec.pxn,
        notes=(*spec.notes, *host_notes, *row_notes, *rail_notes, *rank_notes),
    )


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


def _refuse_down(spec: JobSpec, fabric: Fabric, hosts: list[int]) -> None:
    """Raise `InputError` for an HCA of a job's host that has no cable although its host has others."""
    node_host, rail = fabric.hosts.node_host, fabric.hosts.node_rail
    up = np.zeros(fabric.n_nodes, dtype=bool)
    up[fabric.port_node[fabric.endpoints]] = True
    alive = np.bincount(node_host[up & (node_host >= 0)], minlength=len(fabric.hosts.name)) > 0
    down = np.flatnonzero(~up & np.isin(node_host, hosts))
    if spec.rails is not None:
        down = down[np.isin(rail[down], spec.rails)]
    down = down[alive[node_host[down]]]
    if len(down):
        rails = sorted(set(range(fabric.hosts.common_hca_count)) - set(rail[down].tolist()))
        without = f", or use the rails without it: rails: [{', '.join(map(str, rails))}]" if rails else ""
        raise InputError(
            f"HCA '{fabric.labels[down[0]]}' is down: it has no cable{f' ({len(down)} HCAs are)' if len(down) > 1 else ''}",
            where=_place_of(spec, fabric.hosts.name[node_host[down[0]]]),
            hint=f"leave its host out{without}",
        )


def _comparable(spec: JobSpec, rows: dict[str, _Row]) -> tuple[dict[str, _Row], list[str]]:
    """Return the rows by order within the host instead where device names do not tell the rails."""
    idle = [name for name, row in rows.items() if not row]
    if idle:
        raise InputError(f"no connected HCA on {listed(idle)}", where=_first_place(spec))
    unknown = [name for name, row in rows.items() if any(rail < 0 for rail, _ in row)]
    if not unknown:
        return rows, []
    counts = {len(row) for row in rows.values()}
    if len(counts) > 1:
        raise InputError(
            f"the hosts have {min(counts)} to {max(counts)} HCAs, and the rails of {listed(unknown)} are unknown",
            where=_first_place(spec),
            hint="leave these hosts out, or give their HCAs the device names that the other hosts use",
        )
    by_order = {name: {(order, 1): port for order, port in enumerate(row.values())} for name, row in rows.items()}
    return by_order, [f"the rails of {listed(unknown)} are unknown: HCAs are matched by their order within the host"]


def _common_columns(spec: JobSpec, rows: dict[str, _Row]) -> tuple[list[_Socket], list[str]]:
    common = sorted(set.intersection(*(set(row) for row in rows.values())))
    rails = sorted({rail for rail, _ in common})
    if not common:
        some = list(rows.items())[:SHOWN]
        have = "; ".join(f"{name} {', '.join(f'{rail}/P{port}' for rail, port in row)}" for name, row in some)
        raise InputError("no rail is common to all hosts of this job", where=_first_place(spec), hint=f"rails and ports: {have}")
    short = _lacking(rows)
    notes = []
    if short:
        notes.append(
            f"{len(short)} of {len(rows)} hosts lack an HCA that others have ({listed(short)}): "
            f"the job uses the {len(common)} that all hosts have"
        )
    if spec.rails is None:
        return common, notes
    for rail in spec.rails:
        if rail not in rails:
            known = ", ".join(str(rail) for rail in rails)
            raise InputError(f"not all hosts have rail {rail}", where=spec.rails_where, hint=f"rails of all hosts: {known}")
    return [socket for socket in common if socket[0] in spec.rails], notes


def _lacking(rows: dict[str, _Row]) -> list[str]:
    """Return the hosts without an HCA that another has."""
    every = set.union(*(set(row) for row in rows.values()))
    return [name for name, row in rows.items() if len(row) < len(every)]


def _spread(spec: JobSpec, columns: list[_Socket], lacking: list[str]) -> tuple[list[_Socket], int, list[str]]:
    available = len(columns)
    ranks = spec.ranks_per_host
    if ranks is None:
        return columns, available, [f"ranks_per_host is not given: one rank per HCA, {available} per host"]
    if ranks < available:
        used = [columns[rank * available // ranks] for rank in range(ranks)]
        rails = ", ".join(str(rail) for rail, _ in used)
        return used, ranks, [f"{ranks} ranks per host use {ranks} of its {available} HCAs (rails {rails})"]
    if ranks % available:
        short = f"; or leave out: {listed(lacking)} lacks HCAs that others have" if lacking else ""
        raise InputError(
            f"{ranks} ranks per host do not spread evenly over {available} HCAs",
            where=spec.ranks_where,
            hint=f"{ranks - ranks % available} or {ranks - ranks % available + available} do; or choose fewer rails{short}",
        )
    return columns, ranks, []


def _place_of(spec: JobSpec, host: str) -> str:
    """Return where a job's file names a host, else where its hosts begin."""
    for entry in spec.hosts:
        try:
            if host == entry.text or host in expand(entry.text):
                return entry.where
        except NodesetError:
            continue
    return _first_place(spec)


def _first_place(spec: JobSpec) -> str:
    return spec.hosts[0].where
