"""What is said of trees and jobs: Selene's, the constraint that binds by its name, jobs like one, what bench predicts."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_fabrics import cable, two_levels

from fabctl.errors import UsageError
from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.rates import data_rates
from fabctl.model.sharp_plan import Constraint, SharpTrees
from fabctl.nodes.reading import load_node
from fabctl.offload.sharp.copies import copies
from fabctl.offload.sharp.demand import Demand, Rules, branch, rules_of
from fabctl.offload.sharp.eligible import streaming_switches
from fabctl.offload.sharp.packing import first_trees
from fabctl.offload.sharp.plan import sharp_trees
from fabctl.offload.sharp.settings import SharpSettings
from fabctl.offload.sharp.ways import Ways
from fabctl.offload.site import Site
from fabctl.sources.reading import load_fabric
from fabctl.traffic.job import parse_job
from fabctl.traffic.placement import Job, place
from fabctl.units import Speed

SWITCH_IB_2, QUANTUM, QUANTUM_2 = 0xCF08, 0xD2F0, 0xD2F2
CONNECTX_5, CONNECTX_6 = 0x1017, 0x101B


def small(
    switch: int = QUANTUM, hca: int = CONNECTX_6, *, hosts: int = 8, per_leaf: int = 2, spines: int = 2, rails: int = 1
) -> Fabric:
    """Return leaves under spines, of these devices."""
    fabric = two_levels(hosts, per_leaf, spines, rails=rails)
    device_id = np.where(np.arange(fabric.n_nodes) < fabric.n_switches, switch, hca).astype(np.uint32)
    return replace(fabric, device_id=device_id)


def job_on(fabric: Fabric, hosts: str) -> Job:
    return place(parse_job(f"hosts: {hosts}\ncollective: all_reduce\n", "job.yaml"), fabric)


def planned(fabric: Fabric, *hosts: str, settings: SharpSettings | None = None, excluded: tuple[int, ...] = ()) -> SharpTrees:
    return sharp_trees(Site(fabric, jobs=tuple(job_on(fabric, one) for one in hosts)), (), settings, excluded)


# ---- Selene --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def selene(fixtures: Path) -> Fabric:
    return load_fabric(str(fixtures / "ibnetdiscover/selene-compute-2021.txt")).fabric


def test_selene_has_three_jobs_of_128_hosts_and_8_rails_at_once(selene: Fabric) -> None:
    trees = planned(selene, "128")
    (job,) = trees.jobs
    assert [tree.rail for tree in job.trees] == list(range(8))
    assert len({tree.root for tree in job.trees}) == 8
    assert [tree.root for tree in job.trees][:2] == ["CSPINE1-01", "CSPINE1-11"]
    assert (job.depth, job.n_switches) == (1, 64)
    assert max(Counter(switch for tree in job.trees for switch in tree.switches).values()) == 1
    assert trees.copies is not None
    assert (trees.copies.fit, trees.copies.bound, trees.copies.binds.constraint) == (3, 3, Constraint.HOSTS)
    assert (
        "330 hosts are left beside it, 326 of them on leaf switches without its trees; a job takes 128" in trees.copies.binds.text
    )
    assert [(most, binding.constraint) for most, binding in trees.copies.others] == [
        (3, Constraint.SWITCH),
        (7, Constraint.TREES),
    ]


def test_small_jobs_on_selene_are_bound_by_the_subnets_trees(selene: Fabric) -> None:
    trees = planned(selene, "20")
    assert trees.copies is not None
    assert (trees.copies.fit, trees.copies.exact, trees.copies.binds.constraint) == (7, True, Constraint.TREES)
    hosts = [set(job_on(selene, f"'{one}'").hosts) for one in trees.copies.hosts]
    assert all(not one & other for one, other in combinations(hosts, 2))
    assert {len(one) for one in hosts} == {20}


def test_the_copies_of_selenes_jobs_do_stream_at_once(selene: Fabric) -> None:
    trees = planned(selene, "128")
    assert trees.copies is not None
    again = planned(selene, *(f"'{hosts}'" for hosts in trees.copies.hosts))
    assert (again.streaming, again.exact) == (3, True)
    switches = Counter(switch for job in again.jobs for tree in job.trees for switch in tree.switches)
    assert max(switches.values()) == 1


def test_two_of_selenes_jobs_share_leaves_and_that_is_proved(selene: Fabric) -> None:
    trees = planned(selene, "'luna-[0001-0034]'", "'luna-[0281-0290]'", "'luna-[0292-0300]'")
    assert [job.depth for job in trees.jobs if job.trees] == [1, 0]
    assert (trees.streaming, trees.bound, trees.exact) == (2, 2, True)
    assert refusal(trees) == ("one-tree-per-switch", "LG15-01 has one active streaming tree, and it is that of job 2")


def test_nothing_is_said_to_jobs_that_do_not_stream() -> None:
    assert planned(small(hca=CONNECTX_5), "all").environment == ()


# ---- what binds, by name -------------------------------------------------------------------------------------------------


def refusal(trees: SharpTrees) -> tuple[str, str]:
    """Return the constraint and the text of the first job that was refused."""
    binding = next(job.refused for job in trees.jobs if job.refused)
    return str(binding.constraint), binding.text


def test_a_leaf_has_one_tree_on_quantum_and_one_per_port_on_quantum_2() -> None:
    quantum = planned(small(), "n[0000,0002]", "n[0001,0003]")
    assert quantum.streaming == quantum.bound == 1
    assert refusal(quantum) == ("one-tree-per-switch", "leaf-0 has one active streaming tree, and it is that of job 1")
    assert planned(small(QUANTUM_2), "n[0000,0002]", "n[0001,0003]").streaming == 2


def test_all_cables_up_of_a_leaf_carry_trees() -> None:
    fabric = small(QUANTUM_2, hosts=12, per_leaf=3)
    trees = planned(fabric, "n[0000,0003]", "n[0001,0006]", "n[0002,0009]")
    assert (trees.streaming, trees.bound, trees.exact) == (2, 2, True)
    constraint, text = refusal(trees)
    assert constraint == "one-tree-per-port"
    assert "all 2 cables up from leaf-0 carry other trees (rail 0)" in text
    assert trees.binds is not None
    assert "3 trees leave leaf-0, which has 2 cables up" in trees.binds.text


def test_two_rails_on_one_leaf_do_not_stream_at_once_on_quantum() -> None:
    fabric = small(rails=2)
    job = job_on(fabric, "n[0000,0002]")
    both = sharp_trees(Site(fabric, jobs=(replace(job, ports=job.ports[:, [0, 0]]),)))
    assert refusal(both) == ("one-tree-per-switch", "leaf-0 has one active streaming tree, and carries rails 0-1 of the job")


def test_every_spine_above_a_leaf_has_its_tree() -> None:
    fabric = small(hosts=12, per_leaf=2, spines=2)
    trees = planned(fabric, "n[0000,0002]", "n[0004,0006]", "n[0008,0010]")
    assert (trees.streaming, trees.bound) == (2, 2)
    constraint, text = refusal(trees)
    assert constraint == "one-tree-per-switch"
    assert "each of the 2 switches above" in text
    assert trees.binds is not None
    assert "2 switches stand above leaf-0 and the leaves beside it" in trees.binds.text


@pytest.mark.parametrize(
    ("settings", "constraint", "text"),
    [
        (SharpSettings(radix=1), "radix", "leaf-0 would have 2 children on rail 0, and takes 1"),
        (SharpSettings(radix=3), "radix", "every tree gives a switch more than 3 children"),
    ],
)
def test_more_children_than_an_aggregation_node_takes(settings: SharpSettings, constraint: str, text: str) -> None:
    trees = planned(small(), "all", settings=settings)
    assert refusal(trees) == (constraint, text)
    assert (trees.streaming, trees.bound, trees.exact) == (0, 0, True)


def test_an_aggregation_node_has_resources_for_so_many_jobs() -> None:
    fabric = small(QUANTUM_2, hosts=12, per_leaf=6, spines=6)
    jobs = [f"n[{one:04},{one + 6:04}]" for one in range(4)]
    trees = planned(fabric, *jobs, settings=SharpSettings(quota=50, own_trees=False))
    assert trees.streaming == 2
    assert refusal(trees) == ("quota", "the aggregation node of leaf-0 has resources for 2 jobs at the default quota")


def test_the_subnet_has_so_many_trees() -> None:
    fabric = small(hosts=64 * 2, per_leaf=2, spines=1)
    trees = planned(fabric, *(f"n[{2 * one:04}-{2 * one + 1:04}]" for one in range(64)))
    assert (trees.streaming, trees.bound, trees.exact) == (63, 63, True)
    assert refusal(trees) == ("trees", "the subnet has 63 streaming trees, and each rail of a job takes one")


@pytest.mark.parametrize(
    ("fabric", "constraint", "text"),
    [
        (small(hca=CONNECTX_5), "capability", "ConnectX-5 HCAs do not stream: n0000 mlx5_0 is one"),
        (small(hca=0xBEEF), "capability", "it is unknown whether devices of id 0xbeef stream: n0000 mlx5_0 is one"),
        (small(0), "capability", "the source tells no device ids: leaf-0 is one"),
        (small(SWITCH_IB_2), "capability", "Switch-IB 2 switches do not stream: leaf-0 is one"),
        (replace(small(), sm_lid=0x402), "sm-port", "n0002 mlx5_0/P1 is the subnet manager's own port"),
    ],
)
def test_what_cannot_stream_at_all_is_named(fabric: Fabric, constraint: str, text: str) -> None:
    found = refusal(planned(fabric, "all"))
    assert found[0] == constraint
    assert found[1].startswith(text)


def test_a_leaf_that_is_left_out_and_spines_that_are() -> None:
    fabric = small()
    leaf, spines = fabric.labels.index("leaf-1"), [fabric.labels.index(f"spine-{one}") for one in range(2)]
    assert refusal(planned(fabric, "all", excluded=(leaf,))) == (
        "excluded",
        "SHARP is switched off on leaf-1, where HCAs of the job hang",
    )
    assert refusal(planned(fabric, "all", excluded=tuple(spines))) == (
        "reach",
        "no switch that can aggregate has all 4 leaves of rail 0 below it (leaf-0, leaf-1, leaf-2 ...)",
    )
    assert planned(fabric, "n[0000-0001]", excluded=tuple(spines)).jobs[0].depth == 0


def test_jobs_are_asked_for() -> None:
    with pytest.raises(UsageError, match="which jobs"):
        sharp_trees(Site(small()))


# ---- jobs like one -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", [QUANTUM, QUANTUM_2])
@pytest.mark.parametrize(
    ("hosts", "per_leaf", "spines", "size"), [(12, 2, 2, 3), (12, 3, 1, 2), (10, 2, 3, 4), (9, 3, 2, 4), (8, 2, 1, 2)]
)
def test_copies_are_as_many_as_brute_force_finds(switch: int, hosts: int, per_leaf: int, spines: int, size: int) -> None:
    fabric = small(switch, hosts=hosts, per_leaf=per_leaf, spines=spines)
    job = job_on(fabric, str(size))
    usable = streaming_switches(fabric)
    ways, rules = Ways(fabric, usable), rules_of(fabric, usable)
    demand = Demand("job", job.rails, (branch(job.ports[:, 0], ways.maker.leaves(job.ports[:, 0])),))
    trees = first_trees(demand, ways.pool(rules), ways)
    found = copies(job, demand, trees, rules, ways, [])
    left = [port for port in fabric.compute_endpoints.tolist() if port not in job.ports]
    most = 1 + _most_sets(left, size, fabric, rules, ways, demand, trees)
    assert found.fit == most <= found.bound


def test_rails_that_are_not_aligned_leave_the_bound_right() -> None:
    """Hosts a, b and c share leaves pair by pair: as one block they make one job, though a and c could stream at once."""
    builder = FabricBuilder()
    for leaf in range(8):
        builder.node(NodeKind.SWITCH, 0x1000 + leaf, f"leaf-{leaf}", ports=40, device_id=QUANTUM)
    used: Counter[int] = Counter()
    leaves_of = [(0, 1), (0, 1), (2, 3), (2, 4), (5, 4), (5, 6), (7, 6), (7, 3)]
    for host, leaves in enumerate(leaves_of):
        for rail, leaf in enumerate(leaves):
            guid = 0x100000 + 256 * host + rail
            builder.node(NodeKind.CA, guid, f"n{host} mlx5_{rail}", ports=1, device_id=CONNECTX_6)
            builder.port(guid, 1, port_guid=guid, lid=guid & 0x7FFF)
            used[leaf] += 1
            cable(builder, (0x1000 + leaf, used[leaf]), (guid, 1), Speed.HDR)
    for spine in range(6):
        builder.node(NodeKind.SWITCH, 0x2000 + spine, f"spine-{spine}", ports=40, device_id=QUANTUM)
        for leaf in range(8):
            cable(builder, (0x2000 + spine, leaf + 1), (0x1000 + leaf, 30 + spine), Speed.HDR)
    found = planned(builder.build(), "n[0-1]").copies
    assert found is not None
    assert found.fit == 2
    assert found.bound >= 3, "n[2-3] and n[4-5] share leaf-4, n[2-3] and n[5-6] share nothing"


def _most_sets(left: list[int], size: int, fabric: Fabric, rules: Rules, ways: Ways, first: Demand, trees: tuple) -> int:
    """Return the most further jobs on any hosts, the first of the job's own trees given: all sets of hosts are tried."""
    pool = ways.pool(rules)
    for tree in trees:
        pool.hold(tree, first.name)

    def most(hosts: list[int], number: int) -> int:
        best = 0
        seen = set()
        for ports in combinations(hosts, size):
            leaves = ways.maker.leaves(np.array(ports))
            alike = tuple(sorted(leaves.tolist()))
            if alike in seen:
                continue
            seen.add(alike)
            demand = Demand(f"copy {number}", (0,), (branch(np.array(ports, dtype=np.int32), leaves),))
            ways.steps_left = 10**6
            for _ in ways.of_job(demand, pool):
                rest = [port for port in hosts if port not in ports and port > min(ports)]
                best = max(best, 1 + most(rest, number + 1))
                if best == len(hosts) // size:
                    return best
        return best

    return most(left, 2)


# ---- the gain ------------------------------------------------------------------------------------------------------------


def test_the_gain_is_what_bench_predicts(selene: Fabric) -> None:
    fabric = small(QUANTUM_2, rails=8, hosts=8)
    job = job_on(fabric, "all")
    site = Site(fabric, jobs=(replace(job, ranks_per_host=8),), node=load_node("dgx-h100"))
    (planned_job,) = sharp_trees(site).jobs
    assert planned_job.gain_note.startswith("all_reduce as NCCL chooses, hosts dgx-h100")
    assert {gain.with_by for gain in planned_job.gains} <= {"NVLS", "CollNetDirect", "CollNetChain"}
    assert planned_job.gains[-1].size_bytes == 1 << 30


def test_without_hosts_the_cables_alone_are_compared() -> None:
    fabric = small()
    (job,) = planned(fabric, "all").jobs
    (gain,) = job.gains
    rate = data_rates(fabric).max() / 8 * 0.95
    assert gain.with_us == pytest.approx(gain.size_bytes / (rate * 1e3))
    assert gain.without_us / gain.with_us == gain.speedup > 1
    assert job.gain_note.startswith("cables alone")


# ---- docs/sharp.md -------------------------------------------------------------------------------------------------------


def test_the_page_names_every_constraint_and_its_transcript_is_real(project: Path, run: Any) -> None:
    page = (project / "docs/sharp.md").read_text()
    table = page.partition("## What binds")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE) == [str(constraint) for constraint in Constraint]
    command, text = re.search(r"^    printf '(.*)' \| fabctl (.*)$", page, re.MULTILINE), page.split("```")[1]
    assert command is not None
    done = run(*command[2].split(), stdin=command[1].replace("\\n", "\n"))
    assert done.code == 0
    assert text.split("\n\n")[0].strip() in done.out
    assert text.split("\n\n")[1].rstrip() in done.out
