"""Node types as YAML: devices by kind, links in groups that share bandwidth, latency and source.

::

    title: NVIDIA DGX-1 (V100)
    cpu_vendor: intel
    devices:
      gpu: {names: "GPU[0-7]", model: V100}
      hca: {names: "mlx5_[0-3]", model: ConnectX-4}
    links:
      - kind: nvlink
        gb_s: 20          # of one link, each direction
        latency_us: 0.5   # of one crossing
        source: where the two numbers come from
        join: [GPU0 GPU1, GPU0 GPU3 x2]
    notes: [what was assumed or left out]
"""

from __future__ import annotations

import re

from fabctl import yamlspec
from fabctl.model.node_graph import (
    C2C,
    CPU,
    GPU,
    HCA,
    NVLINK,
    NVSWITCH,
    ON_DIE,
    PCIE,
    PCIE_SWITCH,
    ROOT,
    SMP,
    Device,
    NodeGraph,
    NodeLink,
)
from fabctl.nodes.figures import NodeSource
from fabctl.nodeset import NodesetError, expand
from fabctl.yamlspec import Node

KEYS = ("title", "cpu_vendor", "devices", "links", "notes")
DEVICE_KINDS = (GPU, HCA, NVSWITCH, PCIE_SWITCH, ROOT, CPU)
LINK_KINDS = (NVLINK, C2C, PCIE, ON_DIE, SMP)
CPU_VENDORS = ("intel", "amd", "arm", "power")
MAX_DEVICES = 1000
"""Of one kind in one host: a typo in a range must not eat the memory."""

_TOP_KEY = re.compile(rf"^\ufeff?(?:{'|'.join(KEYS)})\s*:", re.MULTILINE)
_PAIR = re.compile(r"(\S+)\s+(\S+)(?:\s+x([1-9]\d{0,3}))?")


def recognises(head: str) -> bool:
    """Return whether a text has one of the keys of a node at its left margin."""
    return bool(_TOP_KEY.search(head))


def parse(text: str, path: str, name: str) -> NodeGraph:
    """Return the node that a YAML text describes.

    Parameters
    ----------
    path : str
        File name, for messages.
    name : str
        The node's.

    Raises
    ------
    InputError
        With ``file:line:column``.
    """
    values = yamlspec.load(text, path).mapping(KEYS, required=("devices", "links"))
    devices = _devices(values["devices"])
    return NodeGraph(
        name=name,
        title=values["title"].text() if "title" in values else name,
        devices=devices,
        links=_links(values["links"], {device.name for device in devices}),
        cpu_vendor=values["cpu_vendor"].choice(CPU_VENDORS) if "cpu_vendor" in values else "",
        notes=tuple(note.text() for note in values["notes"].items()) if "notes" in values else (),
    )


SOURCE = NodeSource(recognises, parse)


def _devices(spec: Node) -> tuple[Device, ...]:
    devices: dict[str, Device] = {}
    for kind, entry in spec.mapping(DEVICE_KINDS).items():
        values = entry.mapping(("names", "model"), required=("names",))
        model = values["model"].text() if "model" in values else ""
        try:
            names = expand(values["names"].text())
        except NodesetError as error:
            raise values["names"].error(error.message, hint="write names like GPU[0-7]") from error
        if len(names) > MAX_DEVICES:
            raise values["names"].error(f"more than {MAX_DEVICES} devices in one host")
        for name in names:
            if name in devices:
                raise values["names"].error(f"device '{name}' is here twice")
            devices[name] = Device(name, kind, model)
    if not devices:
        raise spec.error("a node has devices")
    return tuple(devices.values())


def _links(spec: Node, names: set[str]) -> tuple[NodeLink, ...]:
    links: list[NodeLink] = []
    places: dict[tuple[str, ...], str] = {}
    for group in spec.items():
        values = group.mapping(("kind", "gb_s", "latency_us", "source", "join"), required=("kind", "join"))
        kind = values["kind"].choice(LINK_KINDS)
        gb_s = values["gb_s"].number(low=0, high=1e6) if "gb_s" in values else 0.0
        latency_us = values["latency_us"].number(low=0, high=1e6) if "latency_us" in values else 0.0
        source = values["source"].text() if "source" in values else ""
        for pair in _flat(values["join"]):
            a, b, count = _pair(pair, names)
            key = (kind, *sorted((a, b)))
            if key in places:
                raise pair.error(f"{a} and {b} are joined twice", hint=f"first at {places[key]}; write x2 for two links")
            places[key] = pair.where
            links.append(NodeLink(a, b, kind, gb_s * count, latency_us, count, source))
    return tuple(links)


def _flat(spec: Node) -> list[Node]:
    """Return the pairs of a list, or of a list of lists."""
    return [pair for item in spec.items() for pair in (item.items() if item.is_list else [item])]


def _pair(spec: Node, names: set[str]) -> tuple[str, str, int]:
    match = _PAIR.fullmatch(spec.text().strip())
    if match is None:
        raise spec.error(f"'{spec.text()}' joins nothing", hint="write two devices: GPU0 GPU1, or GPU0 GPU3 x2 for two links")
    a, b, count = match.groups()
    for name in (a, b):
        if name not in names:
            raise spec.error(f"unknown device '{name}'", hint=yamlspec.suggestion(name, sorted(names)))
    if a == b:
        raise spec.error(f"'{a}' is joined with itself")
    return a, b, int(count or 1)
