"""Remote GPUs: what copies cost, which GPUs are chosen, and what the jobs beside them keep."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import networkx as nx
import numpy as np
import pytest
from small_fabrics import two_levels

from fabctl.bench.remote_copy import CHUNK_BYTES, call_us, copy_gb_s, copy_us
from fabctl.bench.remote_gpu import plan_remote_gpus
from fabctl.errors import ExitCode, RefusedError
from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric
from fabctl.model.rates import payload_rates
from fabctl.model.remote_gpus import RemoteGpuPlan
from fabctl.nodes.reading import load_node
from fabctl.routing.compute import compute_tables
from fabctl.traffic.job import parse_job
from fabctl.traffic.phases import job_traffic

Run = Callable[..., Any]

NODE = load_node("dgx-1-v100")
PCIE_GB_S = 12.0
"""What a socket's PCIe 3.0 x16 carries in topologies/nodes/dgx-1-v100.yaml."""


def plan(fabric: Fabric, clients: Sequence[str], gpus: int = 1, jobs: Sequence[str] = (), engine: str = "ftree") -> RemoteGpuPlan:
    tables = compute_tables(fabric, engine)
    traffic = [job_traffic(parse_job(text, f"job-{number}.yaml"), fabric) for number, text in enumerate(jobs)]
    return plan_remote_gpus(tables, payload_rates(fabric), NODE, clients, fabric.hosts.name, gpus_per_client=gpus, jobs=traffic)


def fabric(hosts: int = 12) -> Fabric:
    """Hosts with four HCAs, four to a leaf and rail, under two spines: NDR, so that PCIe bounds a copy, and not the cables."""
    return two_levels(hosts, 4, 2, rails=4)


# ---- what a copy and a call cost ---------------------------------------------------------------------------------------


def test_a_copy_is_late_by_one_chunk_and_then_as_fast_as_its_slowest_stage() -> None:
    """Against a pipeline of two stages, chunk by chunk."""
    for network, server, chunks in itertools.product((5.0, 10.0, 12.0), (8.0, 10.0), (1, 2, 7, 64)):
        arrived, done = 0.0, 0.0
        for _ in range(chunks):
            arrived += CHUNK_BYTES / network / 1e3
            done = max(arrived, done) + CHUNK_BYTES / server / 1e3
        ours = copy_us(chunks * CHUNK_BYTES, network, server)
        assert ours == pytest.approx(done + CHUNK_BYTES / 1e3 * max(0.0, 1 / network - 1 / server), rel=1e-12)
        assert ours <= done * (1 + 1 / chunks)


def test_larger_copies_come_nearer_to_the_slowest_stage_and_never_pass_it() -> None:
    rates = [copy_gb_s(12.0, 10.0, size) for size in (1, 10**4, 10**6, 10**8, 10**10)]
    assert rates == sorted(rates)
    assert 9.999 < rates[-1] < 10.0


def test_a_call_pays_for_each_switch_both_ways() -> None:
    assert call_us(5) - call_us(3) == pytest.approx(2 * (call_us(2) - call_us(1)))


# ---- which GPUs --------------------------------------------------------------------------------------------------------


def test_with_nothing_running_the_nearest_gpus_are_chosen() -> None:
    """Fewest hops by networkx, and never one GPU for two clients."""
    subnet = fabric()
    clients = ["n0000", "n0005"]
    found = plan(subnet, clients, gpus=8)
    graph = nx.Graph(subnet.graph())
    node_of = {data["label"]: node for node, data in graph.nodes(data=True)}
    assert len({(one.server, one.gpu) for one in found.chosen}) == 16
    assert not {one.server for one in found.chosen} & set(clients)
    for one in found.chosen:
        here, there = (port.rpartition("/")[0] for port in (one.client_port, one.server_port))
        assert one.switches == nx.shortest_path_length(graph, node_of[here], node_of[there]) - 1 == 1


def test_a_gpu_farther_away_is_taken_where_the_near_ones_are_behind_full_cables() -> None:
    """The client's own leaves lead to hosts whose cables a job fills; the others are idle."""
    near = "hosts: n[0001-0003]\nranks_per_host: 4\ncollective: alltoall\nsize: 1G\n"
    idle, beside = plan(fabric(), ["n0000"]), plan(fabric(), ["n0000"], jobs=[near])
    assert idle.chosen[0].switches == 1
    assert beside.chosen[0].switches == 3
    assert beside.chosen[0].shared_gb_s == pytest.approx(beside.chosen[0].alone_gb_s)
    assert [burden.kept for burden in beside.burdens] == [1.0]


def test_copies_and_jobs_share_a_cable_evenly() -> None:
    """Both spines' cables into the servers' leaf carry one flow of a job: a copy that joins it gets half, and the job keeps half.

    At EDR everywhere a flow of the job fills a cable (12.42 GB/s), and a copy can use 12 of it.
    """
    text = "family: leaf-spine\nhosts_per_leaf: 2\nleaves: 2\nspines: 1\ncables: 1\nspeed: EDR\n"
    subnet = parse(text, "spec.yaml")[0]
    job = "hosts: [node-0001, node-0003]\npattern: shift\nsize: 1G\n"
    tables = compute_tables(subnet, "minhop")
    others = {"mlx5_1", "mlx5_2", "mlx5_3"}
    devices = tuple(device for device in NODE.devices if device.name not in others)
    links = tuple(link for link in NODE.links if not others & {link.a, link.b})
    one_hca = replace(NODE, devices=devices, links=links)
    traffic = [job_traffic(parse_job(job, "job.yaml"), subnet)]
    found = plan_remote_gpus(tables, payload_rates(subnet), one_hca, ["node-0002"], ["node-0004"], jobs=traffic)
    half = float(payload_rates(subnet)[0]) / 2e9
    assert found.chosen[0].shared_gb_s == pytest.approx(copy_gb_s(half, PCIE_GB_S))
    assert found.burdens[0].kept == pytest.approx(0.5)


def test_what_is_chosen_beside_jobs_gets_no_less_than_any_one_other_gpu_would() -> None:
    """Brute force over all GPUs of a small fabric, one client: no other choice has a faster copy at as few switches."""
    rng = np.random.default_rng(3)
    subnet = two_levels(8, 2, 2, rails=4, up_speed=4)
    names = list(subnet.hosts.name)
    for _ in range(4):
        order = rng.permutation(names).tolist()
        job = f"hosts: [{', '.join(order[:4])}]\nranks_per_host: 4\ncollective: alltoall\nsize: 1G\n"
        tables = compute_tables(subnet, "ftree")
        traffic = [job_traffic(parse_job(job, "job.yaml"), subnet)]
        client, *servers = order[4:]
        rates = payload_rates(subnet)
        best = plan_remote_gpus(tables, rates, NODE, [client], servers, jobs=traffic).chosen[0]
        for server in servers:
            other = plan_remote_gpus(tables, rates, NODE, [client], [server], jobs=traffic).chosen[0]
            assert best.shared_gb_s >= other.shared_gb_s - 1e-9 or best.switches < other.switches


def test_too_few_gpus_are_refused_and_said_how_many_there_are() -> None:
    with pytest.raises(RefusedError, match="89 GPUs are wanted and 88 are free, on 11 hosts"):
        plan(fabric(), ["n0000"], gpus=89)
    assert len(plan(fabric(), ["n0000"], gpus=88).chosen) == 88


# ---- the command -------------------------------------------------------------------------------------------------------


def test_on_selene_beside_a_job(run: Run, fixtures: Path, project: Path, tmp_path: Path) -> None:
    dump = fixtures / "ibnetdiscover/selene-compute-2021.txt"
    (tmp_path / "job.yaml").write_text("hosts: luna-[0001-0034]\nranks_per_host: 8\ncollective: alltoall\nsize: 1G\n")
    options = ("--clients", "selene-cache-[01-03]", "--gpus", "2", "--node", "dgx-a100", "--job", tmp_path / "job.yaml")
    done = run("bench", "remote-gpu", dump, *options, "--engine", "ftree", "-o", "json")
    assert (done.code, done.err) == (0, "")
    data = json.loads(done.out)["data"]
    jsonschema.validate(data, json.loads((project / "fabctl/report/schemas/remote-gpus.json").read_text()))
    assert data["free_hosts"] == 458 - 34
    assert {one["client"] for one in data["chosen"]} == {"selene-cache-01", "selene-cache-02", "selene-cache-03"}
    for one in data["chosen"]:
        assert 0 < one["shared_gb_s"] <= one["alone_gb_s"] < one["local_gb_s"]
        assert one["server"] not in [f"luna-{number:04}" for number in range(1, 35)]
    text = run("bench", "remote-gpu", dump, *options, "--engine", "ftree").out
    (following,) = [line for line in text.splitlines() if line.startswith("Next: ")]
    assert run(*following.removeprefix("Next: fabctl ").split()).code == 0


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--clients", "dgx1-0099"), ExitCode.USAGE, "no host 'dgx1-0099'"),
        (("--clients", "dgx1-[1"), ExitCode.USAGE, "dgx1-[1"),
        (("--clients", "dgx1-0001", "--gpus", "121"), ExitCode.REFUSED, "121 GPUs are wanted and 120 are free"),
        (("--clients", "dgx1-0001", "--node", "dgx-a100"), ExitCode.INPUT, "dgx1-0002 has 4 HCA ports"),
        (("--clients", "dgx1-0001", "--node", "dgx-9000"), ExitCode.USAGE, "dgx-9000"),
    ],
)
def test_what_cannot_be_done_is_said(run: Run, options: tuple[str, ...], code: ExitCode, said: str) -> None:
    done = run("bench", "remote-gpu", "dgx1-16", *options)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_servers_of_unknown_type_are_not_guessed(run: Run) -> None:
    done = run("bench", "remote-gpu", "leaf-spine-648", "--clients", "node-0001")
    assert done.code == ExitCode.USAGE
    assert "--node" in done.err
