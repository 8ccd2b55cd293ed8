"""``fabctl bench node``: what is inside a host."""

from __future__ import annotations

from typing import Any

import click

from fabctl.cli.common import output_options, write_report
from fabctl.cli.hardware import complete_nodes


@click.command()
@click.argument("node", metavar="NODE", shell_complete=complete_nodes)
@output_options()
def bench_node(node: str, output: dict[str, Any]) -> None:
    """Show what is inside a host: its matrix, HCAs of its GPUs, its links.

    NODE is a node type (fabctl help nodes) or a file: YAML, what nvidia-smi topo -m prints, or NCCL's topology XML.

    \b
    Examples:
      fabctl bench node dgx-a100
      (nvidia-smi -L; nvidia-smi topo -m) > node.txt; fabctl bench node node.txt
    """
    from fabctl.bench.node import view_node
    from fabctl.nodes.reading import read_node
    from fabctl.report.node import node_report

    loaded = read_node(node)
    inputs = [{"path": loaded.path, "sha256": loaded.sha256, "parser": loaded.parser}]
    write_report(node_report(view_node(loaded.node), node, inputs=inputs), output)
