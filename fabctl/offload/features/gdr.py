"""GPUDirect RDMA: whether HCAs reach GPU memory by themselves on each host, what keeps them from it, and what would mend that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fabctl.errors import RefusedError
from fabctl.model.assessment import Assessed, Status
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import FABRIC, Plan
from fabctl.offload.feature import Request
from fabctl.offload.hosts.differ import differences
from fabctl.offload.hosts.gather import Gathered, devices_of, gathered
from fabctl.offload.hosts.readiness import Readiness, readiness
from fabctl.offload.hosts.rendered import Rendered, chosen_hosts, render
from fabctl.offload.hosts.script import file_stem, nccl_environment, ready_script, undo_script, why
from fabctl.offload.site import Site
from fabctl.printable import printable
from fabctl.traffic.roster import listed

ENVIRONMENT = "gdr-nccl.env"
NOTHING = "nothing is captured of it (--captured DIR: docs/host-readiness.md)"


class Gdr:
    """GPUDirect RDMA on hosts."""

    name = "gdr"
    keys: Mapping[str, str] = {"hosts": "node set of the hosts that are meant [default: those of which anything is captured]"}

    def assess(self, site: Site) -> Sequence[Assessed]:
        """Return, per host, whether HCAs reach GPU memory by themselves, and in what it differs from most others."""
        known = gathered(site)
        ready = host_readiness(site)
        odd = differences(list(known.facts.values()), judged=False)
        out = []
        for host in hosts_concerned(site.fabric, known):
            if host not in ready:
                out.append(Assessed(self.name, host, Status.UNKNOWN, NOTHING))
                continue
            one = ready[host]
            fact = f"{one.fact}; differs from the others: {', '.join(odd[host])}" if host in odd else one.fact
            out.append(Assessed(self.name, host, one.status, fact, one.source))
        fact = "captured, and no host of this fabric"
        return out + [Assessed(self.name, printable(name), Status.UNKNOWN, fact) for name in known.captured.strangers]

    def plan(self, site: Site, request: Request) -> Plan:
        """Return a script for each host that is not ready, one that takes it back, and NCCL's environment."""
        hosts = chosen_hosts(site, request)
        ready = host_readiness(site)
        if not ready:
            raise RefusedError("nothing is known of any host", hint="--captured DIR: docs/host-readiness.md has the commands")
        meant = [host for host in ready if not hosts or host in hosts]
        unknown = [host for host in hosts if host not in ready]
        if unknown:
            raise RefusedError(f"nothing is captured of {listed(unknown)}", hint="docs/host-readiness.md has the commands")
        files = [file for host in meant for file in _files(site.fabric, ready[host], enable=request.enable)]
        devices = devices_of(site.fabric)
        with_gpus = [host for host in meant if ready[host].status is not Status.CANNOT]
        environment = nccl_environment([ready[host] for host in with_gpus], [devices[host] for host in with_gpus])
        files.append(Rendered(FABRIC, ENVIRONMENT, environment if request.enable else "", "the environment of jobs"))
        return render(site, request, self.name, files, _notes(site, [ready[host] for host in meant], enable=request.enable))


FEATURE = Gdr()


def host_readiness(site: Site) -> dict[str, Readiness]:
    """Return what is known of each host of which there are texts, in the fabric's order."""
    devices = devices_of(site.fabric)
    facts = gathered(site).facts
    return {host: readiness(facts[host], devices[host], site.node) for host in site.fabric.hosts.name if host in facts}


def hosts_concerned(fabric: Fabric, known: Gathered) -> list[str]:
    """Return the compute hosts and those of which there are texts, in the fabric's order."""
    hosts = fabric.hosts
    return [name for name, compute in zip(hosts.name, hosts.is_compute, strict=True) if compute or name in known.facts]


def first_guid(fabric: Fabric, host: str) -> str:
    """Return the GUID of a host's first HCA."""
    nodes = np.flatnonzero(fabric.hosts.node_host == fabric.hosts.name.index(host))
    return fabric.guid_text(int(nodes[np.argmin(fabric.hosts.node_order[nodes])]))


def _files(fabric: Fabric, ready: Readiness, *, enable: bool) -> list[Rendered]:
    host = ready.facts.host
    stem = file_stem(host, first_guid(fabric, host))
    script, back = (ready_script(host, ready), undo_script(host, ready)) if enable else ("", "")
    return [
        Rendered(host, f"{stem}-gdr.sh", script, why(ready)),
        Rendered(host, f"{stem}-gdr-undo.sh", back, "the old values, explicitly"),
    ]


def _notes(site: Site, ready: Sequence[Readiness], *, enable: bool) -> list[str]:
    notes = ["nothing is done on any host: the scripts are to be read, and run there as root"]
    if not enable:
        return ["the files are taken away; a job does without GPUDirect RDMA by NCCL_NET_GDR_LEVEL=LOC"]
    for host, words in differences([one.facts for one in ready]).items():
        notes.append(f"{host} differs from the others: {', '.join(words)}")
    unsure: dict[str, list[str]] = {}
    for one in ready:
        if one.status is Status.UNKNOWN:
            unsure.setdefault(one.fact, []).append(one.facts.host)
    notes += [f"{listed(hosts)}: {fact}" for fact, hosts in unsure.items()]
    for one in ready:
        notes += [f"{one.facts.host}: {damage}" for damage in one.facts.damage]
    captured = gathered(site).captured
    if captured.unread:
        notes.append(printable(f"of these texts it is not clear what they are: {listed(captured.unread)}"))
    if captured.strangers:
        notes.append(printable(f"these belong to no host of the fabric: {listed(captured.strangers)}"))
    notes.append("verified by capturing the hosts again: fabctl offload list --feature gdr")
    return notes
