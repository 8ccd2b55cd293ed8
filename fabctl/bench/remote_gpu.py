"""GPUs for hosts that have none: the free ones that are nearest in hops and whose way has capacity to spare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.bench.remote_copy import CHUNK_BYTES, END_US, SWITCH_US, call_us, copy_gb_s
from fabctl.bench.remote_sharing import Offer, Shared, busiest_phase, share
from fabctl.congestion.load import flow_channels
from fabctl.congestion.rows import join, select
from fabctl.errors import InputError, RefusedError
from fabctl.model.ends import find_end
from fabctl.model.fabric import Fabric
from fabctl.model.flows import unit_flows
from fabctl.model.node_graph import CPU, NodeGraph
from fabctl.model.phases import Channels, JobTraffic
from fabctl.model.rates import refuse_unknown_rates
from fabctl.model.remote_gpus import RemoteGpu, RemoteGpuPlan
from fabctl.model.tables import RoutingTables
from fabctl.nodes.paths import Path, find_path, serving_hcas

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]

ASSUMPTIONS = (
    f"copies are cut into chunks of {CHUNK_BYTES // 1024} KiB: over the fabric into the server's memory, then to the GPU",
    f"a call costs at least its round trip: {END_US} us through the HCAs each way, {SWITCH_US} us per switch",
    "what the server's daemon and CUDA itself take for a call comes on top, and is not known",
    "the client's memory and PCIe are as fast as its cable; the GPU that is chosen is free, and runs for one client",
    "shared: all copies run both ways, and each job's busiest phase, without end, max-min fairly; the slower direction counts",
)


@dataclass(frozen=True, eq=False)
class _Gpus:
    """The GPUs that can be had: host, number within it, and the HCA port that serves it; int32 arrays of shape (n_gpus,)."""

    host: Int32
    number: Int32
    port: Int32


@dataclass(frozen=True, eq=False)
class _Inside:
    """What the inside of a server carries for each of its GPUs, GB/s: memory to the GPU, and its HCA to that memory."""

    local: Float64
    staged: Float64

    @property
    def most(self) -> Float64:
        """The most that a copy of each GPU can use of the fabric, bytes per second."""
        return np.minimum(self.local, self.staged) * 1e9


@dataclass(frozen=True, eq=False)
class _Pick:
    """A GPU of `_Gpus` for a client's port, and the ways there and back."""

    client: str
    port: int
    gpu: int
    ways: Channels


def plan_remote_gpus(
    tables: RoutingTables,
    rates: Float64,
    node: NodeGraph,
    clients: Sequence[str],
    servers: Sequence[str],
    *,
    gpus_per_client: int = 1,
    jobs: Sequence[JobTraffic] = (),
) -> RemoteGpuPlan:
    """Choose GPUs for clients.

    Client by client: of the GPUs whose copies are sure of most beside the jobs, in both directions (all of it where the way has
    room), the one with the fewest switches between, and of these the one with most to spare.

    Parameters
    ----------
    rates : float64 array of shape (n_channels,)
        Payload rates, bytes per second.
    node : NodeGraph
        What the servers are.
    clients, servers : sequence of str
        Hosts of the fabric.
    jobs : sequence of JobTraffic
        What runs. Hosts of jobs, and clients, give no GPUs.

    Raises
    ------
    InputError
        If a host is unknown or has no cable, or a server has not the HCAs of its node type.
    RefusedError
        If the servers have no GPUs, too few are free, or a cable in use has no known rate.

    Complexity
    ----------
    O(clients x their ports x servers' ports x hops).
    """
    fabric = tables.fabric
    if not node.gpus:
        raise RefusedError(f"a {node.title} has no GPU to lend", hint="--node says what the servers are")
    busy = {host for job in jobs for host in job.hosts} | set(clients)
    free = [server for server in servers if server not in busy]
    gpus = _free_gpus(fabric, node, free)
    wanted = len(clients) * gpus_per_client
    if wanted > len(gpus.host):
        raise RefusedError(
            f"{wanted} GPUs are wanted and {len(gpus.host)} are free, on {len(free)} hosts",
            hint="fewer per client, or more --servers: hosts of running jobs, and clients, give none",
        )
    inside = _inside(node)
    busiest = [busiest_phase(tables, job, rates) for job in jobs]
    picks = list(_picks(tables, Offer(busiest, rates), rates, gpus, inside, clients, gpus_per_client))
    shared = share(busiest, [pick.ways for pick in picks], inside.most[gpus.number[[pick.gpu for pick in picks]]], rates)
    return RemoteGpuPlan(
        node=node.name,
        routes=tables.origin,
        free_hosts=len(free),
        free_gpus=len(gpus.host),
        chosen=tuple(_chosen(fabric, node, inside, gpus, picks, shared, rates)),
        burdens=shared.burdens,
        assumptions=ASSUMPTIONS,
        notes=node.notes,
    )


def _free_gpus(fabric: Fabric, node: NodeGraph, servers: Sequence[str]) -> _Gpus:
    serving = [node.hcas.index(hca) for hca in serving_hcas(node)]
    rows = []
    for server in servers:
        end = find_end(fabric, server)
        if len(end.ports) != len(node.hcas):
            raise InputError(
                f"{server} has {len(end.ports)} HCA ports on this fabric, and a {node.title} has {len(node.hcas)}",
                hint="--servers names hosts of this type, --node their type",
            )
        rows += [(end.host, gpu, end.ports[rail]) for gpu, rail in enumerate(serving)]
    return _Gpus(*np.array(rows, dtype=np.int32).reshape(-1, 3).T)


def _inside(node: NodeGraph) -> _Inside:
    memory = node.of_kind(CPU)
    local = [min((find_path(node, cpu, gpu) for cpu in memory), key=_distance) for gpu in node.gpus]
    staged = [find_path(node, hca, path.devices[0]) for hca, path in zip(serving_hcas(node), local, strict=True)]
    return _Inside(np.array([path.gb_s for path in local]), np.array([path.gb_s for path in staged]))


def _distance(path: Path) -> tuple[int, int]:
    return int(path.type), len(path.devices)


def _picks(
    tables: RoutingTables, offer: Offer, rates: Float64, gpus: _Gpus, inside: _Inside, clients: Sequence[str], each: int
) -> Iterator[_Pick]:
    """Yield the GPUs of each client in turn.

    Copies of one client share its own cable wherever they go: only what lies beyond it decides.
    """
    most = inside.most[gpus.number]
    taken = np.zeros(len(gpus.host), dtype=bool)
    for client in clients:
        ports = np.array(find_end(tables.fabric, client).ports, dtype=np.int32)
        here, there = np.repeat(ports, len(gpus.port)), np.tile(gpus.port, len(ports))
        to, back = (Channels(*flow_channels(tables, flows)) for flows in (unit_flows(here, there), unit_flows(there, here)))
        refuse_unknown_rates(tables.fabric, np.bincount(np.concatenate([to.index, back.index]), minlength=len(rates)) > 0, rates)
        wanted = np.minimum(np.tile(most, len(ports)), _narrowest(to, back, rates))
        switches = np.diff(to.ptr) - 1
        own = tables.fabric.channel_of_port[np.concatenate([ports, tables.fabric.port_peer[ports]])]
        for _ in range(each):
            spare = _narrowest(to, back, offer.per_channel())
            sure = np.minimum(spare, wanted)
            best = int(np.lexsort((-spare, switches, -sure, np.tile(taken, len(ports))))[0])
            port, gpu = divmod(best, len(gpus.host))
            ways = join([select(to, np.array([best])), select(back, np.array([best]))])
            taken[gpu] = True
            offer.take(ways.index[~np.isin(ways.index, own)], wanted[best])
            yield _Pick(client, int(ports[port]), gpu, ways)


def _narrowest(to: Channels, back: Channels, capacity: Float64) -> Float64:
    """Return the least capacity on each way there and back, shape (n_ways,)."""
    there, here = (np.minimum.reduceat(capacity[ways.index], ways.ptr[:-1]) for ways in (to, back))
    return np.minimum(there, here)


def _chosen(
    fabric: Fabric,
    node: NodeGraph,
    inside: _Inside,
    gpus: _Gpus,
    picks: Sequence[_Pick],
    shared: Shared,
    rates: Float64,
) -> Iterator[RemoteGpu]:
    for copy, pick in enumerate(picks):
        number = int(gpus.number[pick.gpu])
        local, staged = float(inside.local[number]), float(inside.staged[number])
        slower = int(np.argmin(shared.rate[copy]))
        bound = int(shared.bottleneck[copy, slower])
        switches = int(pick.ways.ptr[1]) - 1
        yield RemoteGpu(
            client=pick.client,
            client_port=fabric.port_label(pick.port),
            server=fabric.hosts.name[gpus.host[pick.gpu]],
            gpu=node.gpus[number],
            server_port=fabric.port_label(int(gpus.port[pick.gpu])),
            switches=switches,
            call_us=call_us(switches),
            local_gb_s=local,
            alone_gb_s=copy_gb_s(min(float(rates[pick.ways.index].min()) / 1e9, staged), local),
            shared_gb_s=copy_gb_s(min(float(shared.rate[copy, slower]) / 1e9, staged), local),
            bound=fabric.cable_label(bound) if bound < len(rates) else "the server's own PCIe",
        )
