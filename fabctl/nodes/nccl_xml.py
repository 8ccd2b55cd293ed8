"""NCCL's topology XML, which ``NCCL_TOPO_DUMP_FILE`` writes and ``NCCL_TOPO_FILE`` reads (2.30.7, ``src/graph/topo.cc``)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from xml.parsers import expat

from fabctl.errors import InputError
from fabctl.model import catalog
from fabctl.model.node_graph import C2C, CPU, GPU, HCA, NVSWITCH, ON_DIE, PCIE, PCIE_SWITCH, ROOT, SMP, NodeGraph
from fabctl.nodes.draft import Draft
from fabctl.nodes.figures import TOPO_H, NodeSource, pcie_gb_s, smp_gb_s

MOST_ELEMENTS, MOST_LEVELS = 100_000, 64
"""What is read of a file: a dump of NCCL has hundreds of elements on ten levels."""
_GPU_CLASS, _NIC_CLASS, _NVSWITCH_CLASS, _CPU_BRIDGE_CLASS = "0x03", "0x02", "0x068000", "0x068001"
_PCI_SOURCE = "GB/s: NCCL 2.30.7 src/graph/topo.cc, by link speed and width"
_VENDORS = {"GenuineIntel": "intel", "AuthenticAMD": "amd"}
_ARCHS = {"arm64": "arm", "aarch64": "arm", "ppc64": "power", "ppc64le": "power"}
_GPU_IDS = {
    # PCI ID database
    0x15F8: "P100", 0x15F9: "P100", 0x1DB1: "V100", 0x1DB4: "V100", 0x1DB5: "V100", 0x1DB6: "V100", 0x1DB8: "V100",
    0x20B0: "A100", 0x20B2: "A100", 0x20BD: "A800", 0x20F3: "A800", 0x2330: "H100", 0x2324: "H800", 0x2335: "H200",
    0x2342: "GH200", 0x2901: "B200", 0x2941: "GB200", 0x3182: "B300", 0x31C2: "GB300",
}  # fmt: skip


_NUMBER = re.compile(r"-?(0[xX][0-9a-fA-F]{1,8}|\d{1,9})")


@dataclass
class _Element:
    """An XML element with its place and children."""

    tag: str
    line: int
    attributes: dict[str, str]
    children: list[_Element] = field(default_factory=list)

    def of(self, tag: str) -> list[_Element]:
        return [child for child in self.children if child.tag == tag]

    def all(self, tag: str) -> Iterator[_Element]:
        for child in self.children:
            if child.tag == tag:
                yield child
            yield from child.all(tag)


def recognises(head: str) -> bool:
    """Return whether a text begins as XML does."""
    return head.lstrip().startswith("<")


def parse(text: str, path: str, name: str) -> NodeGraph:
    """Return the node of a topology.

    Raises
    ------
    InputError
        With ``file:line``: for what is no XML or no topology, and for one without GPUs or HCAs.
    """
    root = _elements(text, path)
    if root.tag != "system":
        hint = "NCCL_GRAPH_DUMP_FILE writes rings; NCCL_TOPO_DUMP_FILE writes the host" if root.tag == "graphs" else ""
        raise InputError(f"<{root.tag}> is no topology of NCCL: <system> is", where=f"{path}:{root.line}", hint=hint)
    return _Reader(path).read(root, name)


SOURCE = NodeSource(recognises, parse)


def _elements(text: str, path: str) -> _Element:
    """Return the root of a text's elements; document types, and with them all entities, are refused."""
    parser = expat.ParserCreate()
    document = _Element("", 0, {})
    open_elements = [document]
    seen = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal seen
        seen += 1
        if seen > MOST_ELEMENTS or len(open_elements) > MOST_LEVELS:
            what = f"more than {MOST_ELEMENTS:,} elements, or {MOST_LEVELS} levels of them"
            raise InputError(what, where=f"{path}:{parser.CurrentLineNumber}")
        element = _Element(tag, parser.CurrentLineNumber, attributes)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def end(_tag: str) -> None:
        open_elements.pop()

    def refuse(*_arguments: object) -> None:
        where = f"{path}:{parser.CurrentLineNumber}"
        raise InputError("a topology of NCCL has no document type", where=where, hint="take the <!DOCTYPE> out")

    parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = start, end, refuse
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        hint = "was the file cut?" if open_elements[1:] else ""
        raise InputError(f"this is no XML: {expat.ErrorString(error.code)}", where=f"{path}:{error.lineno}", hint=hint) from error
    return document.children[0]


class _Reader:
    """One pass over a topology."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.draft = Draft()
        self.gpu_at: dict[str, str] = {}  # by bus id
        self.hcas_at: dict[str, list[str]] = {}
        self.socket_of: dict[str, str] = {}  # of each GPU

    def read(self, system: _Element, name: str) -> NodeGraph:
        """Return the node that a ``<system>`` describes."""
        sockets = self._sockets(system)
        pci = [element for socket in sockets for element in socket.all("pci")]
        self._name_gpus([element for element in pci if _is_gpu(element)])
        self._name_hcas([element for element in pci if _is_nic(element)])
        self._check_devices(system)
        for index, socket in enumerate(sockets):
            number = socket.attributes.get("numaid", str(index))
            cpu, root = self.draft.add(f"CPU{number}", CPU), self.draft.add(f"ROOT{number}", ROOT)
            self.draft.join(root, cpu, ON_DIE, 0.0, "GB/s: unknown")
            for element in socket.of("pci"):
                self._hang(element, root, cpu)
        self._join_sockets(sockets[0])
        gpus = [(self.gpu_at[self._bus_id(element)], gpu) for element in pci for gpu in element.of("gpu")]
        for gpu_name, gpu in gpus:
            self._nvlinks(gpu_name, gpu)
        if not any(gpu.of("nvlink") for _, gpu in gpus):
            self.draft.notes.append("the file has no NVLinks; NCCL asks the host's driver for them where it reads such a file")
        first = sockets[0].attributes
        vendor = _ARCHS.get(first.get("arch", ""), _VENDORS.get(first.get("vendor", ""), ""))
        return self.draft.finish(name, f"the host of {self.path}", vendor)

    def _check_devices(self, system: _Element) -> None:
        where = f"{self.path}:{system.line}"
        if not self.gpu_at:
            raise InputError("this topology has no GPU", where=where)
        if not self.hcas_at:
            hint = "NCCL_TOPO_DUMP_FILE writes <net> elements once NCCL has found its network"
            raise InputError("this topology has no network device", where=where, hint=hint)

    def _sockets(self, system: _Element) -> list[_Element]:
        sockets = system.of("cpu")
        if not sockets:
            raise InputError("this topology has no <cpu>", where=f"{self.path}:{system.line}")
        host = sockets[0].attributes.get("host_hash")
        own = [socket for socket in sockets if socket.attributes.get("host_hash") == host]
        if len(own) < len(sockets):
            self.draft.notes.append("the file holds several hosts, and this is the first")
        return own

    # ---- devices ---------------------------------------------------------------------------------------------------

    def _name_gpus(self, elements: list[_Element]) -> None:
        """Give GPUs their numbers by NCCL's ``dev`` or, where that is missing, by bus id, as the driver does."""
        numbers = {self._bus_id(element): self._number(gpu, "dev", -1) for element in elements for gpu in element.of("gpu")}
        known = len(set(numbers.values())) == len(elements) and min(numbers.values(), default=-1) >= 0
        by_bus_id = sorted(elements, key=self._bus_id)
        if known:
            by_bus_id.sort(key=lambda element: numbers[self._bus_id(element)])
        for index, element in enumerate(by_bus_id):
            bus_id = self._bus_id(element)
            self.gpu_at[bus_id] = self.draft.add(f"GPU{numbers[bus_id] if known else index}", GPU, self._gpu_model(element))
        if not all(device.model for device in self.draft.devices.values()):
            self.draft.notes.append("the file does not say which GPUs these are")

    def _gpu_model(self, element: _Element) -> str:
        """Return the model by device id or, for lack of one, the oldest with as many NVLinks of that compute capability."""
        model = _GPU_IDS.get(self._number(element, "device", 0), "")
        for gpu in element.of("gpu") if not model else ():
            sm, nvlinks = self._number(gpu, "sm", 0), sum(self._number(link, "count", 1) for link in gpu.of("nvlink"))
            alike = (known for known in catalog.gpus().values() if (known.compute_capability, known.nvlinks) == (sm, nvlinks))
            model = next((known.name for known in alike), "")
            note = f"GPUs taken for {model}: compute capability {sm / 10}, {nvlinks} NVLinks"
            if model and note not in self.draft.notes:
                self.draft.notes.append(note)
        return model

    def _name_hcas(self, elements: list[_Element]) -> None:
        """Name HCAs by NCCL's ``<net>`` or, where that is missing, number them by bus id."""
        for index, element in enumerate(sorted(elements, key=self._bus_id)):
            model = catalog.hca(self._number(element, "device", 0))
            names = [net.attributes.get("name") or f"NIC{index}" for net in element.all("net")] or [f"NIC{index}"]
            self.hcas_at[self._bus_id(element)] = [self.draft.add(name, HCA, model.name if model else "") for name in names]

    # ---- links -----------------------------------------------------------------------------------------------------

    def _hang(self, element: _Element, upper: str, cpu: str, chip: int = 0) -> None:
        """Hang a PCI device, and all below it, under its upstream device; `chip` as `_broadcom` gives it for that one."""
        bus_id = self._bus_id(element)
        gb_s = pcie_gb_s(_gt_s(element), self._number(element, "link_width", 0) or 16)
        if bus_id in self.gpu_at:
            self.socket_of[self.gpu_at[bus_id]] = cpu
        leaves = [self.gpu_at[bus_id]] if bus_id in self.gpu_at else self.hcas_at.get(bus_id, [])
        for name in leaves:
            self.draft.join(name, upper, PCIE, gb_s, _PCI_SOURCE)
        if leaves or not element.of("pci"):
            return
        if chip and self._broadcom(element, level=1) == chip:
            switch, own_chip = upper, 0  # the same switch once more
        else:
            switch, own_chip = self.draft.add(f"PCI/{bus_id}", PCIE_SWITCH), self._broadcom(element, level=0)
            self.draft.join(switch, upper, PCIE, gb_s, _PCI_SOURCE)
        for child in element.of("pci"):
            self._hang(child, switch, cpu, own_chip)

    def _join_sockets(self, first: _Element) -> None:
        names = [device.name for device in self.draft.devices.values() if device.kind == CPU]
        arch, vendor = first.attributes.get("arch", ""), first.attributes.get("vendor", "")
        gb_s = smp_gb_s(arch, vendor, self._number(first, "familyid", 0), self._number(first, "modelid", 0))
        for a, b in combinations(names, 2):
            self.draft.join(a, b, SMP, gb_s, f"GB/s: {TOPO_H}" if gb_s else "GB/s: unknown")

    def _nvlinks(self, name: str, gpu: _Element) -> None:
        """Join a GPU by NVLink and C2C; several NVSwitches become one."""
        sm, switched = self._number(gpu, "sm", 0), 0
        for link in gpu.of("nvlink"):
            count, target = self._number(link, "count", 1), link.attributes.get("target", "").lower()
            kind = link.attributes.get("tclass", "")
            if kind.startswith(_CPU_BRIDGE_CLASS):
                self.draft.nvlink(name, self.socket_of[name], count, sm)
            elif kind.startswith(_NVSWITCH_CLASS):
                switched += count
            elif target in self.gpu_at:
                self.draft.nvlink(name, self.gpu_at[target], count, sm)
        if switched:
            self.draft.nvlink(name, self.draft.add("NVSWITCH", NVSWITCH), switched, sm)
        for link in gpu.of("c2c"):
            count, mb_s = self._number(link, "count", 1), self._number(link, "bw", 0)
            self.draft.join(name, self.socket_of[name], C2C, mb_s / 1000, "GB/s: as the file has it", count)

    # ---- attributes ------------------------------------------------------------------------------------------------

    def _bus_id(self, element: _Element) -> str:
        bus_id = element.attributes.get("busid", "").lower()
        if not bus_id:
            raise InputError("a <pci> has no busid", where=f"{self.path}:{element.line}")
        return bus_id

    def _number(self, element: _Element, key: str, default: int) -> int:
        """Return a whole number, decimal or ``0x``, among an element's attributes."""
        text = element.attributes.get(key, "").strip()
        if not text:
            return default
        if not _NUMBER.fullmatch(text):
            raise InputError(f"{key}={text!r} is no number", where=f"{self.path}:{element.line}")
        return int(text, 16 if "x" in text.lower() else 10)

    def _broadcom(self, element: _Element, level: int) -> int:
        """Return the device id of a Broadcom switch that shows itself as two levels, of which this is the `level`; 0 for others.

        As in NCCL 2.30.7, ``src/graph/topo.cc``, ``getBcmGen``.
        """
        vendor, device, subvendor, subdevice = (
            self._number(element, key, 0) for key in ("vendor", "device", "subsystem_vendor", "subsystem_device")
        )
        if (vendor, subvendor) != (0x1000, 0x1000):
            return 0
        return device if (device, subdevice >> 12) in ((0xC010, 0xA), (0xC030, level)) else 0


def _is_gpu(element: _Element) -> bool:
    return bool(element.of("gpu")) or element.attributes.get("class", "").startswith(_GPU_CLASS)


def _is_nic(element: _Element) -> bool:
    return bool(element.of("nic")) or element.attributes.get("class", "").startswith(_NIC_CLASS)


def _gt_s(element: _Element) -> float:
    match = re.match(r"\d{1,3}(\.\d)?", element.attributes.get("link_speed", ""))
    return float(match.group()) if match else 0.0
