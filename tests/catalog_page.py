"""docs/hardware.md's tables, made from the catalogue.

python tests/catalog_page.py --write
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from fabctl.model.catalog import gpus, hcas, switch_asics

PAGE = Path(__file__).resolve().parent.parent / "docs/hardware.md"
BEGIN, END = "<!-- begin: tests/catalog_page.py -->", "<!-- end -->"
PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "fp8")


def tables() -> str:
    """Return the tables in Markdown."""
    gpu_rows = (
        (
            gpu.name,
            f"{gpu.architecture}, {gpu.compute_capability / 10:.1f}",
            f"{gpu.memory_gb_s:g}",
            f"{gpu.nvlinks} x {gpu.nvlink_gb_s:g}" if gpu.nvlinks else "none",
            *(f"{gpu.tflops[name]:g}" if name in gpu.tflops else "" for name in PRECISIONS),
            gpu.source,
        )
        for gpu in gpus().values()
    )
    switch_rows = (
        (
            asic.name,
            _ids(asic.device_ids),
            f"{asic.ports} {asic.speed}",
            f"{asic.sharp}" if asic.sharp else "none",
            f"{asic.sharp_payload_bytes}" if asic.sharp_payload_bytes else "not published" if asic.sharp else "",
            asic.streaming_trees.replace("-", " ") or ("not published" if asic.sharp else ""),
            _yes(asic.adaptive_routing),
            "not published" if asic.pfrn is None else _yes(asic.pfrn),
            asic.source,
        )
        for asic in switch_asics()
    )
    hca_rows = (
        (hca.name, _ids(hca.device_ids), hca.speed, _yes(hca.streaming), _yes(hca.adaptive_routing), hca.source) for hca in hcas()
    )
    gpu_head = ("GPU", "architecture, compute capability", "memory GB/s", "NVLinks x GB/s", *PRECISIONS, "source")
    switch_head = (
        "ASIC",
        "device id",
        "ports",
        "SHARP",
        "bytes an operation",
        "streaming trees",
        "adaptive routing",
        "pFRN",
        "source",
    )
    hca_head = ("HCA", "device id", "speed", "streams", "adaptive routing", "source")
    return "\n\n".join(_table(*table) for table in ((gpu_head, gpu_rows), (switch_head, switch_rows), (hca_head, hca_rows)))


def page_tables() -> str:
    """Return the tables that the page holds."""
    return PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip()


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ids(device_ids: tuple[int, ...]) -> str:
    return ", ".join(f"{device_id:#06x}" for device_id in device_ids)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    made = tables()
    sys.stdout.write(made + "\n")
    if "--write" in sys.argv:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
