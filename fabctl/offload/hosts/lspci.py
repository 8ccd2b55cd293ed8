"""What ``lspci -vvv`` prints: the PCIe tree of a host, and where Access Control Services turn peer traffic upwards.

A bridge forwards the buses from its secondary to its subordinate one, so the tree follows from the devices' own lines. ACS is in
``ACSCtl`` (root alone sees it), and in what ``setpci -v -s '*:*' ECAP_ACS+6.w`` prints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property

ACS_BITS = ("SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl", "DirectTrans")
"""Bits of the ACS control register, lowest first (PCI Express Base Specification, 7.7.11.3)."""
REDIRECTS = 0b11100
"""Bits that send peer traffic up to the root: request redirect, completion redirect, upstream forwarding."""

NVIDIA = "NVIDIA"
MELLANOX = "Mellanox"
_VENDORS = {"10de": NVIDIA, "15b3": MELLANOX}
GPU_CLASS = "3d controller"
HCA_CLASS = "network controller"
_GPU_CLASSES = (GPU_CLASS, "vga compatible controller", "display controller")
_HCA_CLASSES = (HCA_CLASS, "infiniband controller", "ethernet controller")
INFINIBAND = "infiniband controller"

_BDF = r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])"
_FUNCTION = re.compile(_BDF + r" ([0-9A-Z][^:]{2,60}): (.*)")
_SETPCI = re.compile(_BDF + r" \(ecap 000d @[0-9a-f]+\) @[0-9a-f]+ (?:= )?([0-9a-f]{4})")
_BUSES = re.compile(r"\s+Bus: primary=([0-9a-f]{2}), secondary=([0-9a-f]{2}), subordinate=([0-9a-f]{2})")
_ACS = re.compile(r"\s+ACSCtl:\s*((?:[A-Za-z]+[+-]\s*)+)")
_IDS = re.compile(r"\[([0-9a-f]{4}):([0-9a-f]{4})\]")
_NARROW = re.compile(r"\s+LnkSta:.*Width x\d+ \(downgraded\)")
_DENIED = "Capabilities: <access denied>"


@dataclass(frozen=True)
class Function:
    """A PCIe function.

    Parameters
    ----------
    bdf : str
        Domain, bus, device and function: ``0000:16:01.0``.
    kind : str
        Its class, in small letters: ``pci bridge``.
    title : str
        Vendor and model.
    vendor : str
        `NVIDIA`, `MELLANOX`, or empty.
    buses : (int, int), optional
        A bridge's secondary and subordinate bus.
    acs : int, optional
        Its ACS control register; None: it has none, or nobody could read it.
    denied : bool
        Whether its capabilities were kept from whoever ran ``lspci``.
    narrow : bool
        Whether the link of a GPU or an HCA has fewer lanes than it could have.
    """

    bdf: str
    kind: str
    title: str
    vendor: str
    buses: tuple[int, int] | None = None
    acs: int | None = None
    denied: bool = False
    narrow: bool = False

    @property
    def bus(self) -> tuple[str, int]:
        """Its domain and bus."""
        domain, bus, _ = self.bdf.split(":")
        return domain, int(bus, 16)

    @property
    def is_gpu(self) -> bool:
        """Whether it is an NVIDIA GPU."""
        return self.vendor == NVIDIA and self.kind in _GPU_CLASSES

    @property
    def is_hca(self) -> bool:
        """Whether it is the physical function of an NVIDIA (Mellanox) HCA."""
        return self.vendor == MELLANOX and self.kind in _HCA_CLASSES and "Virtual Function" not in self.title

    @property
    def redirects(self) -> bool:
        """Whether ACS sends peer traffic that enters it up to the root."""
        return self.acs is not None and bool(self.acs & REDIRECTS)


@dataclass(frozen=True)
class Between:
    """The PCIe way between two devices.

    Parameters
    ----------
    bridges : tuple of Function
        Ports on it, from the first device up and down to the second, without the one under which both hang.
    root : bool
        Whether it leads through the root complex: nothing below joins the two.
    """

    bridges: tuple[Function, ...]
    root: bool

    @property
    def switches(self) -> int:
        """How many PCIe switches it crosses, if it does not lead through the root."""
        return max(len(self.bridges) // 2, 1)


@dataclass(frozen=True)
class PciTree:
    """The PCIe functions of a host.

    Parameters
    ----------
    functions : tuple of Function
        By address.
    drawn : bool
        Whether it is from ``lspci -tv``, which shows no ACS.
    """

    functions: tuple[Function, ...]
    drawn: bool = False

    @property
    def gpus(self) -> tuple[Function, ...]:
        """Its NVIDIA GPUs."""
        return tuple(function for function in self.functions if function.is_gpu)

    @property
    def hcas(self) -> tuple[Function, ...]:
        """Its HCAs: those that are InfiniBand controllers if any is."""
        hcas = tuple(function for function in self.functions if function.is_hca)
        return tuple(hca for hca in hcas if hca.kind == INFINIBAND) or hcas

    @property
    def denied(self) -> bool:
        """Whether ``lspci`` ran without the right to see ACS."""
        return any(function.denied for function in self.functions)

    @cached_property
    def _by_bdf(self) -> dict[str, Function]:
        return {function.bdf: function for function in self.functions}

    @cached_property
    def _above(self) -> dict[tuple[str, int], Function]:
        """The bridge above each bus that one names as its secondary."""
        return {(bridge.bus[0], bridge.buses[0]): bridge for bridge in self.functions if bridge.buses}

    def at(self, bdf: str) -> Function | None:
        """Return the function at an address; None if there is none."""
        return self._by_bdf.get(bdf)

    def chain(self, function: Function) -> tuple[Function, ...]:
        """Return the bridges above a function, nearest first."""
        found: list[Function] = []
        above = self._above.get(function.bus)
        while above is not None and above not in found:
            found.append(above)
            above = self._above.get(above.bus)
        return tuple(found)

    def between(self, a: Function, b: Function) -> Between:
        """Return the way between two functions."""
        up, down = self.chain(a), self.chain(b)
        joint = next((bridge for bridge in up if bridge in down), None)
        if joint is None:
            return Between((*up, *reversed(down)), root=True)
        return Between((*up[: up.index(joint)], *reversed(down[: down.index(joint)])), root=False)

    def nearest(self, gpu: Function, hcas: tuple[Function, ...]) -> tuple[tuple[Function, Between], ...]:
        """Return the HCAs that are as near to a GPU as the nearest, each with the way there."""
        ways = [(hca, self.between(gpu, hca)) for hca in hcas]
        distances = [(way.root, len(way.bridges)) for _, way in ways]
        return tuple(pair for pair, distance in zip(ways, distances, strict=True) if distance == min(distances))


def parse(text: str) -> PciTree | None:
    """Return the tree of what ``lspci -vvv`` printed; None if the text holds no PCIe function.

    Lines that are not understood are passed over: lspci prints a hundred for each function, and new ones with each release.
    """
    functions: dict[str, Function] = {}
    words: dict[str, int] = {}
    last = ""
    for line in text.splitlines():
        if line[:1].isspace():
            if last and ("Bus: " in line or "ACSCtl" in line or "LnkSta:" in line or _DENIED in line):
                functions[last] = _detailed(functions[last], line)
        elif match := _SETPCI.match(line):
            words[_bdf(match)] = int(match[5], 16)
        else:
            match = _FUNCTION.match(line)
            last = _bdf(match) if match else ""
            if match and last not in functions:
                functions[last] = _function(last, match[5], match[6])
    for bdf, word in words.items():
        if bdf in functions:
            functions[bdf] = replace(functions[bdf], acs=word, denied=False)
    return PciTree(tuple(function for _, function in sorted(functions.items()))) if functions else None


def acs_word(flags: str) -> int:
    """Return the register of what lspci prints of it.

    Examples
    --------
    >>> hex(acs_word("SrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-"))
    '0x1d'
    """
    return sum(1 << bit for bit, name in enumerate(ACS_BITS) if f"{name}+" in flags.split())


def vendor_of(title: str) -> str:
    """Return whose a device is, by the ids or the name in its title; empty for others than NVIDIA and Mellanox."""
    ids = _IDS.search(title)
    return (_VENDORS.get(ids[1], "") if ids else "") or next((name for name in (NVIDIA, MELLANOX) if title.startswith(name)), "")


def _function(bdf: str, kind: str, title: str) -> Function:
    return Function(bdf, re.sub(r" \[[0-9a-f]{4}\]$", "", kind).lower(), title, vendor_of(title))


def _detailed(function: Function, line: str) -> Function:
    if match := _BUSES.match(line):
        return replace(function, buses=(int(match[2], 16), int(match[3], 16)))
    if match := _ACS.match(line):
        return replace(function, acs=acs_word(match[1]))
    if _NARROW.match(line):
        return replace(function, narrow=function.is_gpu or function.is_hca)
    return replace(function, denied=True) if line.strip() == _DENIED else function


def _bdf(match: re.Match[str]) -> str:
    return f"{match[1] or '0000'}:{match[2]}:{match[3]}.{match[4]}"
