"""A node type by its shipped name, or from a file whose format is found by content."""

from __future__ import annotations

from fabctl.model.node_graph import NodeGraph


def load_node(name: str) -> NodeGraph:
    """Return a node graph: a shipped one by name, or that of a file.

    Raises
    ------
    UsageError
        For a name that is neither shipped nor a file, with the nearest.
    InputError
        For a file that does not hold a node.
    """
    raise NotImplementedError(name)
