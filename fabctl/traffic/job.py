"""``job.yaml``: which hosts, how many ranks, and what they send: collectives, a pattern, or the step of a training.

::

    name: pretrain               # default: the file's name
    hosts: luna-[001-016]        # a node set, `all` (all complete compute hosts), a list of such, or a number of hosts
    # placement: packed          # of a number of hosts: packed, spread, random:SEED, rail, given; default: packed
    ranks_per_host: 8            # or gpus_per_host; default: one rank per HCA used
    rails: [0, 1, 2, 3]          # default: every rail that all hosts have
    # node: dgx-a100             # what is inside the hosts: a node type, or a file from the job file's folder (docs/nodes.md)
    order: as-given              # rank order of the hosts: as-given, sorted, random, topology (leaf by leaf)
    seed: 1                      # of the random order and the random patterns
    collective: all_reduce       # one, a list, or `all`; or instead a pattern:
    # pattern: shift             # ring, shift, alltoall, bisect, permutation
    # shift: 4                   # distance of the shift, default 1
    # algorithm: tree            # of the collectives; default: ring, and pairwise for alltoall
    # channels: 16               # of rings and trees (NCCL_MIN_NCHANNELS), channel c on rail c mod k; default: one per rail
    # cross_nic: 1               # whether a ring may leave a host by another rail (NCCL_CROSS_NIC): 0, 1, 2; default: 0
    size: 256M                   # or sizes: [64K, 1M, 1G]; default: 8 bytes to 16 GiB
    pxn: true                    # all-to-all goes by NVLink to the destination's rail first (NCCL's PXN); default: false
    # model: llama3-70b          # or instead a training: see below
    # trace: run-7/              # or instead Chakra traces: a folder or a file name with *, from the job file's folder

Several jobs stand in one file under ``jobs:``, a list of such mappings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from fabctl.errors import InputError, UsageError
from fabctl.traffic import PATTERNS
from fabctl.traffic.collectives import ALGORITHMS, COLLECTIVES
from fabctl.traffic.explicit import Operation, Transfer
from fabctl.traffic.training_spec import KEYS as TRAINING_KEYS
from fabctl.traffic.training_spec import TrainingSpec, parse_training
from fabctl.units import parse_size
from fabctl.yamlspec import Node, load, suggestion

ORDERS = ("as-given", "sorted", "random", "topology")
PLACEMENTS = ("packed", "spread", "random", "rail", "given")
SENDS = ("collective", "pattern", "shift", "algorithm", "channels", "cross_nic", "size", "sizes", "pxn")
KEYS = (
    "name",
    "hosts",
    "placement",
    "ranks_per_host",
    "gpus_per_host",
    "rails",
    "node",
    "order",
    "seed",
    "trace",
    *SENDS,
    *TRAINING_KEYS,
)
JOBS = "jobs"
ALL = "all"
LARGEST_BYTES = (1 << 63) - 1
MOST_HOSTS = 1 << 16
MOST_CHANNELS = 64
"""NCCL's MAXCHANNELS (2.30.7, src/include/device.h)."""


@dataclass(frozen=True)
class Placed:
    """A value of a job file with its place, for the messages of those who check it against a fabric."""

    text: str
    where: str


@dataclass(frozen=True)
class JobSpec:
    """A job as its file describes it, before it meets a fabric.

    Parameters
    ----------
    path : str
        File name, for messages; empty for the default job.
    name : str
    hosts : tuple of Placed
        Names, node sets or ``all``; the number itself where `count` is set.
    ranks_per_host : int, optional
    ranks_where : str
        Place of ``ranks_per_host``.
    rails : tuple of int, optional
    rails_where : str
        Place of ``rails``.
    order : str
        One of `ORDERS`.
    seed : int
    collectives : tuple of str
        Registered names; empty if a pattern is given.
    pattern : str
        Registered name, or empty.
    shift : int
        Distance of the pattern ``shift``.
    sizes : tuple of int
        Bytes; empty if the file names none.
    pxn : bool
    transfers : tuple of Transfer
        Sent all at once, in place of collectives.
    operations : tuple of Operation
        Run one after the other, in place of collectives.
    trace : Placed, optional
        Folder or pattern of traces, in place of collectives; the reader puts what they hold into `operations`.
    n_ranks : int
        Ranks of a trace, which names no hosts: they take the first hosts that hold them. 0: all ranks of all hosts.
    notes : tuple of str
        What the reader of the file decided, worth printing.
    count : int
        Hosts to choose; 0 where they are named.
    placement : str
        One of `PLACEMENTS`: how a number of hosts is chosen.
    placement_seed : int
        Of the random placement.
    placement_where : str
        Place of ``placement``.
    algorithm : str
        Registered name, or empty for the default of each collective.
    channels, cross_nic : int
        NCCL's, of rings and trees (`fabctl.traffic.shape.Shape`); 0 channels: one per rail.
    training : TrainingSpec, optional
        In place of collectives.
    node : Placed, optional
        What is inside the hosts: the name of a node type, or a file from the job file's folder.
    """

    path: str = ""
    name: str = "job"
    hosts: tuple[Placed, ...] = (Placed(ALL, ""),)
    ranks_per_host: int | None = None
    ranks_where: str = ""
    rails: tuple[int, ...] | None = None
    rails_where: str = ""
    order: str = "as-given"
    seed: int = 1
    collectives: tuple[str, ...] = tuple(COLLECTIVES.names())
    pattern: str = ""
    shift: int = 1
    sizes: tuple[int, ...] = ()
    pxn: bool = False
    transfers: tuple[Transfer, ...] = ()
    operations: tuple[Operation, ...] = ()
    trace: Placed | None = None
    n_ranks: int = 0
    notes: tuple[str, ...] = ()
    count: int = 0
    placement: str = "given"
    placement_seed: int = 1
    placement_where: str = ""
    algorithm: str = ""
    channels: int = 0
    cross_nic: int = 0
    training: TrainingSpec | None = None
    node: Placed | None = None

    @property
    def tuning(self) -> str:
        """What the job asks for in place of NCCL's defaults, as its file says it; empty for nothing."""
        asked = {"algorithm": self.algorithm, "channels": self.channels, "cross_nic": self.cross_nic}
        return ", ".join(f"{key}: {value}" for key, value in asked.items() if value)


def parse_job(text: str, path: str) -> JobSpec:
    """Read a file of one job.

    Raises
    ------
    InputError
        As `parse_jobs` does, and if the file holds several jobs.
    """
    specs = parse_jobs(text, path)
    if len(specs) > 1:
        raise InputError(f"this file holds {len(specs)} jobs, and one is wanted", where=path, hint="put each into its own file")
    return specs[0]


def parse_jobs(text: str, path: str) -> tuple[JobSpec, ...]:
    """Read a job file.

    Raises
    ------
    InputError
        With ``file:line:column``, and the nearest right word for a typo.
    """
    root = load(text, path)
    stem = PurePath(path).stem if path not in ("", "-") else "job"
    if root.find(JOBS) is None:
        return (read_job(root, stem),)
    nodes = root.mapping((JOBS,))[JOBS].items()
    if not nodes:
        raise root.error("'jobs' is an empty list")
    specs: dict[str, JobSpec] = {}
    for number, node in enumerate(nodes, 1):
        spec = read_job(node, f"{stem}-{number}")
        if spec.name in specs:
            raise (node.find("name") or node).error(f"two jobs are called '{spec.name}'")
        specs[spec.name] = spec
    return tuple(specs.values())


def read_job(node: Node, name: str) -> JobSpec:
    """Read one job, of a job file or of another file that holds one; `name` is what it is called if it does not say.

    Raises
    ------
    InputError
        As `parse_jobs` does.
    """
    values = node.mapping(KEYS, required=("hosts",))
    _exclude(values, "collective", "pattern")
    _exclude(values, "size", "sizes")
    _exclude(values, "ranks_per_host", "gpus_per_host")
    for key in ("algorithm", "channels", "cross_nic"):
        _exclude(values, key, "pattern")
    training = _training(values)
    trace = values.get("trace")
    for key in (*SENDS, "model") if trace else ():
        _exclude(values, "trace", key)
    ranks, rails, pattern = values.get("ranks_per_host", values.get("gpus_per_host")), values.get("rails"), values.get("pattern")
    if "shift" in values and (pattern is None or pattern.text() != "shift"):
        raise values["shift"].error("'shift' belongs to the pattern of that name", hint="pattern: shift")
    collectives = () if pattern or training or trace else _collectives(values.get("collective"))
    count = _count(values["hosts"])
    placement, seed = _placement(values.get("placement"), count)
    return JobSpec(
        path=node.path,
        name=_name(values["name"]) if "name" in values else name,
        hosts=_hosts(values["hosts"]),
        ranks_per_host=ranks.integer(low=1, high=1024) if ranks else None,
        ranks_where=ranks.where if ranks else "",
        rails=_rails(rails) if rails else None,
        rails_where=rails.where if rails else "",
        order=values["order"].choice(ORDERS) if "order" in values else "as-given",
        seed=values["seed"].integer(low=0) if "seed" in values else 1,
        collectives=collectives,
        pattern=pattern.choice(PATTERNS.names()) if pattern else "",
        shift=values["shift"].integer() if "shift" in values else 1,
        sizes=_sizes(values),
        pxn=values["pxn"].flag() if "pxn" in values else False,
        trace=Placed(trace.text(), trace.where) if trace else None,
        count=count,
        placement=placement,
        placement_seed=seed,
        placement_where=values["placement"].where if "placement" in values else "",
        algorithm=_algorithm(values["algorithm"], collectives) if "algorithm" in values else "",
        channels=values["channels"].integer(low=1, high=MOST_CHANNELS) if "channels" in values else 0,
        cross_nic=values["cross_nic"].integer(low=0, high=2) if "cross_nic" in values else 0,
        training=training,
        node=Placed(values["node"].text(), values["node"].where) if "node" in values else None,
    )


def _name(node: Node) -> str:
    if not node.text().isprintable():
        raise node.error("a name is one line of printable characters")
    return node.text()


def _training(values: dict[str, Node]) -> TrainingSpec | None:
    given = [key for key in TRAINING_KEYS if key in values]
    if not given:
        return None
    if "model" not in values:
        raise values[given[0]].error(f"'{given[0]}' belongs to a training, and there is no 'model'", hint="model: llama3-70b")
    for key in ("collective", "pattern", "size", "sizes"):
        _exclude(values, "model", key)
    return parse_training(values)


def _count(node: Node) -> int:
    """Return the number of hosts that is asked for; 0 for names. A name of digits alone goes into quotes."""
    scalar = node.yaml_node.id == "scalar" and not node.yaml_node.style
    if not scalar or not re.fullmatch(r"[+-]?\d+", node.yaml_node.value):
        return 0
    return node.integer(low=2, high=MOST_HOSTS)


def split_placement(text: str) -> tuple[str, int]:
    """Return the policy and the seed of ``packed``, ``random:7`` ...

    Raises
    ------
    UsageError
        If it is none of `PLACEMENTS`, or another than ``random`` has a seed.
    """
    policy, colon, seed = text.partition(":")
    if policy not in PLACEMENTS:
        raise UsageError(f"unknown placement '{policy}'", hint=suggestion(policy, PLACEMENTS))
    if colon and (policy != "random" or not re.fullmatch(r"\d{1,18}", seed)):
        raise UsageError(f"'{text}' is no placement", hint="only random takes a number, its seed: random:7")
    return policy, int(seed or 1)


def _placement(node: Node | None, count: int) -> tuple[str, int]:
    if node is None:
        return ("packed" if count else "given"), 1
    try:
        policy, seed = split_placement(node.text())
    except UsageError as error:
        raise node.error(error.message, hint=error.hint) from error
    if not count and policy != "given":
        raise node.error(f"'{policy}' chooses hosts, and 'hosts' names them", hint="give a number: hosts: 16")
    return policy, seed


def _exclude(values: dict[str, Node], first: str, second: str) -> None:
    if first in values and second in values:
        raise values[second].error(f"'{first}' and '{second}' exclude each other", hint=f"'{first}' is at {values[first].where}")


def _hosts(node: Node) -> tuple[Placed, ...]:
    entries = node.items() if node.is_list else [node]
    if not entries:
        raise node.error("'hosts' is an empty list")
    return tuple(Placed(entry.text(), entry.where) for entry in entries)


def _rails(node: Node) -> tuple[int, ...]:
    rails = [item.integer(low=0, high=255) for item in node.items()]
    if not rails:
        raise node.error("'rails' is an empty list", hint="leave the key out to use every rail")
    for index, item in enumerate(node.items()):
        if rails[index] in rails[:index]:
            raise item.error(f"rail {rails[index]} is here twice")
    return tuple(sorted(rails))


def _collectives(node: Node | None) -> tuple[str, ...]:
    if node is None or (not node.is_list and node.text() == ALL):
        return tuple(COLLECTIVES.names())
    chosen = [_collective(item) for item in (node.items() if node.is_list else [node])]
    if not chosen:
        raise node.error("'collective' is an empty list")
    return tuple(dict.fromkeys(chosen))


def _collective(node: Node) -> str:
    try:
        COLLECTIVES.load(node.text())
    except UsageError as error:
        raise node.error(error.message, hint=error.hint) from error
    return node.text()


def _algorithm(node: Node, collectives: tuple[str, ...]) -> str:
    """Return the name of an algorithm that does all of some collectives."""
    name = node.choice(ALGORITHMS.names())
    operations = ALGORITHMS.load(name).operations
    for collective in collectives:
        if collective not in operations:
            others = [other for other in ALGORITHMS.names() if collective in ALGORITHMS.load(other).operations]
            raise node.error(f"algorithm '{name}' does no {collective}", hint=f"these do: {', '.join(others)}")
    return name


def _sizes(values: dict[str, Node]) -> tuple[int, ...]:
    if "sizes" in values:
        nodes = values["sizes"].items()
        if not nodes:
            raise values["sizes"].error("'sizes' is an empty list")
    else:
        nodes = [values["size"]] if "size" in values else []
    return tuple(sorted({_size(node) for node in nodes}))


def _size(node: Node) -> int:
    text = node.text()
    if text.startswith("-"):
        raise node.error(f"a message cannot have a negative size: {text}")
    try:
        size_bytes = parse_size(text)
    except UsageError as error:
        raise InputError(error.message, where=node.where, hint=error.hint) from error
    if size_bytes == 0:
        raise node.error("a message of size 0 moves nothing", hint="the smallest message is 1 byte")
    if size_bytes > LARGEST_BYTES:
        raise node.error(f"a message of {text} is past 2^63 bytes")
    return size_bytes
