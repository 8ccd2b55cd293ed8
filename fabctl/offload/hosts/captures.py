"""Texts captured on hosts, by host and by what they are.

A folder per host or files whose names begin with the host's; what a text is says its name (``lspci.txt``), a heading in it
(``==> lspci -vvv <==`` as ``head`` prints it, or a shell's prompt with the command), or the text itself.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fabctl.nodes import nvidia_smi
from fabctl.offload.hosts import lspci_tree
from fabctl.printable import printable

LSPCI, ACS, TOPO, GPUS, MODULES, PEERS = "lspci", "acs", "topo", "gpus", "modules", "peers"
CMDLINE, DMESG, IOMMU, DRIVER, PARAMS, KERNEL, OFED, HCAS = (
    "cmdline", "dmesg", "iommu", "driver", "params", "kernel", "ofed", "hcas",
)  # fmt: skip

COMMANDS = {
    LSPCI: "lspci -vvv",
    ACS: "setpci -v -s '*:*' ECAP_ACS+6.w",
    TOPO: "nvidia-smi topo -m",
    GPUS: "nvidia-smi -L",
    MODULES: "lsmod",
    PEERS: "ls /sys/kernel/mm/memory_peers",
    CMDLINE: "cat /proc/cmdline",
    IOMMU: "cat /sys/kernel/iommu_groups/*/type",
    DMESG: "dmesg",
    DRIVER: "cat /proc/driver/nvidia/version",
    PARAMS: "cat /proc/driver/nvidia/params",
    KERNEL: "uname -r",
    OFED: "ofed_info -s",
    HCAS: "ls -l /sys/class/infiniband",
}
"""What is asked of a host, and the command that answers."""

_WORDS = (
    (ACS, r"setpci|acs"),
    (LSPCI, r"lspci"),
    (TOPO, r"topo"),
    (GPUS, r"nvidia-smi\W*(-L|list)|gpus"),
    (PEERS, r"memory_peers"),
    (DRIVER, r"driver.nvidia.version|nvidia-version|modinfo nvidia\b(?!.peermem)"),
    (PARAMS, r"driver.nvidia.params|nvidia-params"),
    (MODULES, r"lsmod|proc.modules"),
    (IOMMU, r"iommu_groups|^iommu"),
    (CMDLINE, r"cmdline"),
    (DMESG, r"dmesg|journalctl"),
    (KERNEL, r"uname|kernel"),
    (OFED, r"ofed"),
    (HCAS, r"class.infiniband|infiniband"),
)
_NAMES = tuple((key, re.compile(words, re.IGNORECASE)) for key, words in _WORDS)
_CONTENTS = (
    (ACS, re.compile(r"\(ecap 000d @", re.MULTILINE)),
    (LSPCI, re.compile(r"^(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7] [0-9A-Z][^:]+: ", re.MULTILINE)),
    (GPUS, re.compile(r"^GPU \d+: .*\(UUID", re.MULTILINE)),
    (MODULES, re.compile(r"^Module\s+Size\s+Used by|^nvidia(?:_\w+)?\s+\d+\s+\d+", re.MULTILINE)),
    (DRIVER, re.compile(r"^NVRM version:", re.MULTILINE)),
    (PARAMS, re.compile(r"^RegistryDwords:", re.MULTILINE)),
    (CMDLINE, re.compile(r"^BOOT_IMAGE=", re.MULTILINE)),
    (DMESG, re.compile(r"^\[\s*\d+\.\d{6}\]", re.MULTILINE)),
    (OFED, re.compile(r"^(?:MLNX_OFED_LINUX|OFED-internal|DOCA)", re.MULTILINE)),
    (HCAS, re.compile(r"-> \S*/infiniband/\S+$", re.MULTILINE)),
)
_FAILED = re.compile(r"not found|Permission denied|not permitted|NVIDIA-SMI has failed|No devices were found")
_FEW_LINES = 3
_LONGEST_LINE = 4096
"""As long as a kernel's command line; no tool prints longer ones, and expressions take their time over what is no line."""
_LONGEST_PROMPT = 400
_MARKS = ("==> ", "# ", "$ ")
"""One of these is in every text that headings or prompts divide."""
_HEADING = re.compile(r"==> (.+?) <==\s*$")
_PROMPT = re.compile(r"(?:\[?[\w.-]+@[^\]#$]*\]?\s*|(?:ba|da|z)?sh-[\d.]+)?[#$] (?:sudo )?(\w.*)$")


@dataclass(frozen=True)
class Captures:
    """Texts by host and by what they are (a key of `COMMANDS`).

    Parameters
    ----------
    of_host : mapping of str to (mapping of str to str)
    strangers : tuple of str
        Folders and files with such texts that belong to no host of the fabric.
    unread : tuple of str
        Files of hosts of which it is not clear what they are.
    """

    of_host: Mapping[str, Mapping[str, str]]
    strangers: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def sort_captures(texts: Mapping[str, str], hosts: tuple[str, ...]) -> Captures:
    """Sort texts by host and kind.

    Parameters
    ----------
    texts : mapping of str to str
        By path within the folder of captures.
    hosts : tuple of str
        Of the fabric.
    """
    short = Counter(map(_short, hosts))
    names = {_short(name): name for name in hosts if short[_short(name)] == 1} | {name: name for name in hosts}
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    strangers: dict[str, None] = {}
    unread = []
    for path, text in texts.items():
        host, rest = _owner(path, names)
        parts = list(_parts(rest, _bounded(text)))
        if host is None:
            strangers |= {path.partition("/")[0]: None} if parts else {}
            continue
        if not parts:
            unread.append(path)
        for key, part in parts:
            before = found[host].get(key)
            found[host][key] = part if before is None else f"{before}\n{part}"
    return Captures(found, tuple(strangers), tuple(unread))


def kind_of(name: str) -> str:
    """Return what a file name or a command gives; empty if it does not say.

    Examples
    --------
    >>> kind_of("nvidia-smi-topo.txt"), kind_of("cat /proc/cmdline"), kind_of("notes.txt")
    ('topo', 'cmdline', '')
    """
    return next((key for key, words in _NAMES if words.search(name)), "")


def _owner(path: str, names: Mapping[str, str]) -> tuple[str | None, str]:
    """Return the host to which a file belongs, and the rest of its path, which says what it is."""
    folder, slash, rest = path.partition("/")
    folder = printable(folder)
    if slash:
        return names.get(folder) or names.get(_short(folder)), rest
    cut = len(path)
    while cut > 0:
        if path[:cut] in names:
            return names[path[:cut]], path[cut:].lstrip(".")
        cut = path.rfind(".", 0, cut)
    return None, path


def _parts(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield what a text holds: under headings, else as its name or itself says."""
    sections = list(_sections(text)) or [(name, text)]
    for title, body in sections:
        key = kind_of(title) or _by_content(body)
        if key == PEERS:
            body = "".join(f"{title}: {line}\n" for line in body.splitlines())
        if key and not _says_nothing(key, title, body):
            yield key, body


def _says_nothing(key: str, title: str, body: str) -> bool:
    """Return whether the command failed, or its output was searched for something else."""
    if key == MODULES and "grep" in title and "peer" not in title:
        return True
    lines = body.split("\n", _FEW_LINES)
    return len(lines) <= _FEW_LINES and any(_FAILED.search(line) for line in lines)


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a text that headings, or prompts with a command that is known, divide: title and body."""
    if not any(mark in text for mark in _MARKS):
        return
    title: str | None = None
    lines: list[str] = []
    for line in text.splitlines():
        heading, prompt = (_HEADING.match(line), _PROMPT.match(line)) if len(line) <= _LONGEST_PROMPT else (None, None)
        match = heading or (prompt if prompt and kind_of(prompt[1]) else None)
        if match is None:
            lines.append(line)
            continue
        if title is not None:
            yield title, "\n".join(lines)
        title, lines = match[1], []
    if title is not None:
        yield title, "\n".join(lines)


def _by_content(text: str) -> str:
    if nvidia_smi.recognises(text):
        return TOPO
    if lspci_tree.recognises(text):
        return LSPCI
    return next((key for key, form in _CONTENTS if form.search(text)), "")


def _bounded(text: str) -> str:
    """Return a text without the ends of lines that are longer than any tool prints."""
    if len(text) <= _LONGEST_LINE or max(map(len, text.splitlines())) <= _LONGEST_LINE:
        return text
    return "\n".join(line[:_LONGEST_LINE] for line in text.splitlines())


def _short(name: str) -> str:
    return name.partition(".")[0]
