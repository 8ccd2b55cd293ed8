"""A node type by its shipped name, or from a file whose format is found by content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fabctl.errors import InputError, UsageError
from fabctl.model.loading import decode
from fabctl.model.node_graph import NodeGraph
from fabctl.nodes import NODE_SOURCES, spec
from fabctl.nodes.shipped import ALIASES, node_names, shipped_path
from fabctl.yamlspec import suggestion

HEAD_CHARS = 1 << 16
"""How much of a text the sources look at to recognise their format."""


def load_node(name: str) -> NodeGraph:
    """Return a node graph: a shipped one by name, or that of a file.

    Raises
    ------
    UsageError
        For a name that is neither shipped nor a file, with the nearest.
    InputError
        For a file that does not hold a node.
    """
    shipped = shipped_path(name)
    if shipped is not None:
        node = spec.parse(shipped.read_text(encoding="utf-8"), str(shipped), shipped.stem)
        notes = (f"{name} is taken for {shipped.stem}, of which there are others: fabctl help nodes",) if name in ALIASES else ()
        return replace(node, notes=notes + node.notes)
    path = Path(name)
    if not path.exists():
        raise UsageError(f"'{name}' is neither a node type nor a file", hint=suggestion(name, node_names()))
    text = _text(path, name)
    for source in map(NODE_SOURCES.load, NODE_SOURCES.names()):
        if source.recognises(text[:HEAD_CHARS]):
            found: NodeGraph = source.parse(text, name, name)
            return found
    known = "; ".join(entry.summary for entry in NODE_SOURCES.entries.values())
    raise InputError(f"this holds no node: the text begins with {text.strip()[:40]!r}", where=name, hint=f"known: {known}")


def _text(path: Path, name: str) -> str:
    try:
        data = path.read_bytes()
    except IsADirectoryError as error:
        raise InputError("this is a directory, not a file", where=name) from error
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=name) from error
    if not data.strip():
        raise InputError("the file is empty", where=name, hint="did the tool that wrote it fail?")
    return decode(data, name)
