"""`HostFacts`: what texts captured on a host say of it. None and the empty word: they do not say.

Words that are kept are letters, digits and signs that no terminal obeys, whatever a text holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from fabctl.errors import InputError
from fabctl.model.catalog import Gpu
from fabctl.model.node_graph import NodeGraph
from fabctl.nodes import nvidia_smi
from fabctl.nodes.draft import gpu_in
from fabctl.offload.hosts import captures, lspci, lspci_tree
from fabctl.offload.hosts.lspci import PciTree
from fabctl.printable import printable

PEER_CLIENTS = ("nv_mem", "nv_mem_nc", "nvidia-peermem")
"""Names under which NVIDIA's module registers with the RDMA core (NCCL 2.30.7 ``src/transport/net_ib/gdr.cc``; NVSHMEM)."""
PEER_MODULES = ("nvidia_peermem", "nv_peer_mem")

PASSTHROUGH, TRANSLATED, OFF = "passthrough", "translated", "off"

_NO_BRACKETS = str.maketrans("[]", "  ")
_MODULE = re.compile(r"^(\w+)\s+\d+\s+\d+", re.MULTILINE)
_NVRM = re.compile(r"NVIDIA UNIX (Open )?.*?Kernel Module(?: for \S+)?\s+(\d+[\d.]*)")
_LICENSE = re.compile(r"^license:\s+(.+?)\s*$", re.MULTILINE)
_MODINFO_VERSION = re.compile(r"^version:\s+(\d+[\d.]*)", re.MULTILINE)
_DOMAIN = re.compile(r"iommu: Default domain type: (\w+)")
_IN_GROUPS = re.compile(r"Adding to iommu group|DMAR: IOMMU enabled|AMD-Vi: Interrupt remapping enabled")
_TRANSLATES = re.compile(r"(?:intel|amd)_iommu=(?:on|force)\b|iommu\.passthrough=0\b")
_NO_IOMMU = re.compile(r"(?:intel_|amd_)?iommu=off\b")
_PASSES = re.compile(r"iommu=pt\b|iommu\.passthrough=1\b")
_COMPLAINT = re.compile(r"(?:nvidia_peermem|nv_peer_mem): (?:disagrees about version of|Unknown) symbol \w+")
_KERNEL = re.compile(r"\b\d+\.\d+\.\d+[\w.+-]*", re.ASCII)
_OFED = re.compile(r"\b(?:MLNX_OFED_LINUX|DOCA[\w-]*|OFED-internal)-\d[\d.-]*\d")
_REGISTRY = re.compile(r'^RegistryDwords: "?(.*?)"?\s*$', re.MULTILINE)
_LISTED = re.compile(r"^[ \t]*GPU [\d,]+: (.+?)(?: \(UUID.*)?$", re.MULTILINE)
_LINKED = re.compile(r"(?<!\S)(\S+) -> \S*/((?:[0-9a-f]{4,8}):[0-9a-f]{2}:[01][0-9a-f]\.[0-7])/infiniband/\S+\s*$", re.MULTILINE)


@dataclass(frozen=True)
class HostFacts:
    """What is known of a host.

    Parameters
    ----------
    host : str
    captured : frozenset of str
        What there are texts of, as keys of `captures.COMMANDS`.
    modules : frozenset of str, optional
        Kernel modules that are loaded.
    gdrcopy : bool, optional
        Whether GDRCopy's is one of them.
    peers : frozenset of str, optional
        Who has registered with the RDMA core as a client of peer memory.
    complaint : str
        What the kernel said when NVIDIA's module did not find the RDMA core's symbols.
    driver : str
        Version of NVIDIA's driver.
    open_driver : bool, optional
        Whether its kernel modules are the open ones.
    kernel : str
        Release of the Linux kernel.
    ofed : str
        ``MLNX_OFED_LINUX-24.10-1.1.4.0``.
    iommu : str
        `PASSTHROUGH`, `TRANSLATED` or `OFF`.
    virtual : bool
        Whether it is a virtual machine.
    registry : str, optional
        The driver's ``RegistryDwords``.
    gpu_titles : tuple of str
        As ``nvidia-smi -L`` has them.
    node : NodeGraph, optional
        What ``nvidia-smi topo -m`` shows.
    pci : PciTree, optional
    hcas : mapping of str to str
        PCIe address by RDMA device: ``mlx5_0``.
    damage : tuple of str
        What could not be read of what there was.
    """

    host: str
    captured: frozenset[str] = frozenset()
    modules: frozenset[str] | None = None
    gdrcopy: bool | None = None
    peers: frozenset[str] | None = None
    complaint: str = ""
    driver: str = ""
    open_driver: bool | None = None
    kernel: str = ""
    ofed: str = ""
    iommu: str = ""
    virtual: bool = False
    registry: str | None = None
    gpu_titles: tuple[str, ...] = ()
    node: NodeGraph | None = None
    pci: PciTree | None = None
    hcas: Mapping[str, str] = field(default_factory=dict)
    damage: tuple[str, ...] = ()

    @property
    def loaded(self) -> bool | None:
        """Whether NVIDIA's module for peer memory is loaded."""
        return None if self.modules is None else any(module in self.modules for module in PEER_MODULES)

    @property
    def registered(self) -> bool | None:
        """Whether it has registered with the RDMA core."""
        return None if self.peers is None else any(client in self.peers for client in PEER_CLIENTS)

    @property
    def peer_mapping(self) -> bool | None:
        """Whether the driver maps HCAs' registers for every user."""
        return None if self.registry is None else "PeerMappingOverride=1" in self.registry

    @property
    def gpu(self) -> Gpu | None:
        """What its GPUs are; None if the catalogue does not know them."""
        listed = (function.title for function in (self.pci.gpus if self.pci else ()))
        titles = (*self.gpu_titles, *(title.translate(_NO_BRACKETS) for title in listed))
        return next((gpu for gpu in map(gpu_in, titles) if gpu), None)

    @property
    def n_gpus(self) -> int | None:
        """How many GPUs it has."""
        counts = (len(self.gpu_titles), len(self.node.gpus) if self.node else 0)
        return max(counts) or (None if self.pci is None else len(self.pci.gpus))


def read_facts(host: str, texts: Mapping[str, str]) -> HostFacts:
    """Return what texts of a host say.

    Parameters
    ----------
    texts : mapping of str to str
        By what they are, as `captures.sort_captures` has them.
    """
    titles = tuple(_LISTED.findall("\n".join(texts.get(key, "") for key in (captures.GPUS, captures.TOPO))))
    node, damage = _node(titles, texts.get(captures.TOPO))
    driver, open_driver = _driver(texts)
    dmesg = texts.get(captures.DMESG, "")
    complaint = _COMPLAINT.search(dmesg)
    kernel = _KERNEL.search(texts.get(captures.KERNEL, "") or texts.get(captures.CMDLINE, ""))
    registry = _REGISTRY.search(texts.get(captures.PARAMS, ""))
    ofed = _OFED.search(texts.get(captures.OFED, ""))
    listed = texts.get(captures.MODULES)
    modules = None if listed is None else frozenset(_MODULE.findall(listed))
    pci = _pci("\n".join(texts[key] for key in (captures.LSPCI, captures.ACS) if key in texts))
    if pci is None and captures.LSPCI in texts:
        damage.append("lspci: no device with its address and buses, which lspci -vvv prints")
    return HostFacts(
        host=host,
        captured=frozenset(texts),
        modules=modules,
        gdrcopy=True if "gdrdrv" in (modules or ()) else False if "Used by" in (listed or "") else None,
        peers=_peers(texts.get(captures.PEERS)),
        complaint=complaint[0] if complaint else "",
        driver=driver,
        open_driver=open_driver,
        kernel=kernel[0] if kernel else "",
        ofed=ofed[0] if ofed else "",
        iommu=_iommu(texts),
        virtual="Hypervisor detected" in dmesg,
        registry=printable(registry[1]) if registry else None,
        gpu_titles=titles,
        node=node,
        pci=pci,
        hcas=dict(_LINKED.findall(texts.get(captures.HCAS, ""))),
        damage=tuple(damage),
    )


def version(text: str) -> tuple[int, ...]:
    """Return a version as numbers that compare.

    Examples
    --------
    >>> version("6.8.0-90-generic") >= (5, 12), version("5.4.0") >= (5, 12)
    (True, False)
    """
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _pci(text: str) -> PciTree | None:
    return lspci.parse(text) or (lspci_tree.parse(text) if lspci_tree.recognises(text) else None)


def _node(titles: Sequence[str], topo: str | None) -> tuple[NodeGraph | None, list[str]]:
    if topo is None:
        return None, []
    listed = "".join(f"GPU {gpu}: {title}\n" for gpu, title in enumerate(titles))
    try:
        return _parsed(listed + topo), []
    except InputError as error:
        return None, [printable(f"nvidia-smi topo -m: {error.message}")]


@lru_cache(maxsize=32)
def _parsed(text: str) -> NodeGraph:
    """Return the node of a matrix: most hosts of a cluster have the same."""
    return nvidia_smi.parse(text, "nvidia-smi topo -m", "host")


def _driver(texts: Mapping[str, str]) -> tuple[str, bool | None]:
    """Return the driver's version, and whether its modules are the open ones: from ``/proc`` or ``modinfo``."""
    text = texts.get(captures.DRIVER, "")
    if match := _NVRM.search(text):
        return match[2], match[1] is not None
    found, license_ = _MODINFO_VERSION.search(text), _LICENSE.search(text)
    return found[1] if found else "", "MIT" in license_[1] if license_ else None


def _peers(text: str | None) -> frozenset[str] | None:
    """Return the clients that a listing names; a line that says "No such file" names nobody."""
    if text is None:
        return None
    lines = (line for line in text.splitlines() if "No such file" not in line and "cannot access" not in line)
    return frozenset(re.findall(r"[\w-]+", " ".join(lines)))


def _iommu(texts: Mapping[str, str]) -> str:
    """Return what the IOMMU does: by the groups that there are, else by the kernel's words, else by its command line.

    Kernels print a default domain type without an IOMMU too: it counts only beside the groups that an IOMMU makes.
    """
    groups = texts.get(captures.IOMMU)
    if groups is not None:
        types = set(re.findall(r"\b(identity|DMA(?:-FQ)?)\b", groups))
        return TRANSLATED if types - {"identity"} else PASSTHROUGH if types else OFF
    dmesg = texts.get(captures.DMESG, "")
    domain = _DOMAIN.search(dmesg)
    if domain and domain[1] == "Passthrough":
        return PASSTHROUGH
    if domain and _IN_GROUPS.search(dmesg):
        return TRANSLATED
    cmdline = texts.get(captures.CMDLINE, "")
    forms = ((_PASSES, PASSTHROUGH), (_NO_IOMMU, OFF), (_TRANSLATES, TRANSLATED))
    return next((mode for form, mode in forms if form.search(cmdline)), "")
