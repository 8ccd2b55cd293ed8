"""What is to be done on a host, as a shell script for people to read and carry over. fabctl touches no host.

A script checks before it writes that each bridge holds what was captured: run on another host, or twice, it does no harm.
Nothing of a captured text gets into it but PCIe addresses and register words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fabctl.offload.hosts.lspci import Function
from fabctl.offload.hosts.readiness import ACS, FAR, IOMMU, NOT_LOADED, NOT_REGISTERED, Readiness
from fabctl.printable import printable

CLEAR = "0000"
"""NVIDIA clears the whole register (NCCL user guide, Troubleshooting: PCI Access Control Services)."""

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

_ACS_SHELL = """\
# ECAP_ACS+6 of a bridge: $2 as captured, $3 wanted.
acs() {
    held=$(setpci -s "$1" ECAP_ACS+6.w)
    case $held in
    "$3") ;;
    "$2") setpci -s "$1" "ECAP_ACS+6.w=$3" ;;
    *) echo "$1 holds $held, not $2: is this the host that was captured?" >&2; exit 1 ;;
    esac
}
"""
_REGISTERED = """\
for client in nv_mem nv_mem_nc nvidia-peermem; do
    [ ! -e "/sys/kernel/mm/memory_peers/$client" ] || registered=yes
done
[ "${registered:-}" = yes ] || {
    echo "nvidia_peermem has not registered: reinstall NVIDIA's driver, after OFED, so that it is built for its RDMA core" >&2
    exit 1
}
"""
_GRUBBY = """\
if command -v grubby >/dev/null; then
    grubby --update-kernel=ALL --%s=iommu=pt
else
    echo "%s iommu=pt in GRUB_CMDLINE_LINUX of /etc/default/grub, then update-grub" >&2
fi
echo "now reboot this host" >&2
"""


def file_stem(host: str, guid: str) -> str:
    """Return a file name's beginning for a host: its name, or, where that is no safe one, the GUID of its first HCA.

    Examples
    --------
    >>> file_stem("gpu-07", "0x1"), file_stem("$(reboot)", "0x1")
    ('gpu-07', '0x1')
    """
    return host if _SAFE.fullmatch(host) else guid


def ready_script(host: str, ready: Readiness) -> str:
    """Return the script that makes a host ready; empty if nothing can be done on it."""
    steps: list[str] = []
    if ready.has(ACS):
        steps.append(_ACS_SHELL + _acs_calls(ready.bridges, back=False))
    if ready.has(NOT_LOADED):
        steps.append("modprobe nvidia-peermem\n" + _REGISTERED)
    if ready.has(NOT_REGISTERED):
        steps.append("modprobe -r nvidia_peermem\nmodprobe nvidia-peermem\n" + _REGISTERED)
    if ready.has(IOMMU):
        steps.append(_GRUBBY % ("args", "put"))
    return _script(f"GPUDirect RDMA on {host}", why(ready), ready, steps)


def undo_script(host: str, ready: Readiness) -> str:
    """Return the script that takes `ready_script` back: the old values, explicitly."""
    steps: list[str] = []
    if ready.has(ACS):
        steps.append(_ACS_SHELL + _acs_calls(ready.bridges, back=True))
    if ready.has(NOT_LOADED):
        steps.append("modprobe -r nvidia_peermem\n")
    if ready.has(IOMMU):
        steps.append(_GRUBBY % ("remove-args", "delete"))
    return _script(f"What {host} was before", "The old values, explicitly", ready, steps)


def why(ready: Readiness) -> str:
    """Return what a host's script does, and how disruptive that is."""
    words = []
    if ready.has(ACS):
        words.append(f"ACS off on {len(ready.bridges)} bridges: at once, to be run at each boot")
    if ready.has(NOT_LOADED, NOT_REGISTERED):
        words.append("nvidia_peermem loaded: at once, with no RDMA job running")
    if ready.has(IOMMU):
        words.append("iommu=pt: REBOOT of the host")
    return "; ".join(words)


def nccl_environment(hosts: Iterable[Readiness], devices: Iterable[Sequence[str]]) -> str:
    """Return the environment of NCCL for jobs on these hosts.

    Parameters
    ----------
    devices : iterable of sequence of str
        RDMA devices of each host that are on the fabric.
    """
    lines = ["# NCCL on these hosts (NCCL user guide, Environment Variables)"]
    alike = {tuple(names) for names in devices if names}
    if len(alike) == 1 and all(_SAFE.fullmatch(name) for name in next(iter(alike))):
        lines.append(f"NCCL_IB_HCA=={','.join(next(iter(alike)))}")
    else:
        lines.append("# NCCL_IB_HCA: the hosts' RDMA devices on this fabric have no names, or differ")
    levels = {ready.level for ready in hosts if ready.has(FAR)} - {""}
    if levels:
        level = max(levels)
        lines += [
            f"# some GPUs are {level} from their HCA: NCCL stages their data through host memory, unless it is told",
            f"# NCCL_NET_GDR_LEVEL={level}; measure both: through a CPU, GPUDirect RDMA can be the slower one",
        ]
    return "\n".join([*lines, "NCCL_DEBUG=INFO", "# shows GDRDMA on each NET/IB connection that uses it", ""])


def _acs_calls(bridges: Sequence[Function], *, back: bool) -> str:
    pairs = [(bridge.bdf, f"{bridge.acs:04x}", CLEAR) for bridge in bridges]
    return "".join(f"acs {bdf} {new} {old}\n" if back else f"acs {bdf} {old} {new}\n" for bdf, old, new in pairs)


def _script(title: str, words: str, ready: Readiness, steps: Sequence[str]) -> str:
    if not steps:
        return ""
    head = ["#!/bin/sh", f"# {printable(title)}. Run as root.", f"# {words}.", "set -eu", ""]
    if ready.has(ACS):
        head[2:2] = [
            "# Without ACS, devices below one PCIe switch reach each other unchecked: not on hosts that pass them to VMs."
        ]
    return "\n".join(head) + "\n" + "\n".join(steps)
