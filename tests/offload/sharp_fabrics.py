"""Small random fabrics with jobs, and the most jobs that stream on them by brute force: what `fabctl.offload.sharp` is held against."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import networkx as nx
import numpy as np
from small_fabrics import cable

from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.offload.sharp.demand import Demand, Rules
from fabctl.traffic.placement import Job
from fabctl.units import Speed

QUANTUM, QUANTUM_2, CONNECTX_6 = 0xD2F0, 0xD2F2, 0x101B


@dataclass
class Drawn:
    """A fabric and jobs on it, some rails each."""

    fabric: Fabric
    jobs: list[Job]


def draw(seed: int) -> Drawn:
    """Return a fabric of two or three levels with cables missing, or a ring with chords, and one to four jobs."""
    rng = random.Random(seed)
    builder = FabricBuilder()
    shape = rng.choice(["two", "two", "three", "three", "graph"])
    sizes = {"two": [rng.randint(2, 4), rng.randint(1, 4)], "three": [4, rng.randint(2, 4), rng.randint(1, 3)], "graph": [5]}[
        shape
    ]
    mixed = rng.random() < 0.2
    one_tree = rng.random() < 0.6
    switches = [[1000 * level + place + 1 for place in range(size)] for level, size in enumerate(sizes)]
    for level, row in enumerate(switches):
        for guid in row:
            device = QUANTUM if (rng.random() < 0.5 if mixed else one_tree) else QUANTUM_2
            builder.node(NodeKind.SWITCH, guid, f"s{level}-{guid % 1000}", ports=40, device_id=device)
    used: Counter[int] = Counter()

    def connect(here: int, there: int) -> None:
        used[here] += 1
        used[there] += 1
        cable(builder, (here, used[here]), (there, used[there]), Speed.HDR)

    for lower, upper in pairwise(switches):
        for here in lower:
            above = [there for there in upper if rng.random() < 0.75] or [rng.choice(upper)]
            for there in above:
                for _ in range(rng.choice([1, 1, 2])):
                    connect(here, there)
    if shape == "graph":
        for place, here in enumerate(switches[0]):
            connect(here, switches[0][(place + 1) % 5])
        connect(switches[0][0], switches[0][2])
    jobs = _jobs(builder, rng, switches[0], used)
    fabric = builder.build()
    return Drawn(fabric, [_placed(fabric, hosts) for hosts in jobs])


def _jobs(builder: FabricBuilder, rng: random.Random, leaves: list[int], used: Counter[int]) -> list[list[list[int]]]:
    """Return the HCA GUIDs of each job, by host and rail."""
    jobs: list[list[list[int]]] = []
    for job in range(rng.randint(1, 4)):
        rails = rng.choice([1, 1, 2])
        hosts = []
        for host in range(rng.randint(2, 3)):
            row = []
            for rail in range(rails):
                guid = 0x100000 + 4096 * job + 16 * host + rail
                leaf = rng.choice(leaves)
                builder.node(NodeKind.CA, guid, f"n{job}{host} mlx5_{rail}", ports=1, device_id=CONNECTX_6)
                builder.port(guid, 1, port_guid=guid, lid=guid & 0x7FFF)
                used[leaf] += 1
                cable(builder, (leaf, used[leaf]), (guid, 1), Speed.HDR)
                row.append(guid)
            hosts.append(row)
        jobs.append(hosts)
    return jobs


def _placed(fabric: Fabric, hosts: list[list[int]]) -> Job:
    port_of = {int(guid): port for port, guid in enumerate(fabric.port_guid.tolist()) if guid >= 0x100000}
    ports = np.array([[port_of[guid] for guid in row] for row in hosts], dtype=np.int32)
    names = tuple(fabric.hosts.name[fabric.hosts.node_host[fabric.port_node[row[0]]]] for row in ports)
    return Job(fabric, names, ports, tuple(range(ports.shape[1])), ports.shape[1])


def draw_rules(seed: int, rules: Rules) -> Rules:
    """Return rules with some limits made tight."""
    rng = random.Random(seed + 10_000)
    if rng.random() < 0.3:
        rules = replace(rules, trees=rng.randint(1, 3))
    if rng.random() < 0.3:
        rules = replace(rules, radix=tuple(rng.randint(1, 4) for _ in rules.radix))
    if rng.random() < 0.3:
        rules = replace(rules, jobs_per_switch=rng.randint(1, 2))
    return rules


@dataclass(frozen=True)
class PlainTree:
    """A tree as brute force sees it."""

    depth: int
    switches: frozenset[int]
    edges: tuple[tuple[int, int], ...]
    children: tuple[tuple[int, int], ...]


class Brute:
    """All trees of all jobs, tried in all combinations."""

    def __init__(self, fabric: Fabric, rules: Rules) -> None:
        self.rules = rules
        self.bundles: Counter[frozenset[int]] = Counter()
        self.graph = nx.DiGraph()
        n, tiers = fabric.n_switches, fabric.tiers.tolist()
        between = [
            (src, dst)
            for src, dst in zip(fabric.channel_src.tolist(), fabric.channel_dst.tolist(), strict=True)
            if src < n and dst < n
        ]
        adjacent = sum(abs(tiers[src] - tiers[dst]) == 1 for src, dst in between)
        self.graph.add_nodes_from(range(n))
        for src, dst in between:
            self.bundles[frozenset((src, dst))] += 1
            if adjacent < 0.9 * len(between) or tiers[dst] == tiers[src] + 1:
                self.graph.add_edge(src, dst)
        for bundle in self.bundles:
            self.bundles[bundle] //= 2

    def trees(self, hosts_at: dict[int, int]) -> Iterator[PlainTree]:
        """Yield every tree: every root, every parent of every switch on the way."""
        for root in self.graph:
            away = nx.shortest_path_length(self.graph, target=root)
            if all(leaf in away for leaf in hosts_at):
                for edges in self._parents(set(hosts_at), root, away):
                    children = Counter(hosts_at)
                    children.update(parent for _, parent in edges)
                    switches = frozenset({root, *hosts_at, *(child for child, _ in edges)})
                    yield PlainTree(max(away[leaf] for leaf in hosts_at), switches, edges, tuple(children.items()))

    def _parents(self, here: set[int], root: int, away: dict[int, int]) -> Iterator[tuple[tuple[int, int], ...]]:
        here = here - {root}
        if not here:
            yield ()
            return
        child = max(here, key=lambda switch: away[switch])
        for parent in self.graph.successors(child):
            if away.get(parent, -1) == away[child] - 1:
                for rest in self._parents(here - {child} | {parent}, root, away):
                    yield ((child, parent), *rest)

    def most(self, demands: list[Demand]) -> tuple[int, int]:
        """Return the most jobs that stream at once, and the least sum of depths of that many."""
        options = {id(branch): list(self.trees(branch.hosts_at)) for demand in demands for branch in demand.branches}
        for n_jobs in range(len(demands), 0, -1):
            depths = [
                depth
                for chosen in combinations(demands, n_jobs)
                if (depth := self._least([(demand.name, options[id(b)]) for demand in chosen for b in demand.branches], []))
                is not None
            ]
            if depths:
                return n_jobs, min(depths)
        return 0, 0

    def _least(self, left: list[tuple[str, list[PlainTree]]], held: list[tuple[str, PlainTree]]) -> int | None:
        if not left:
            return 0
        (job, options), *rest = left
        best = None
        for tree in options:
            if self._fits([*held, (job, tree)]):
                below = self._least(rest, [*held, (job, tree)])
                if below is not None and (best is None or tree.depth + below < best):
                    best = tree.depth + below
        return best

    def _fits(self, held: list[tuple[str, PlainTree]]) -> bool:
        """Check all rules on all trees, as they are written."""
        rules = self.rules
        trees_at = Counter(switch for _, tree in held for switch in tree.switches)
        jobs_at = Counter(switch for _, switch in {(job, switch) for job, tree in held for switch in tree.switches})
        cables = Counter(frozenset(edge) for _, tree in held for edge in tree.edges)
        return (
            all(count <= 1 or not rules.one_tree[switch] for switch, count in trees_at.items())
            and all(count <= self.bundles[bundle] for bundle, count in cables.items())
            and all(not rules.jobs_per_switch or count <= rules.jobs_per_switch for count in jobs_at.values())
            and (not rules.trees or len(held) <= rules.trees)
            and all(not rules.radix[s] or count <= rules.radix[s] for _, tree in held for s, count in tree.children)
        )
