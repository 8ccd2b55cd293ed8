"""Options that say what is inside the hosts and which offloads to count on, as commands offer them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.routes import split_names
from fabctl.errors import InputError, UsageError
from fabctl.model.offloads import FIELDS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from fabctl.model.node_graph import NodeGraph
    from fabctl.model.offloads import Offloads
    from fabctl.model.results import ParseReport
    from fabctl.traffic.job import JobSpec


def node_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--node`` as ``node_name``."""
    return click.option(
        "--node",
        "node_name",
        metavar="NODE",
        shell_complete=complete_nodes,
        help="What the hosts are: a node type (fabctl help nodes), or a file: YAML, nvidia-smi topo -m, NCCL's XML.",
    )(command)


def offload_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--with`` and ``--without`` as one pair of tuples, ``switched``, for `chosen_offloads`."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        names = (kwargs.pop("with_names"), kwargs.pop("without_names"))
        options = ("--with", "--without")
        switched = tuple(split_names(text, option) if text else () for text, option in zip(names, options, strict=True))
        return command(*args, switched=switched, **kwargs)

    names = ", ".join(FIELDS)
    for option, variable, text in (
        ("--without", "without_names", "Offloads not to count on."),
        ("--with", "with_names", f"Offloads to count on as well: {names}."),
    ):
        wrapped = click.option(option, variable, metavar="A,B", shell_complete=complete_offloads, help=text)(wrapped)
    return wrapped


def complete_nodes(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete NODE: shipped types, else files."""
    from click.shell_completion import CompletionItem

    from fabctl.nodes.shipped import node_names

    names = [CompletionItem(name) for name in node_names() if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="file")]


def complete_offloads(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the last of a comma-separated list of offloads."""
    from click.shell_completion import CompletionItem

    done, comma, last = incomplete.rpartition(",")
    return [CompletionItem(done + comma + name) for name in FIELDS if name.startswith(last) and name not in done.split(",")]


def chosen_offloads(switched: tuple[tuple[str, ...], tuple[str, ...]], spec: JobSpec | None = None) -> Offloads:
    """Return the offloads that a command line counts on, beside NCCL's defaults and the job's ``pxn``.

    Raises
    ------
    UsageError
        For an unknown name, or one that is both on and off.
    """
    from fabctl.model import offloads

    return offloads.chosen_offloads(*switched, base=offloads.Offloads(pxn=spec is not None and spec.pxn))


def chosen_node(node_name: str | None, spec: JobSpec | None = None, report: ParseReport | None = None) -> NodeGraph | None:
    """Return what the hosts are: by ``--node``, else by the job's ``node``, else by the topology spec's ``node_type``.

    None if nothing says it, or the topology names a type that fabctl does not know from inside: it is never guessed.

    Raises
    ------
    UsageError
        If ``--node`` is neither a node type nor a file.
    InputError
        If a file does not hold a node, or the job's ``node`` is neither.
    """
    from fabctl.nodes.reading import load_node
    from fabctl.nodes.shipped import shipped_path

    named = _named_node(node_name, spec)
    if named:
        try:
            return load_node(named)
        except UsageError as error:
            if node_name or spec is None or spec.node is None:
                raise
            reason = f"'{spec.node.text}' is neither a node type nor a file"
            raise InputError(reason, where=spec.node.where, hint=error.hint) from error
    if report is not None and report.node_type and shipped_path(report.node_type):
        return load_node(report.node_type)
    return None


def node_inputs(node_name: str | None, spec: JobSpec | None = None) -> list[dict[str, Any]]:
    """Return the line of ``--node``, or of the job's ``node``, in the envelope's ``inputs`` if it is a file."""
    from fabctl.nodes.reading import read_node
    from fabctl.nodes.shipped import shipped_path

    named = _named_node(node_name, spec)
    if not named or shipped_path(named):
        return []
    loaded = read_node(named)
    return [{"path": loaded.path, "sha256": loaded.sha256, "parser": loaded.parser}]


def _named_node(node_name: str | None, spec: JobSpec | None) -> str:
    """Return the type or file of ``--node``, else of the job, from whose folder a file is looked for."""
    from fabctl.nodes.shipped import shipped_path

    if node_name or spec is None or spec.node is None:
        return node_name or ""
    name = spec.node.text
    return name if shipped_path(name) else str(Path(spec.path).parent / name)
