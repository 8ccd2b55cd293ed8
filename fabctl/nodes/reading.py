"""A node type by its shipped name, or from a file whose format is found by content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from fabctl.errors import InputError, UsageError
from fabctl.model.loading import decode
from fabctl.model.node_graph import NodeGraph
from fabctl.nodes import NODE_SOURCES
from fabctl.nodes.shipped import ALIASES, node_names, shipped_path
from fabctl.yamlspec import suggestion

HEAD_CHARS = 1 << 16
"""How much of a text the sources look at to recognise their format."""


@dataclass(frozen=True)
class LoadedNode:
    """A node graph with where it came from.

    Parameters
    ----------
    node : NodeGraph
    path : str
    parser : str
        Registered name of its format.
    sha256 : str
        Of the bytes read.
    """

    node: NodeGraph
    path: str
    parser: str
    sha256: str


def load_node(name: str) -> NodeGraph:
    """Return a node graph: a shipped one by name, or that of a file.

    Raises
    ------
    UsageError
        For a name that is neither shipped nor a file, with the nearest.
    InputError
        For a file that does not hold a node.
    """
    return read_node(name).node


def read_node(name: str) -> LoadedNode:
    """Return a node graph as `load_node` does, with where it came from."""
    shipped = shipped_path(name)
    path = shipped or Path(name)
    if not path.exists():
        raise UsageError(f"'{name}' is neither a node type nor a file", hint=suggestion(name, node_names()))
    data = _bytes(path)
    text = decode(data, str(path))
    parser = _format(text, str(path))
    node: NodeGraph = NODE_SOURCES.load(parser).parse(text, str(path), shipped.stem if shipped else path.name)
    if shipped and name in ALIASES:
        note = f"{name} is taken for {shipped.stem}, of which there are others: fabctl help nodes"
        node = replace(node, notes=(note, *node.notes))
    return LoadedNode(node, str(path), parser, hashlib.sha256(data).hexdigest())


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except IsADirectoryError as error:
        raise InputError("this is a directory, not a file", where=str(path)) from error
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=str(path)) from error
    if not data.strip():
        raise InputError("the file is empty", where=str(path), hint="did the tool that wrote it fail?")
    return data


def _format(text: str, path: str) -> str:
    for parser in NODE_SOURCES.names():
        if NODE_SOURCES.load(parser).recognises(text[:HEAD_CHARS]):
            return parser
    known = "; ".join(entry.summary for entry in NODE_SOURCES.entries.values())
    raise InputError(f"this holds no node: the text begins with {text.strip()[:40]!r}", where=path, hint=f"known: {known}")
