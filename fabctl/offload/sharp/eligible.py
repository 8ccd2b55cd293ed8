"""Which switches may be on streaming trees, and which jobs can have them at all."""

from __future__ import annotations

import shlex
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from fabctl.model.catalog import hca, switch_asic
from fabctl.model.fabric import Fabric
from fabctl.model.sharp_plan import Binding, Constraint
from fabctl.traffic.placement import Job

WITHOUT = "without it NCCL takes rings and trees between hosts"


def streaming_switches(fabric: Fabric, excluded: Collection[int] = ()) -> NDArray[np.bool_]:
    """Return which switches can have streaming trees: by the catalogue, less those on which SHARP is switched off."""
    asics = (switch_asic(int(device)) for device in fabric.device_id[: fabric.n_switches])
    usable = np.array([asic is not None and asic.sharp >= 2 for asic in asics], dtype=bool).reshape(fabric.n_switches)
    usable[list(excluded)] = False
    return usable


def manager_ports(fabric: Fabric) -> list[int]:
    """Return the HCA port on which the subnet manager runs; none if the source does not tell, or it runs on a switch."""
    if not fabric.sm_lid:
        return []
    return np.flatnonzero((fabric.port_lid == fabric.sm_lid) & (fabric.port_node >= fabric.n_switches)).tolist()


def not_able(job: Job, usable: NDArray[np.bool_], excluded: Collection[int] = ()) -> Binding | None:
    """Return what keeps a job from streaming trees whatever else runs: its HCAs, its leaf switches, the subnet manager."""
    fabric = job.fabric
    for port in manager_ports(fabric):
        if port in job.ports:
            text = f"{fabric.port_label(port)} is the subnet manager's own port: SHARP refuses it (NVIDIA/nccl issue 1219)"
            return Binding(Constraint.SM_PORT, text, "leave its host out of the job, or move the subnet manager")
    for node in np.unique(fabric.port_node[job.ports]).tolist():
        model = hca(int(fabric.device_id[node]))
        if model is None or not model.streaming:
            what = f"{model.name} HCAs do not stream" if model else _unknown(fabric, node)
            return Binding(Constraint.CAPABILITY, f"{what}: {fabric.labels[node]} is one", f"ConnectX-6 and later do; {WITHOUT}")
    for leaf in np.unique(fabric.channel_dst[fabric.channel_of_port[job.ports]]).tolist():
        binding = _leaf_not_able(fabric, leaf, usable, excluded)
        if binding:
            return binding
    return None


def _leaf_not_able(fabric: Fabric, leaf: int, usable: NDArray[np.bool_], excluded: Collection[int]) -> Binding | None:
    label = fabric.labels[leaf]
    if leaf >= fabric.n_switches:
        return Binding(Constraint.REACH, f"an HCA of the job hangs on {label}, and on no switch", WITHOUT)
    if leaf in excluded:
        text = f"SHARP is switched off on {label}, where HCAs of the job hang"
        return Binding(Constraint.EXCLUDED, text, f"fabctl offload enable sharp --switch {shlex.quote(label)}")
    if usable[leaf]:
        return None
    asic = switch_asic(int(fabric.device_id[leaf]))
    what = f"{asic.name} switches do not stream" if asic else _unknown(fabric, leaf)
    return Binding(Constraint.CAPABILITY, f"{what}: {label} is one", f"Quantum and later do; {WITHOUT}")


def _unknown(fabric: Fabric, node: int) -> str:
    device_id = int(fabric.device_id[node])
    return f"it is unknown whether devices of id {device_id:#06x} stream" if device_id else "the source tells no device ids"
