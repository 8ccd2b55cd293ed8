r"""What ``lspci -tv`` draws: buses and devices, but neither classes nor ACS.

A bus stands in brackets behind the bridge that leads to it; what is on it stands to its right, on this line and below::

    -+-[0000:00]-+-01.1-[01]--+-00.0  NVIDIA Corporation GH100 [H100 SXM5 80GB]
     |           |            \-00.1  NVIDIA Corporation GH100 High Definition Audio Controller
     \-[0000:60]---03.1-[61-67]----00.0-[62-67]--+-02.0-[63]----00.0  Mellanox Technologies MT2910 Family [ConnectX-7]
"""

from __future__ import annotations

import re

from fabctl.offload.hosts.lspci import GPU_CLASS, HCA_CLASS, MELLANOX, NVIDIA, Function, PciTree, vendor_of

_LINES = " |+\\`-"
"""What the drawing's lines are made of."""
_BUS = re.compile(r"\[(?:([0-9a-f]{4,8}):)?([0-9a-f]{2})(?:-([0-9a-f]{2}))?\]")
_DEVICE = re.compile(r"([01][0-9a-f])\.([0-7])(?![0-9a-f])")
_NO_GPU = re.compile(r"NVSwitch|Audio|USB|Serial|Bridge", re.IGNORECASE)

BRIDGE = "pci bridge"


def recognises(text: str) -> bool:
    """Return whether a text is such a drawing."""
    return re.search(r"^[ \t]*-\+?-?\[(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}\]-", text, re.MULTILINE) is not None


def parse(text: str) -> PciTree | None:
    """Return the tree that is drawn; None if the text holds none. Lines that are no part of it are passed over."""
    functions: dict[str, Function] = {}
    open_buses: list[tuple[int, str]] = []
    for line in text.splitlines():
        at = _after_lines(line, 0)
        open_buses = [(column, bus) for column, bus in open_buses if column < at]
        last = ""
        while at < len(line):
            if bus := _BUS.match(line, at):
                domain = bus[1] or (open_buses[-1][1].partition(":")[0] if open_buses else "0000")
                open_buses.append((at, f"{domain}:{bus[2]}"))
                if last:
                    functions[last] = Function(last, BRIDGE, "", "", (int(bus[2], 16), int(bus[3] or bus[2], 16)))
                at = bus.end()
            elif (device := _DEVICE.match(line, at)) and open_buses:
                last = f"{open_buses[-1][1]}:{device[1]}.{device[2]}"
                at = device.end()
                functions.setdefault(last, _device(last, line[at:]))
            else:
                break
            at = _after_lines(line, at)
    return PciTree(tuple(function for _, function in sorted(functions.items())), drawn=True) if functions else None


def _after_lines(line: str, at: int) -> int:
    while at < len(line) and line[at] in _LINES:
        at += 1
    return at


def _device(bdf: str, rest: str) -> Function:
    """Return a device by what stands behind it; its class is told by its title."""
    title = rest.strip() if rest.startswith("  ") else ""
    vendor = vendor_of(title)
    is_hca = vendor == MELLANOX and "ConnectX" in title
    kind = GPU_CLASS if vendor == NVIDIA and not _NO_GPU.search(title) else HCA_CLASS if is_hca else ""
    return Function(bdf, kind, title, vendor)
