"""What ``nvidia-smi topo -m`` prints: a matrix of GPUs and HCAs, turned back into switches, host bridges and sockets.

The matrix says how far devices are apart, not through what: devices within PIX of each other get one PCIe switch, within PXB
switches under a common one, within PHB a host bridge, within NODE a CPU. It names no GPU; the lines of ``nvidia-smi -L``
before it do::

    nvidia-smi -L > node.txt; nvidia-smi topo -m >> node.txt
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import combinations, product

from fabctl.errors import InputError
from fabctl.model.catalog import Gpu
from fabctl.model.node_graph import CPU, GPU, HCA, NVSWITCH, ON_DIE, PCIE, PCIE_SWITCH, ROOT, SMP, NodeGraph
from fabctl.nodes.draft import Draft, gpu_in
from fabctl.nodes.figures import MOST_NVLINKS, NodeSource, gpu_pcie_gb_s
from fabctl.nodes.matrix import LEGEND, matrix
from fabctl.yamlspec import suggestion

PIX, PXB, PHB, NODE, SYS = range(5)
_LEVELS = {"PIX": PIX, "PXB": PXB, "PHB": PHB, "NODE": NODE, "SYS": SYS, "SOC": SYS}
"""Words of the matrix, nearest first; drivers before 2018 wrote SOC for SYS."""
_NVLINKS = re.compile(r"NV([1-9]\d?)")
_HEADER = re.compile(r"^[ \t]*GPU0\s+(?!X\s)\S", re.MULTILINE)
_LISTED = re.compile(r"\s*GPU [\d,]+: (.+?)(?: \(UUID|$)")
_LEGEND_NIC = re.compile(r"\s*(NIC\d+): (\S+)\s*$")
_SHOWN = 3


@dataclass
class _Matrix:
    """Devices with their places in the text, and the words between them."""

    names: list[str]
    line: int
    cells: dict[tuple[str, str], str] = field(default_factory=dict)
    affinity: dict[str, str] = field(default_factory=dict)


def recognises(head: str) -> bool:
    """Return whether a text has the header line of the matrix."""
    return bool(_HEADER.search(head))


def parse(text: str, path: str, name: str) -> NodeGraph:
    """Return the node of a matrix.

    Raises
    ------
    InputError
        With ``file:line``: for unknown words, missing rows or cells, and cells that contradict each other.
    """
    lines = text.splitlines()
    table = _read(lines, path)
    model, gpu_note = _gpu_model(lines)
    aliases = {match.group(1): match.group(2) for match in map(_LEGEND_NIC.match, lines) if match}
    draft = Draft()
    for device in table.names:
        kind = GPU if device.startswith("GPU") else HCA
        draft.add(aliases.get(device, device), kind, model.name if model and kind == GPU else "")
    draft.notes += gpu_note
    gb_s = gpu_pcie_gb_s(model.architecture) if model else 0.0
    source = f"GB/s: assumed: x16 of the generation that a {model.name} has" if model else "GB/s: unknown, as the GPU is"
    _place(draft, table, aliases, gb_s, source)
    _join_gpus(draft, table, model.compute_capability if model else 0)
    node = draft.finish(name, f"the host of {path}")
    return _checked(node, table, aliases)


SOURCE = NodeSource(recognises, parse)


# ---- the text ------------------------------------------------------------------------------------------------------


def _read(lines: list[str], path: str) -> _Matrix:
    start = next((number for number, line in enumerate(lines) if _HEADER.match(line)), None)
    if start is None:
        raise InputError("no line that begins with GPU0 heads a matrix", where=path, hint="nvidia-smi topo -m prints one")
    header = lines[start].split()
    names = header[: header.index("CPU")] if "CPU" in header else header
    table = _Matrix(names, start + 1)
    rows: dict[str, int] = {}
    for number, line in enumerate(lines[start + 1 :], start + 2):
        words = line.split()
        if len(rows) == len(names) or not words or words[0].startswith("Legend"):
            break
        where = f"{path}:{number}"
        if words[0] not in names:
            raise InputError(f"'{words[0]}' is a row without a column", where=where, hint=suggestion(words[0], names))
        if words[0] in rows:
            raise InputError(f"'{words[0]}' has two rows", where=where, hint=f"the first is at line {rows[words[0]]}")
        rows[words[0]] = number
        _read_row(table, words, where)
    missing = [name for name in names if name not in rows]
    if missing:
        raise InputError(
            f"the matrix is not square: {len(names)} columns, {len(rows)} rows, none for '{missing[0]}'",
            where=f"{path}:{table.line}",
            hint="was it cut? nvidia-smi topo -m prints a row for each device",
        )
    _check_symmetry(table, rows, path)
    return table


def _read_row(table: _Matrix, words: list[str], where: str) -> None:
    row, cells = words[0], words[1 : len(table.names) + 1]
    if len(cells) < len(table.names):
        raise InputError(f"row '{row}' has {len(cells)} cells, not {len(table.names)}", where=where, hint="was it cut?")
    for column, cell in zip(table.names, cells, strict=True):
        if (cell == "X") != (row == column) or (cell != "X" and cell not in _LEVELS and not _NVLINKS.fullmatch(cell)):
            expected = "X" if row == column else ", ".join(LEGEND)
            raise InputError(f"'{cell}' between {row} and {column}", where=where, hint=f"expected: {expected}")
        table.cells[row, column] = cell
    if len(words) > len(table.names) + 1:
        table.affinity[row] = words[len(table.names) + 1]


def _check_symmetry(table: _Matrix, rows: dict[str, int], path: str) -> None:
    for a, b in combinations(table.names, 2):
        if table.cells[a, b] != table.cells[b, a]:
            raise InputError(
                f"{a} and {b} are {table.cells[a, b]} apart in row {a}, and {table.cells[b, a]} in row {b}",
                where=f"{path}:{max(rows[a], rows[b])}",
            )


def _gpu_model(lines: Iterable[str]) -> tuple[Gpu | None, list[str]]:
    """Return the GPUs' model out of ``nvidia-smi -L``, and what to say about it."""
    titles = [match.group(1) for match in map(_LISTED.match, lines) if match]
    if not titles:
        return None, ["the matrix does not say which GPUs these are: put what nvidia-smi -L prints before it"]
    model = gpu_in(titles[0])
    return model, [] if model else [f"fabctl knows no '{titles[0]}': docs/hardware.md has those that it knows"]


# ---- the graph -----------------------------------------------------------------------------------------------------


def _groups(names: list[str], table: _Matrix, level: int) -> list[list[str]]:
    """Return the devices in groups that words up to `level` join."""
    groups = [[name] for name in names]
    for a, b in combinations(names, 2):
        if _LEVELS.get(table.cells[a, b], SYS + 1) <= level:
            groups = _merged(groups, a, b)
    return groups


def _sockets(table: _Matrix) -> list[list[str]]:
    """Return the devices by CPU: within NODE or, where NVLink alone is between two groups, with equal CPU affinity."""
    groups = _groups(table.names, table, NODE)
    for a, b in combinations(table.affinity, 2):
        if table.affinity[a] == table.affinity[b]:
            own, other = (next(group for group in groups if name in group) for name in (a, b))
            if all(_NVLINKS.fullmatch(table.cells[pair]) for pair in product(own, other)):
                groups = _merged(groups, a, b)
    return groups


def _merged(groups: list[list[str]], a: str, b: str) -> list[list[str]]:
    """Return groups with that of `b` added to that of `a`."""
    own, other = (next(group for group in groups if name in group) for name in (a, b))
    return groups if own is other else [group + other if group is own else group for group in groups if group is not other]


def _place(draft: Draft, table: _Matrix, aliases: dict[str, str], gb_s: float, source: str) -> None:
    """Hang all devices under switches, host bridges and CPUs."""
    cpus: list[str] = []
    for in_cpu in _sockets(table):
        cpus.append(draft.add(f"CPU{len(cpus)}", CPU))
        for in_bridge in _groups(in_cpu, table, PHB):
            root = draft.add(f"ROOT{draft.count(ROOT)}", ROOT)
            draft.join(root, cpus[-1], ON_DIE, 0.0, "GB/s: unknown")
            for in_tree in _groups(in_bridge, table, PXB):
                groups = [[aliases.get(name, name) for name in group] for group in _groups(in_tree, table, PIX)]
                _hang(draft, root, groups, gb_s, source)
    for a, b in combinations(cpus, 2):
        draft.join(a, b, SMP, 0.0, "GB/s: unknown")


def _hang(draft: Draft, root: str, groups: list[list[str]], gb_s: float, source: str) -> None:
    """Hang the devices of one tree of PCIe switches under a host bridge: each group under a switch, several under one more."""
    if len(groups) == 1 and len(groups[0]) == 1:
        draft.join(groups[0][0], root, PCIE, gb_s, source)
        return
    top = root
    if len(groups) > 1:
        top = draft.add(f"PCI{draft.count(PCIE_SWITCH)}", PCIE_SWITCH)
        draft.join(top, root, PCIE, gb_s, source)
    for group in groups:
        switch = draft.add(f"PCI{draft.count(PCIE_SWITCH)}", PCIE_SWITCH)
        draft.join(switch, top, PCIE, gb_s, source)
        for device in group:
            draft.join(device, switch, PCIE, gb_s, source)


def _join_gpus(draft: Draft, table: _Matrix, compute_capability: int) -> None:
    """Join GPUs by NVLink: through an NVSwitch where each has more to the others together than a GPU has NVLinks."""
    gpus = [name for name in table.names if name.startswith("GPU")]
    cells = ((pair, _NVLINKS.fullmatch(table.cells[pair])) for pair in combinations(gpus, 2))
    counts = {pair: int(match.group(1)) for pair, match in cells if match}
    for gpu in gpus:
        own = [count for pair, count in counts.items() if gpu in pair]
        if sum(own) > MOST_NVLINKS:
            draft.nvlink(gpu, draft.add("NVSWITCH", NVSWITCH), max(own), compute_capability)
    for (a, b), count in counts.items():
        if "NVSWITCH" not in draft.devices:
            draft.nvlink(a, b, count, compute_capability)


def _checked(node: NodeGraph, table: _Matrix, aliases: dict[str, str]) -> NodeGraph:
    """Return the node, with a note where its matrix is not the one that was read: that one contradicts itself."""
    own = matrix(node)
    wrong = [
        f"{a}-{b} {table.cells[a, b]}"
        for a, b in combinations(table.names, 2)
        if own[aliases.get(a, a)][aliases.get(b, b)] != table.cells[a, b].replace("SOC", "SYS")
    ]
    if not wrong:
        return node
    more = ", ..." if len(wrong) > _SHOWN else ""
    note = f"the matrix contradicts itself, and the shorter ways were taken; it has {', '.join(wrong[:_SHOWN])}{more}"
    return replace(node, notes=(*node.notes, note))
