"""A job file with other hosts: all else in it stays, apart from comments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fabctl.errors import UsageError
from fabctl.traffic.job import JOBS, parse_jobs
from fabctl.yamlspec import load

if TYPE_CHECKING:
    from yaml import MappingNode

REPLACED = ("name", "hosts", "placement", "order")
TEXT = "tag:yaml.org,2002:str"


def with_hosts(text: str, path: str, hosts: Mapping[str, Sequence[str]]) -> str:
    """Return a job file's text with the hosts of its jobs named one by one, in rank order.

    Parameters
    ----------
    hosts : mapping
        Job name to hosts, one entry for each job of the file.

    Raises
    ------
    UsageError
        If the text is no job file (a Slurm record, a flow list or a trace also describe jobs).
    InputError
        If it is one, and wrong.
    """
    import yaml

    root = load(text, path)
    if root.find(JOBS) is None and root.find("hosts") is None:
        raise UsageError(f"-o job rewrites a job file, and {path} is none", hint="-o name prints the hosts in rank order")
    names = [spec.name for spec in parse_jobs(text, path)]
    jobs = root.find(JOBS)
    nodes = [root] if jobs is None else jobs.items()
    for name, node in zip(names, nodes, strict=True):
        _rewrite(node.yaml_node, name, hosts[name])
    return yaml.serialize(root.yaml_node, width=120)


def _rewrite(node: MappingNode, name: str, hosts: Sequence[str]) -> None:
    from yaml import ScalarNode, SequenceNode

    rest = [(key, value) for key, value in node.value if key.value not in REPLACED]
    named = SequenceNode("tag:yaml.org,2002:seq", [ScalarNode(TEXT, host) for host in hosts], flow_style=True)
    fresh = {"name": ScalarNode(TEXT, name), "hosts": named, "order": ScalarNode(TEXT, "as-given")}
    node.value = [*((ScalarNode(TEXT, key), value) for key, value in fresh.items()), *rest]
    node.flow_style = False
