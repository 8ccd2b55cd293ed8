"""GPUDirect Async: whether GPUs can post to HCAs by themselves on each host (NVSHMEM's IBGDA, DOCA GPUNetIO, NCCL's GDAKI).

It needs GPUDirect RDMA, and that GPUs may write to HCAs' doorbells: the driver maps these for every user only with
``PeerMappingOverride=1``. Without that a CPU thread rings them, and most of what is gained goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fabctl.bench.gpudirect import ASYNC_GAIN, network_hop
from fabctl.errors import RefusedError
from fabctl.model import catalog
from fabctl.model.assessment import Assessed, Status
from fabctl.model.fabric import Fabric
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offload_plan import FABRIC, Plan
from fabctl.model.offloads import Offloads
from fabctl.offload.feature import Request
from fabctl.offload.features.gdr import NOTHING, host_readiness, hosts_concerned
from fabctl.offload.hosts.captures import COMMANDS, GPUS, PARAMS
from fabctl.offload.hosts.facts import version
from fabctl.offload.hosts.gather import gathered
from fabctl.offload.hosts.readiness import Readiness
from fabctl.offload.hosts.rendered import Rendered, chosen_hosts, render
from fabctl.offload.site import Site
from fabctl.traffic.roster import listed

OLDEST_CAPABILITY = 70
OLDEST_HCA = "ConnectX-4"
OLDEST_DRIVER = "510.40.3"
SOURCE = "NVSHMEM 3.0.6 Installation Guide: hardware requirements, IBGDA"

MODPROBE = "async-nvidia.conf"
ENVIRONMENT = "async-nvshmem.env"

_MODPROBE_TEXT = """\
# /etc/modprobe.d/nvidia.conf: GPUs may ring HCAs' doorbells, for every user (libgdsync; NVSHMEM Installation Guide).
# Any user's kernel can then write to devices' registers: CVE-2015-5053. In force once nvidia.ko is loaded anew.
options nvidia NVreg_RegistryDwords="PeerMappingOverride=1;"
"""
_ENVIRONMENT_TEXT = """\
# NVSHMEM with GPUDirect Async (IBGDA)
NVSHMEM_IB_ENABLE_IBGDA=1
# without PeerMappingOverride=1 a CPU thread rings the doorbells:
# NVSHMEM_IBGDA_NIC_HANDLER=cpu
"""


class AsyncControl:
    """GPUDirect Async on hosts."""

    name = "async"
    keys: Mapping[str, str] = {"hosts": "node set of the hosts that are meant [default: those of which anything is captured]"}

    def assess(self, site: Site) -> Sequence[Assessed]:
        """Return, per host, whether its GPUs can post to its HCAs."""
        ready = host_readiness(site)
        out = []
        for host in hosts_concerned(site.fabric, gathered(site)):
            if host in ready:
                status, fact, source = _judged(site.fabric, ready[host])
                out.append(Assessed(self.name, host, status, fact, source))
            else:
                out.append(Assessed(self.name, host, Status.UNKNOWN, NOTHING))
        return out

    def plan(self, site: Site, request: Request) -> Plan:
        """Return the driver's option for hosts that lack it, and NVSHMEM's environment.

        Raises
        ------
        RefusedError
            If no host can, with the reason of the first.
        """
        hosts = chosen_hosts(site, request)
        ready = {host: one for host, one in host_readiness(site).items() if not hosts or host in hosts}
        judged = {host: _judged(site.fabric, one) for host, one in ready.items()}
        lacking = [host for host, (status, fact, _) in judged.items() if status is Status.CAN or fact == _UNMAPPED]
        if request.enable and not lacking and all(status is not Status.ON for status, _, _ in judged.values()):
            first = next(iter(judged.items()), None)
            why = f"{first[0]}: {first[1][1]}" if first else NOTHING
            raise RefusedError(
                f"no host is known to be able to: {why}", hint="fabctl offload list --feature gdr,async says what each lacks"
            )
        files = [
            Rendered(FABRIC, MODPROBE, _MODPROBE_TEXT if request.enable and lacking else "", _why(lacking)),
            Rendered(FABRIC, ENVIRONMENT, _ENVIRONMENT_TEXT if request.enable else "", "the environment of jobs"),
        ]
        return render(site, request, self.name, files, _notes(site, ready, lacking))


FEATURE = AsyncControl()

_UNMAPPED = "PeerMappingOverride is not set: GPUs may not ring HCAs' doorbells"


def _judged(fabric: Fabric, ready: Readiness) -> tuple[Status, str, str]:
    """Return status, fact and source for a host."""
    facts = ready.facts
    if ready.status not in (Status.ON, Status.CAN):
        return ready.status, f"it needs GPUDirect RDMA: {ready.fact}", ready.source
    old = _too_old(fabric, ready)
    if old:
        return Status.CANNOT, old, SOURCE
    if facts.gpu is None:
        return Status.UNKNOWN, f"not known: {COMMANDS[GPUS]}", ""
    if facts.peer_mapping is None:
        return Status.UNKNOWN, f"not known: {COMMANDS[PARAMS]}", ""
    if facts.peer_mapping:
        return Status.ON, "GPUs may ring HCAs' doorbells (PeerMappingOverride=1)", SOURCE
    if facts.gdrcopy:
        return Status.CAN, "with a CPU thread at the doorbells (GDRCopy); PeerMappingOverride is not set", SOURCE
    return Status.OFF, _UNMAPPED, SOURCE


def _too_old(fabric: Fabric, ready: Readiness) -> str:
    """Return what is too old on a host; nothing if nothing is, or it is not known."""
    facts = ready.facts
    if facts.gpu and facts.gpu.compute_capability < OLDEST_CAPABILITY:
        return f"a {facts.gpu.name} is older than Volta"
    models = [hca.name for hca in catalog.hcas()]
    nodes = np.flatnonzero(fabric.hosts.node_host == fabric.hosts.name.index(facts.host))
    for hca in filter(None, (catalog.hca(int(fabric.device_id[node])) for node in nodes)):
        if models.index(hca.name) < models.index(OLDEST_HCA):
            return f"a {hca.name} is older than {OLDEST_HCA}"
    if facts.driver and version(facts.driver) < version(OLDEST_DRIVER):
        return f"driver {facts.driver} is older than {OLDEST_DRIVER}"
    return ""


def _why(lacking: Sequence[str]) -> str:
    return f"for {listed(lacking)}: in force once nvidia.ko is loaded anew, with no job running, or by a REBOOT"


def _notes(site: Site, ready: Mapping[str, Readiness], lacking: Sequence[str]) -> list[str]:
    notes = [f"PeerMappingOverride is not set on {len(lacking)} hosts: {listed(lacking)}"] if lacking else []
    for registry in dict.fromkeys(ready[host].facts.registry for host in lacking):
        if registry:
            hosts = [host for host in lacking if ready[host].facts.registry == registry]
            notes.append(f"{listed(hosts)}: the driver has RegistryDwords {registry}; keep these in the line, or they are lost")
    notes.append("NVSHMEM 3.4.5 and later do without PeerMappingOverride, with a CPU thread at the doorbells (its release notes)")
    node = site.node or next((one.facts.node for one in ready.values() if one.facts.node), None)
    return [*notes, _gain(node), "nothing is done on any host"]


def _gain(node: NodeGraph | None) -> str:
    """Return what it may gain, as ``fabctl bench`` counts it."""
    if node is not None and node.gpus and node.hcas:
        try:
            return network_hop(node, Offloads(async_control=True)).reasons[-1]
        except RefusedError as error:
            return error.message
    return f"published gains go from none to {ASYNC_GAIN:.0%} of communication (fabctl bench counts them with --node)"
