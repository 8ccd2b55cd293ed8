"""The facts of a site's hosts: from what was captured on them, and live from this one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from fabctl.model.fabric import Fabric
from fabctl.offload.hosts import captures
from fabctl.offload.hosts.captures import Captures, sort_captures
from fabctl.offload.hosts.facts import HostFacts, read_facts
from fabctl.offload.site import Site

TIMEOUT_S = 60
"""``nvidia-smi`` takes seconds to wake GPUs; longer, and it hangs."""

_FILES = {
    captures.MODULES: "proc/modules",
    captures.CMDLINE: "proc/cmdline",
    captures.DRIVER: "proc/driver/nvidia/version",
    captures.PARAMS: "proc/driver/nvidia/params",
    captures.KERNEL: "proc/sys/kernel/osrelease",
}
_TOOLS = {
    captures.LSPCI: ("lspci", "-D", "-vvv"),
    captures.TOPO: ("nvidia-smi", "topo", "-m"),
    captures.GPUS: ("nvidia-smi", "-L"),
    captures.DMESG: ("dmesg",),
    captures.OFED: ("ofed_info", "-s"),
}
_INFINIBAND = "sys/class/infiniband"


@dataclass(frozen=True)
class Gathered:
    """Facts by host, for the hosts of which there are any.

    Parameters
    ----------
    facts : mapping of str to HostFacts
    captured : Captures
        With what belongs to nobody.
    """

    facts: Mapping[str, HostFacts]
    captured: Captures


@lru_cache(maxsize=1)
def gathered(site: Site) -> Gathered:
    """Return what is known of a site's hosts. This one is asked, where the site is live; no other is."""
    sorted_texts = sort_captures(site.captured, site.fabric.hosts.name)
    texts = dict(sorted_texts.of_host)
    here = this_host(site.fabric) if site.source == "live" else None
    if here is not None:
        texts[here] = {**live_texts(), **texts.get(here, {})}
    return Gathered({host: read_facts(host, texts[host]) for host in sorted(texts)}, sorted_texts)


def devices_of(fabric: Fabric) -> dict[str, tuple[str, ...]]:
    """Return the RDMA devices through which each host is on a fabric; none where its HCAs' descriptions do not say."""
    hosts = fabric.hosts
    found: dict[str, list[str]] = {name: [] for name in hosts.name}
    order = np.lexsort((hosts.node_order, hosts.node_host))
    for node in order[hosts.node_host[order] >= 0].tolist():
        if hosts.node_device[node]:
            found[hosts.name[hosts.node_host[node]]].append(hosts.node_device[node])
    return {name: tuple(devices) for name, devices in found.items()}


def this_host(fabric: Fabric, root: Path = Path("/")) -> str | None:
    """Return the host of a fabric that this machine is, by the GUIDs of its HCAs; None if it is none of them."""
    for path in sorted((root / _INFINIBAND).glob("*/node_guid")):
        words = _read(path).strip().replace(":", "")
        if len(words) == 16 and all(letter in "0123456789abcdef" for letter in words):
            for node in np.flatnonzero(fabric.node_guid == int(words, 16)).tolist():
                host = int(fabric.hosts.node_host[node])
                if host >= 0:
                    return fabric.hosts.name[host]
    return None


def live_texts(root: Path = Path("/")) -> dict[str, str]:
    """Return what this machine says of itself; what it does not have is left out."""
    texts = {key: _read(root / name) for key, name in _FILES.items() if (root / name).exists()}
    texts |= {key: text for key, words in _TOOLS.items() if (text := _run(*words))}
    texts[captures.PEERS] = "\n".join(_names(root / "sys/kernel/mm/memory_peers"))
    texts[captures.IOMMU] = "\n".join(_read(path) for path in sorted((root / "sys/kernel/iommu_groups").glob("*/type")))
    links = ((path.name, path.readlink()) for path in sorted((root / _INFINIBAND).glob("*")) if path.is_symlink())
    texts[captures.HCAS] = "\n".join(f"{name} -> {target}" for name, target in links)
    return texts


def _names(folder: Path) -> Iterator[str]:
    return (path.name for path in sorted(folder.glob("*")))


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def _run(*words: str) -> str:
    """Return what a tool prints; nothing if it is not there, fails or hangs."""
    program = shutil.which(words[0], path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *words[1:]], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
