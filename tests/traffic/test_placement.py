from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from small_fabrics import two_levels

from fabctl.errors import InputError
from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.traffic.job import JobSpec, parse_job
from fabctl.traffic.placement import Job, place
from fabctl.units import Speed

EIGHT = two_levels(8, 4, 2, rails=4)


def job(text: str, fabric: Fabric = EIGHT) -> Job:
    return place(parse_job(text, "j.yaml"), fabric)


def star(hosts: dict[str, Iterable[str]]) -> Fabric:
    """Return hosts with HCAs of the given device names on one switch."""
    builder = FabricBuilder()
    builder.node(NodeKind.SWITCH, 1, "leaf", ports=40)
    builder.port(1, 0, lid=1)
    names = [f"{host} {device}" for host, devices in hosts.items() for device in devices]
    for port, name in enumerate(names, 1):
        builder.node(NodeKind.CA, 0x100 + port, name, ports=1)
        builder.port(0x100 + port, 1, lid=1 + port)
        builder.link(1, port, 0x100 + port, 1, lanes=4, speed=Speed.HDR)
        builder.link(0x100 + port, 1, 1, port, lanes=4, speed=Speed.HDR)
    return builder.build()


def cells(placed: Job) -> list[list[str]]:
    """Return what each port of the job belongs to."""
    return [[placed.fabric.node_name[placed.fabric.port_node[port]] for port in row] for row in placed.ports]


def test_hosts_are_rows_and_rails_are_columns() -> None:
    placed = job("hosts: n[0006,0001-0002]\nranks_per_host: 8\n")
    assert placed.hosts == ("n0006", "n0001", "n0002")
    assert cells(placed) == [[f"{host} mlx5_{rail}" for rail in range(4)] for host in placed.hosts]
    assert (placed.rails, placed.n_hosts, placed.n_ranks, placed.ranks_per_port) == ((0, 1, 2, 3), 3, 24, 2)
    assert placed.notes == ()


def test_all_hosts_without_a_job_file() -> None:
    placed = place(JobSpec(), EIGHT)
    assert placed.hosts == tuple(f"n{host:04}" for host in range(8))
    assert placed.ranks_per_host == 4
    assert placed.notes == ("ranks_per_host is not given: one rank per HCA, 4 per host",)
    assert np.array_equal(np.sort(placed.ports.ravel()), np.sort(EIGHT.compute_endpoints))


def test_orders() -> None:
    text = "hosts: [n0003, n0000, n0002, n0001]\norder: "
    assert job(text + "as-given").hosts == ("n0003", "n0000", "n0002", "n0001")
    assert job(text + "sorted").hosts == ("n0000", "n0001", "n0002", "n0003")
    shuffled = {job(f"{text}random\nseed: {seed}").hosts for seed in range(20)}
    assert len(shuffled) > 10
    assert all(sorted(hosts) == ["n0000", "n0001", "n0002", "n0003"] for hosts in shuffled)
    assert job(text + "random").hosts == job(text + "random").hosts


def test_rails_can_be_chosen() -> None:
    placed = job("hosts: all\nrails: [2, 0]\n")
    assert placed.rails == (0, 2)
    assert cells(placed)[0] == ["n0000 mlx5_0", "n0000 mlx5_2"]


@pytest.mark.parametrize(("ranks", "rails"), [(1, (0,)), (2, (0, 2)), (3, (0, 1, 2)), (4, (0, 1, 2, 3))])
def test_few_ranks_use_the_hcas_of_their_block(ranks: int, rails: tuple[int, ...]) -> None:
    placed = job(f"hosts: all\nranks_per_host: {ranks}\n")
    assert placed.rails == rails == tuple(rank * 4 // ranks for rank in range(ranks))
    assert placed.ranks_per_port == 1


def test_ranks_must_spread_evenly() -> None:
    with pytest.raises(InputError, match="6 ranks per host do not spread evenly over 4 HCAs") as error:
        job("hosts: all\nranks_per_host: 6\n")
    assert error.value.where == "j.yaml:2:17"
    assert error.value.hint.startswith("4 or 8 do")


@pytest.mark.parametrize(
    ("text", "where", "message", "hint"),
    [
        ("hosts: n[0000-0008]", "j.yaml:1:8", "the fabric has no host 'n0008'", "did you mean n0007?"),
        ("hosts: n[0000,0020-0022]", "j.yaml:1:8", "no host 'n0020' (3 hosts of this job are unknown)", "did you mean n0007?"),
        ("hosts: [n0000, n001]", "j.yaml:1:16", "the fabric has no host 'n001'", "did you mean n0001 or n0000?"),
        ("hosts: [n0000, m0001]", "j.yaml:1:16", "the fabric has no host 'm0001'", "did you mean n0001"),
        ("hosts: [n0000, zeus]", "j.yaml:1:16", "no host 'zeus'", "it has 8 hosts: n0000, n0001, n0002 and 5 more"),
        ("hosts: n0001", "j.yaml:1:8", "a job needs at least two hosts to use the fabric, this has one: n0001", ""),
        ("hosts:\n  - n0001\n  - n[0000-0002]", "j.yaml:3:5", "host 'n0001' is here twice", "the first is at j.yaml:2:5"),
        ("hosts: n[0001,0001]", "j.yaml:1:8", "host 'n0001' is here twice", ""),
        ("hosts: n[0001", "j.yaml:1:8", "a bracket is left open: 'n[0001'", "write names like"),
        ("hosts: ','", "j.yaml:1:8", "a name is missing between commas: ','", ""),
        ("hosts: all\nrails: [0, 4]", "j.yaml:2:8", "not all hosts have rail 4", "rails of all hosts: 0, 1, 2, 3"),
    ],
)
def test_faults_have_their_place(text: str, where: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        job(text)
    assert error.value.where == where
    assert message in error.value.message
    assert error.value.hint.startswith(hint)


def test_a_host_named_like_a_node_set_is_found_as_it_stands() -> None:
    fabric = star({"gpu[1": ["mlx5_0"], "gpu,2": ["mlx5_0"]})
    assert job('hosts: ["gpu[1", "gpu,2"]', fabric).hosts == ("gpu[1", "gpu,2")


def test_a_host_that_lacks_an_hca_narrows_the_job_to_common_rails() -> None:
    devices = [f"mlx5_{device}" for device in range(4)]
    fabric = star({"n1": devices, "n2": [*devices[:2], devices[3]], "n3": devices})
    placed = job("hosts: n[1-3]", fabric)
    assert placed.rails == (0, 1, 3)
    assert cells(placed)[1] == ["n2 mlx5_0", "n2 mlx5_1", "n2 mlx5_3"]
    assert placed.notes[0] == "1 of 3 hosts lack an HCA that others have (n2): the job uses the 3 that all hosts have"


def test_all_leaves_out_hosts_that_are_not_like_the_others() -> None:
    devices = [f"mlx5_{device}" for device in range(4)]
    unknown = ["ib0", "ib1", "ib2", "ib3", "ib4"]
    fabric = star({"n1": devices, "n2": devices[:3], "n3": devices, "gateway": ["mlx5_0"], "odd": unknown, "n4": devices})
    placed = job("hosts: all", fabric)
    assert placed.hosts == ("n1", "n3", "n4")
    assert placed.notes[0] == "all: 2 compute hosts without 4 connected HCAs of known rail are left out (n2, odd)"
    assert "all:" not in "".join(job("hosts: n[1,3]", fabric).notes)


def test_all_means_what_there_is_where_no_two_hosts_are_alike() -> None:
    fabric = star({"n1": ["mlx5_0", "mlx5_1"], "n2": ["mlx5_0", "mlx5_1", "mlx5_2"]})
    assert job("hosts: all", fabric).hosts == ("n1", "n2")


def test_hosts_that_lack_different_hcas_share_the_rest() -> None:
    devices = [f"mlx5_{device}" for device in range(4)]
    fabric = star({"n1": devices, "n2": devices, "n3": devices[:3], "n4": devices[1:]})
    placed = job("hosts: n[3-4]", fabric)
    assert placed.rails == (1, 2)
    assert cells(placed) == [["n3 mlx5_1", "n3 mlx5_2"], ["n4 mlx5_1", "n4 mlx5_2"]]


def test_no_common_rail_is_an_error() -> None:
    fabric = star({"n1": ["mlx5_0", "mlx5_1"], "n2": ["mlx5_0", "mlx5_1"], "n3": ["mlx5_0"], "n4": ["mlx5_1"]})
    with pytest.raises(InputError, match="no rail is common to all hosts of this job\n  hint: rails and ports: n3 0/P1; n4 1/P1"):
        job("hosts: n[3-4]", fabric)


def test_unknown_rails_are_matched_by_order_or_refused() -> None:
    full = {f"n{host}": ["mlx5_0", "mlx5_1", "mlx5_2"] for host in range(4)}
    fabric = star({**full, "s1": ["ib0", "ib1"], "s2": ["ib2", "ib7"]})
    placed = job("hosts: s[1-2]", fabric)
    assert cells(placed) == [["s1 ib0", "s1 ib1"], ["s2 ib2", "s2 ib7"]]
    assert placed.notes[0].startswith("the rails of s1, s2 are unknown")
    with pytest.raises(InputError, match="the hosts have 2 to 3 HCAs, and the rails of s1 are unknown"):
        job("hosts: [n0, s1]", fabric)


def test_a_host_without_a_cable_is_named() -> None:
    builder = FabricBuilder()
    builder.node(NodeKind.SWITCH, 1, "leaf", ports=2)
    for host in (2, 3, 4):
        builder.node(NodeKind.CA, host, f"n{host} mlx5_0", ports=1)
    for host in (2, 3):
        builder.link(1, host, host, 1)
        builder.link(host, 1, 1, host)
    with pytest.raises(InputError, match="no connected HCA on n4"):
        job("hosts: n[2-4]", builder.build())
