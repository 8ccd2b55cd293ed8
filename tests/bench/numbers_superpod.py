"""The switch and cable counts of NVIDIA's SuperPOD reference architectures, and what the generator draws."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from published import Number

from fabctl.generate.spec import parse

RA = "NVIDIA, DGX SuperPOD Reference Architecture"


@dataclass(frozen=True)
class Row:
    """A row of a published table.

    Parameters
    ----------
    name : str
        System and scalable units.
    source : str
    spec : str
        The topology that draws it.
    published : tuple of int
        Leaves, spines (and cores), then cables below each of them.
    planes : int
        Equal planes of which `spec` draws one.
    links_per_cable : int
        Links that the table counts as one cable.
    """

    name: str
    source: str
    spec: str
    published: tuple[int, ...]
    planes: int = 1
    links_per_cable: int = 1

    @property
    def drawn(self) -> tuple[int, ...]:
        """The same counts of the fabric that is drawn."""
        switches, links = drawn(self.spec)
        return (
            *(self.planes * count for count in switches),
            *(self.planes * count // self.links_per_cable for count in links),
        )

    @property
    def text(self) -> str:
        """``32 leaves, 16 spines; 1,024 + 1,024 cables``."""
        levels = len(self.published) // 2
        names = zip(self.published[:levels], ("leaves", "spines", "cores"), strict=False)
        switches = ", ".join(f"{count} {name}" for count, name in names)
        return f"{switches}; {' + '.join(f'{count:,}' for count in self.published[levels:])} cables"


@cache
def drawn(spec: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the switches of each tier, and the cables below each."""
    fabric, _ = parse(spec, "superpod")
    tiers = fabric.tiers
    up = np.full(fabric.n_nodes, -1)
    up[: fabric.n_switches] = tiers
    higher = np.maximum(up[fabric.channel_src], up[fabric.channel_dst])
    return tuple(np.bincount(tiers).tolist()), tuple((np.bincount(higher) // 2).tolist())


def rail_optimised(*lines: str) -> str:
    return "\n".join(("family: rail-optimised", *lines, ""))


def rows() -> list[Row]:
    made = []
    h100 = f"{RA} with DGX H100 (RA-11333), table 4; the 4 cables of its UFM are not drawn"
    for units, counts in {1: (8, 4), 2: (16, 8), 3: (24, 16), 4: (32, 16)}.items():
        nodes = 32 * units - 1
        spec = rail_optimised(
            "node_type: dgx-h100", "nodes_per_unit: 32", f"units: {units}", f"remove: {{names: [node-{nodes + 1:04d}]}}"
        )
        made.append(Row(f"H100, {units} SU, {nodes} nodes", h100, spec, (*counts, 8 * nodes, 256 * units)))
    for units, counts in {
        2: (16, 8),
        4: (32, 16),
        8: (64, 32),
        16: (128, 128, 64),
        32: (256, 256, 128),
        64: (512, 512, 256),
    }.items():
        spec = rail_optimised("node_type: dgx-b200", "nodes_per_unit: 32", f"units: {units}")
        made.append(Row(f"B200, {units} SU", f"{RA} with DGX B200", spec, (*counts, *(256 * units,) * len(counts))))
    for units, counts in {1: (16, 8), 2: (32, 16), 4: (64, 32), 8: (128, 64), 16: (256, 128)}.items():
        spec = rail_optimised("rails: 8", "radix: 128", "speed: NDR", "nodes_per_unit: 64", f"units: {units}")
        source = f"{RA} with DGX B300, table 3: two planes of Spectrum-X Ethernet, two 400 Gb/s links in a cable; only its counts are drawn"
        made.append(Row(f"B300, {units} SU", source, spec, (*counts, 512 * units, 512 * units), planes=2, links_per_cable=2))
    for units, counts in {1: (8, 4), 2: (16, 8), 4: (32, 18), 8: (64, 36), 18: (144, 72)}.items():
        spec = rail_optimised("node_type: dgx-b300", "nodes_per_unit: 72", f"units: {units}")
        source = f"{RA} with DGX B300 and XDR, table 3"
        made.append(Row(f"B300 and XDR, {units} SU", source, spec, (*counts, 576 * units, 576 * units)))
    return made


ROWS = rows()


def _met(row: Row) -> float:
    return sum(published == drawn for published, drawn in zip(row.published, row.drawn, strict=True))


NUMBERS = [
    Number(
        what=f"DGX SuperPOD {row.name}: {row.text}",
        unit="counts",
        published=len(row.published),
        source=row.source,
        predicted=lambda row=row: _met(row),
        tolerance=0.0,
        reason="a count is right or wrong",
    )
    for row in ROWS
]
