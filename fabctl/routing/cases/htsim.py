"""A case for htsim: the flows as a connection matrix (``-tm``), and, of fat trees, the topology (``-topo``).

Grammar: ConnectionMatrix::load and FatTreeTopology::load of Broadcom/csg-htsim (sim/datacenter). Nodes are HCA ports, numbered as
htsim numbers the hosts of a fat tree. The phases of a job follow each other by barriers: the flows of one start when all of the
phase before have been sent. htsim chooses the paths itself; tables have no place in either file.
"""

from __future__ import annotations

import numpy as np

from fabctl.errors import RefusedError
from fabctl.model.rates import PAYLOAD_SHARE
from fabctl.routing.cases.case import Case
from fabctl.routing.cases.fat_tree import FatTree, find_fat_tree, host_order

MOST_BYTES = (1 << 31) - 1
"""htsim reads a size into 32 bits."""


def connections(case: Case) -> str:
    """Return the connection matrix.

    Raises
    ------
    RefusedError
        If a flow has more bytes than htsim can count, or runs over a tree in the switches.
    """
    fabric = case.fabric
    order = host_order(fabric)
    node = np.full(len(fabric.port_node), -1, dtype=np.int64)
    node[order] = np.arange(len(order))
    lines: list[str] = []
    triggers: list[str] = []
    notes: list[str] = []
    for job in case.jobs:
        phases = [phase for phase in job.phases if len(phase.flows)]
        for index, phase in enumerate(phases):
            if phase.fixed is not None:
                raise RefusedError(f"'{phase.name}' runs over trees in the switches, htsim has none")
            sizes = np.maximum(np.rint(phase.flows.weight), 1).astype(np.int64)
            if sizes.max() > MOST_BYTES:
                text = f"htsim counts bytes in 32 bits, and a flow of '{phase.name}' has {sizes.max()}"
                raise RefusedError(text, hint=f"a smaller size in the job file: at most {MOST_BYTES} bytes per flow")
            begin = f" trigger {len(triggers)}" if index else " start 0"
            end = ""
            if index + 1 < len(phases):
                triggers.append(f"trigger id {len(triggers) + 1} barrier count {len(sizes)}")
                end = f" send_done_trigger {len(triggers)}"
            notes.append(
                f"# flows {len(lines) + 1}-{len(lines) + len(sizes)}: {job.name}, {phase.name}, {phase.times} times a step"
            )
            ends = zip(node[phase.flows.src].tolist(), node[phase.flows.dst].tolist(), sizes.tolist(), strict=True)
            for src, dst, size in ends:
                lines.append(f"{src}->{dst} id {len(lines) + 1}{begin} size {size}{end}")
    head = ["# fabctl: a job's flows; each phase is here once", *notes]
    head += [f"# node {number}: {fabric.port_label(port)}" for number, port in enumerate(order.tolist())]
    head += [f"Nodes {len(order)}", f"Connections {len(lines)}", *([f"Triggers {len(triggers)}"] if triggers else [])]
    return "\n".join([*head, *lines, *triggers]) + "\n"


def topology(case: Case) -> str:
    """Return the topology.

    Raises
    ------
    RefusedError
        If the fabric is no fat tree that htsim can build, or its speeds are not known, not even within a tier, or no whole
        Gb/s.
    """
    tree = find_fat_tree(case.fabric)
    speeds = _speeds(case)
    lines = [
        f"# fabctl: the fat tree of {case.fabric.n_switches} switches; nodes are those of -o htsim",
        "# htsim wants a latency, fabctl has none: 1 ns",
        f"Nodes {tree.hosts}",
        f"Tiers {tree.tiers}",
        f"Podsize {tree.pod_hosts}",
    ]
    for tier in range(tree.tiers):
        lines += ["", f"Tier {tier}", f"Downlink_speed_Gbps {speeds[tier]}", f"Radix_Down {tree.radix_down[tier]}"]
        if tier + 1 < tree.tiers:
            lines += [f"Radix_Up {tree.radix_up[tier]}", f"Oversubscribed {_oversubscription(tree, speeds, tier)}"]
        lines += [f"Bundle {tree.bundle[tier]}", "Downlink_Latency_ns 1", "Switch_Latency_ns 0"]
    return "\n".join(lines) + "\n"


def _speeds(case: Case) -> list[int]:
    """Return the data rate of the cables below each tier in Gb/s."""
    fabric = case.fabric
    gbps = case.rates * 8 / 1e9 / PAYLOAD_SHARE
    level = np.where(fabric.is_hca, -1, 99)
    level[: fabric.n_switches] = fabric.tiers
    speeds = []
    for tier in range(int(fabric.tiers.max()) + 1):
        down = (level[fabric.channel_src] == tier) & (level[fabric.channel_dst] < tier)
        found = np.unique(np.round(gbps[down], 6))
        if len(found) != 1 or found[0] <= 0:
            known = " and ".join(f"{rate:g}" for rate in found.tolist())
            raise RefusedError(
                f"htsim has one speed below tier {tier}, the fabric has {known} Gb/s", hint="-o htsim writes the flows alone"
            )
        if abs(found[0] - round(found[0])) > 1e-3:
            raise RefusedError(f"htsim takes whole Gb/s, below tier {tier} there are {found[0]:g}")
        speeds.append(round(found[0]))
    return speeds


def _oversubscription(tree: FatTree, speeds: list[int], tier: int) -> int:
    below, above = tree.radix_down[tier] * speeds[tier], tree.radix_up[tier] * speeds[tier + 1]
    ratio, rest = divmod(below, above)
    if rest or not ratio or (tier == 0 and tree.radix_down[0] // tree.radix_up[0] != ratio):
        text = f"htsim takes whole oversubscriptions, tier {tier} has {below} Gb/s below and {above} above"
        raise RefusedError(text, hint="-o htsim writes the flows alone")
    return ratio
