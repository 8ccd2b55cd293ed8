"""`NodeView` to a report: the matrix, which HCA serves which GPU, what the host allows a ring, and all links."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fabctl.model.node_view import GpuView, NodeView
from fabctl.model.predictions import Limit
from fabctl.report.bench_words import KINDS
from fabctl.report.output import Column, Report, Table, rounded

GPUS = (
    Column("gpu", "GPU"),
    Column("hca", "HCA"),
    Column("path", "PATH"),
    Column("gb_s", "GB/s", right=True, digits=1),
    Column("gdr", "GPUDIRECT RDMA"),
    Column("pxn", "BY PXN TO"),
    Column("relays", "THROUGH", wide=True),
)
LIMITS = (
    Column("kind", "LIMIT"),
    Column("direct", "WITH GPUDIRECT RDMA", right=True, digits=1),
    Column("direct_at", "AT"),
    Column("staged", "WITHOUT", right=True, digits=1),
    Column("staged_at", "AT"),
)
LINKS = (
    Column("kind", "LINK"),
    Column("links", "LINKS", right=True),
    Column("gb_s", "EACH(GB/s)", right=True, digits=1),
    Column("latency_us", "CROSSING(us)", right=True, digits=3),
    Column("source", "SOURCE"),
)

SHOWN = 3
"""HCAs reached by PXN that a row names."""


def node_report(view: NodeView, typed: str, *, inputs: Sequence[Mapping[str, Any]] = ()) -> Report:
    """Return the report of what is inside a host; `typed` is what ``--node`` takes to mean it."""
    main = Table("", GPUS, [_gpu_row(gpu) for gpu in view.gpus])
    names = list(view.matrix)
    columns = (Column("device", ""), *(Column(name, name) for name in names))
    cells = [{"device": name, **view.matrix[name]} for name in names]
    used = {cell for row in view.matrix.values() for cell in row.values()}
    legend = [f"  {word:4} {meaning}" for word, meaning in view.legend.items() if any(_is(word, cell) for cell in used)]
    text: list[str | Table] = [_heading(view), Table("As nvidia-smi topo -m prints it", columns, cells), *legend]
    if view.gpus:
        text.append(Table("HCA that serves each GPU", GPUS, main.rows))
    if view.direct or view.staged:
        title = "Most that the host allows a ring all-reduce over several of them (busbw of large messages, GB/s)"
        text.append(Table(title, LIMITS, _limit_rows(view)))
    text.append(Table("Links, in each direction", LINKS, [_link_row(view, index) for index, _ in enumerate(view.links)]))
    if view.notes:
        text += ["\nNotes", *(f"  {note}" for note in view.notes)]
    text.append(f"\nNext: {_next_step(view, typed)}")
    return Report(kind="NodeView", data=_data(view), text=text, main=main, inputs=inputs)


def _next_step(view: NodeView, typed: str) -> str:
    """Return what to type next; a node of unknown GPUs predicts nothing."""
    if view.gpus and not view.gpu_model:
        return "on such a host: (nvidia-smi -L; nvidia-smi topo -m) > node.txt; fabctl bench node node.txt"
    return f"fabctl bench SOURCE --node {shlex.quote(typed)}"


def _heading(view: NodeView) -> str:
    gpus = f"{len(view.gpus)} {view.gpu_model or 'GPUs of unknown model'}" if view.gpus else "no GPU"
    hcas = f"{view.n_hcas} {view.hca_model or 'HCAs of unknown model'}" if view.n_hcas else "no HCA"
    sockets = f"{view.n_sockets} CPU{'s' if view.n_sockets > 1 else ''}"
    return f"{view.title}: {gpus}, {hcas}, {sockets}{f' ({view.cpu_vendor})' if view.cpu_vendor else ''}"


def _is(word: str, cell: str) -> bool:
    return cell == word or (word == "NV#" and cell.startswith("NV"))


def _gpu_row(gpu: GpuView) -> dict[str, Any]:
    ways = [way for way, can in (("send", gpu.send), ("receive", gpu.receive)) if can]
    return {
        "gpu": gpu.gpu,
        "hca": gpu.hca or "-",
        "path": gpu.path or "-",
        "gb_s": _known(gpu.gb_s),
        "gdr": f"{', '.join(ways) or 'no'}{f': {gpu.reason}' if gpu.reason and gpu.hca else ''}",
        "pxn": (list(gpu.relays) if len(gpu.relays) <= SHOWN else f"{len(gpu.relays)} other HCAs") or "-",
        "relays": [f"{hca} by {relay}" for hca, relay in gpu.relays.items()],
    }


def _limit_rows(view: NodeView) -> list[dict[str, Any]]:
    """Return a row for each kind of limit, in the order in which they bind with GPUDirect RDMA, then without."""
    direct, staged = ({limit.kind: limit for limit in limits} for limits in (view.direct, view.staged))
    rows = []
    for kind in dict.fromkeys([*direct, *staged]):
        row: dict[str, Any] = {"kind": KINDS[kind]}
        for column, limits in (("direct", direct), ("staged", staged)):
            limit = limits.get(kind)
            row |= {column: rounded(limit.algbw_gb_s) if limit else "-", f"{column}_at": limit.name if limit else "-"}
        rows.append(row)
    return rows


def _link_row(view: NodeView, index: int) -> dict[str, Any]:
    group = view.links[index]
    return asdict(group) | {"gb_s": _known(group.gb_s), "latency_us": _known(group.latency_us)}


def _known(value: float) -> Any:
    return rounded(value) if value else "unknown"


def _data(view: NodeView) -> dict[str, Any]:
    return {
        "node": view.name,
        "title": view.title,
        "cpu_vendor": view.cpu_vendor or None,
        "gpu_model": view.gpu_model or None,
        "hca_model": view.hca_model or None,
        "sockets": view.n_sockets,
        "hcas": view.n_hcas,
        "gpus": [
            asdict(gpu) | {"hca": gpu.hca or None, "path": gpu.path or None, "gb_s": rounded(gpu.gb_s) or None}
            for gpu in view.gpus
        ],
        "matrix": view.matrix,
        "links": [
            asdict(group) | {"gb_s": rounded(group.gb_s) or None, "latency_us": rounded(group.latency_us) or None}
            for group in view.links
        ],
        "ring_all_reduce": {"direct": _limits(view.direct), "staged": _limits(view.staged)},
        "notes": list(view.notes),
    }


def _limits(limits: Sequence[Limit]) -> list[dict[str, Any]]:
    return [{"kind": limit.kind, "name": limit.name, "busbw_gb_s": rounded(limit.algbw_gb_s)} for limit in limits]
