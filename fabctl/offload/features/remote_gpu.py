"""Remote GPUs: which free GPUs hosts without any are to drive over the fabric, as files for the tool that does it.

Chosen as ``fabctl bench remote-gpu`` does (docs/remote-gpu.md). rCUDA's client reads ``RCUDA_DEVICE_COUNT`` and, for each GPU,
``RCUDA_DEVICE_n=HOST[@PORT][:GPU]``; for other tools there is one neutral list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fabctl.bench.remote_gpu import plan_remote_gpus
from fabctl.errors import RefusedError, UsageError
from fabctl.model.assessment import Assessed, Status
from fabctl.model.flows import Flows
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offload_plan import FABRIC, Plan
from fabctl.model.phases import JobTraffic, Phase
from fabctl.model.rates import payload_rates
from fabctl.model.remote_gpus import RemoteGpu, RemoteGpuPlan
from fabctl.offload.feature import Request
from fabctl.offload.features.gdr import first_guid
from fabctl.offload.features.settings import number
from fabctl.offload.hosts.gather import gathered
from fabctl.offload.hosts.rendered import Rendered, chosen_hosts, render
from fabctl.offload.hosts.script import file_stem
from fabctl.offload.site import Site
from fabctl.routing.compute import compute_tables
from fabctl.traffic.placement import Job
from fabctl.traffic.roster import usual_hosts

LIST = "remote-gpus.hosts"
RCUDA, HOSTS = "rcuda", "hosts"
NODE_HINT = "--node says what the servers are: fabctl help nodes"


class RemoteGpus:
    """GPUs that are driven over the fabric."""

    name = "remote-gpu"
    keys: Mapping[str, str] = {
        "clients": "node set of the hosts that want GPUs",
        "servers": "node set of the hosts that lend them [default: the compute hosts that run no job]",
        "gpus": "GPUs for each client [default: 1]",
        "tool": "rcuda: its environment, one file per client; hosts: one list for any tool [default: hosts]",
    }

    def assess(self, site: Site) -> Sequence[Assessed]:
        """Return, per compute host, whether it can lend GPUs."""
        hosts, node = site.fabric.hosts, site.node
        busy = {host for job in site.jobs for host in job.hosts}
        facts = gathered(site).facts
        out = []
        for host, compute in zip(hosts.name, hosts.is_compute, strict=True):
            if host in facts and facts[host].n_gpus == 0:
                status, fact = Status.CANNOT, "it has no GPU to lend"
            elif not compute:
                continue
            elif host in busy:
                status, fact = Status.CANNOT, "it runs a job"
            elif node is None:
                status, fact = Status.UNKNOWN, f"its kind of server is unknown ({NODE_HINT})"
            elif not node.gpus:
                status, fact = Status.CANNOT, f"a {node.title} has no GPU to lend"
            elif _ports(site, host) != len(node.hcas):
                status, fact = Status.CANNOT, f"it has not the {len(node.hcas)} HCA ports of a {node.title} on this fabric"
            else:
                status, fact = Status.CAN, f"it can lend {len(node.gpus)} GPUs"
            out.append(Assessed(self.name, host, status, fact, "docs/remote-gpu.md" if status is Status.CAN else ""))
        return out

    def plan(self, site: Site, request: Request) -> Plan:
        """Return the files that tell the clients which GPUs are theirs; routes lead to each of them and back."""
        if "clients" not in request.values:
            raise UsageError("which hosts want GPUs?", hint="--set clients=NODESET")
        tool = request.values.get("tool", HOSTS)
        if tool not in (RCUDA, HOSTS):
            raise UsageError(f"tool is {RCUDA} or {HOSTS}, not '{tool}'", hint=f"--set tool={HOSTS}")
        clients = chosen_hosts(site, request, "clients")
        if not request.enable:
            return render(site, request, self.name, _files(site, clients, (), tool), ("the files are taken away",))
        chosen = _placed(site, clients, chosen_hosts(site, request, "servers"), number(request.values, "gpus", 1, 1024, 1))
        return render(site, request, self.name, _files(site, clients, chosen.chosen, tool), _notes(site, chosen, tool))


FEATURE = RemoteGpus()


def _ports(site: Site, host: str) -> int:
    fabric = site.fabric
    ports = fabric.endpoints[fabric.hosts.node_host[fabric.port_node[fabric.endpoints]] == fabric.hosts.name.index(host)]
    return len(ports)


def _placed(site: Site, clients: Sequence[str], servers: Sequence[str], gpus: int) -> RemoteGpuPlan:
    """Return which GPUs the clients get, beside the jobs that run."""
    if site.node is None:
        raise RefusedError("what the servers are is not known", hint=NODE_HINT)
    tables = site.tables or compute_tables(site.fabric, "minhop")
    lending = servers or usual_hosts(site.fabric)[0]
    jobs = [_ring(job, f"job {at}") for at, job in enumerate(site.jobs, 1)]
    rates = payload_rates(tables.fabric)
    return plan_remote_gpus(tables, rates, site.node, clients, lending, gpus_per_client=gpus, jobs=jobs)


def _ring(job: Job, name: str) -> JobTraffic:
    """Return a job that sends from each host to the next on every rail, as NCCL's rings do."""
    source, target = job.ports.ravel(), np.roll(job.ports, -1, axis=0).ravel()
    rank = np.arange(job.ports.size, dtype=np.int32) * job.ranks_per_port
    after = np.roll(rank.reshape(job.ports.shape), -1, axis=0).ravel()
    phase = Phase("ring", Flows(source, target, np.ones(len(source))), rank, after)
    return JobTraffic(name, job.hosts, job.ranks_per_host, (phase,))


def _files(site: Site, clients: Sequence[str], chosen: Sequence[RemoteGpu], tool: str) -> list[Rendered]:
    if tool == HOSTS:
        text = _listed(site.node, chosen) if site.node and chosen else ""
        return [Rendered(FABRIC, LIST, text, "client, server and number of the GPU there")]
    files = []
    for client in clients:
        own = [one for one in chosen if one.client == client]
        text = _rcuda(site.node, own) if site.node and own else ""
        name = f"{file_stem(client, first_guid(site.fabric, client))}-rcuda.env"
        files.append(Rendered(client, name, text, f"the environment of rCUDA's client: {len(own)} GPUs"))
    return files


def _listed(node: NodeGraph, chosen: Sequence[RemoteGpu]) -> str:
    rows = [f"{_safe(one.client)} {_safe(one.server)} {node.gpus.index(one.gpu)}" for one in chosen]
    return "\n".join(["# client server gpu", *rows, ""])


def _rcuda(node: NodeGraph, chosen: Sequence[RemoteGpu]) -> str:
    rows = [f"RCUDA_DEVICE_{at}={_safe(one.server)}:{node.gpus.index(one.gpu)}" for at, one in enumerate(chosen)]
    return "\n".join([f"RCUDA_DEVICE_COUNT={len(rows)}", *rows, ""])


def _safe(host: str) -> str:
    """Return a host's name; refuse one that a shell or another tool could take for something else."""
    if file_stem(host, "") != host:
        raise RefusedError(f"'{host}' is no name that can be written into a file for other tools")
    return host


def _notes(site: Site, chosen: RemoteGpuPlan, tool: str) -> list[str]:
    notes = []
    for one in chosen.chosen:
        speed = f"{one.shared_gb_s:.1f} of {one.local_gb_s:.1f} GB/s beside the jobs, bound by {one.bound}"
        way = f"{one.switches} switch{'es' if one.switches > 1 else ''} between, reached both ways by {chosen.routes}"
        notes.append(f"{one.client} drives {one.gpu} of {one.server}: {way}; copies {speed}")
    notes += [f"{burden.job} keeps {burden.kept:.0%} of its rate while all copies run" for burden in chosen.burdens]
    if site.jobs:
        notes.append("jobs are taken to send in rings on every rail; fabctl bench remote-gpu --job counts what they really send")
    if tool == RCUDA:
        notes.append("rCUDA: server names must resolve to addresses on this fabric (IPoIB); its last release is of 2020")
    return [*notes, "nothing is done on any host"]
