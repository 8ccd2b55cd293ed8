"""A node type by its shipped name, or from a file whose format is found by content."""

from __future__ import annotations

from pathlib import Path

from fabctl.errors import InputError, UsageError
from fabctl.model.loading import decode
from fabctl.model.node_graph import NodeGraph
from fabctl.nodes import spec
from fabctl.nodes.shipped import ALIASES, node_names, shipped_path
from fabctl.yamlspec import suggestion


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
        return spec.parse(shipped.read_text(encoding="utf-8"), str(shipped), ALIASES.get(name, name))
    path = Path(name)
    if not path.exists():
        raise UsageError(f"'{name}' is neither a node type nor a file", hint=suggestion(name, node_names()))
    try:
        text = decode(path.read_bytes(), name)
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=name) from error
    return spec.parse(text, name, name)
