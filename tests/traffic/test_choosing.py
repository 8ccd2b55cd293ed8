"""Hosts by number: few leaves, one under each, any, rail units; and the order leaf by leaf."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fabrics import two_levels

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.sources.reading import load_fabric
from fabctl.traffic.choosing import choose
from fabctl.traffic.job import parse_job, parse_jobs
from fabctl.traffic.placement import place, place_jobs

LEAVES = two_levels(12, 3, 3)
RAILS = two_levels(8, 2, 2, rails=4)


def chosen(text: str, fabric: Fabric, free: list[str] | None = None) -> list[str]:
    return choose(parse_job(text, "j.yaml"), fabric, list(fabric.hosts.name) if free is None else free)


def leaves(hosts: list[str], per_leaf: int = 3) -> set[int]:
    return {int(name[1:]) // per_leaf for name in hosts}


def names(*numbers: int) -> list[str]:
    return [f"n{number:04}" for number in numbers]


@settings(max_examples=60)
@given(st.sets(st.integers(0, 11), min_size=2), st.data())
def test_packed_takes_the_fewest_leaves(free: set[int], data: st.DataObject) -> None:
    wanted = data.draw(st.integers(2, len(free)))
    hosts = chosen(f"hosts: {wanted}\n", LEAVES, names(*sorted(free)))
    assert len(set(hosts)) == wanted
    assert set(hosts) <= set(names(*free))
    fewest = next(
        count
        for count in range(1, 5)
        if any(sum(number // 3 in some for number in free) >= wanted for some in combinations(range(4), count))
    )
    assert len(leaves(hosts)) == fewest


def test_packed_leaves_large_gaps_to_others() -> None:
    """Best fit: two hosts go under the leaf that has just two free."""
    assert chosen("hosts: 2\n", LEAVES, names(0, 1, 2, 3, 4, 6, 7, 8)) == names(3, 4)


def test_packed_stays_in_a_pod(project: object) -> None:
    fabric = load_fabric(f"{project}/topologies/selene-plan.yaml", None).fabric
    placed = place(parse_job("hosts: 100\n", "j.yaml"), fabric)
    unit = {int(name.split("-")[1]) - 1 for name in placed.hosts}
    assert len({number // 20 for number in unit}) == 5  # units of 20
    assert len({number // 140 for number in unit}) == 1  # pods of 7 units


def test_spread_takes_one_under_each_leaf_in_turn() -> None:
    assert chosen("hosts: 4\nplacement: spread\n", LEAVES) == names(0, 3, 6, 9)
    assert chosen("hosts: 6\nplacement: spread\n", LEAVES) == names(0, 1, 3, 4, 6, 9)


def test_random_is_seeded() -> None:
    drawn = {tuple(chosen(f"hosts: 4\nplacement: random:{seed}\n", LEAVES)) for seed in range(20)}
    assert len(drawn) > 15
    assert all(list(hosts) == sorted(hosts) for hosts in drawn)
    assert chosen("hosts: 4\nplacement: random:3\n", LEAVES) == chosen("hosts: 4\nplacement: random:3\n", LEAVES)


def test_given_takes_the_first() -> None:
    assert chosen("hosts: 4\nplacement: given\n", LEAVES, names(1, 4, 5, 7, 11)) == names(1, 4, 5, 7)


def test_rail_takes_whole_units() -> None:
    assert chosen("hosts: 4\nplacement: rail\n", RAILS, names(0, 2, 3, 5, 6, 7)) == names(2, 3, 6, 7)
    with pytest.raises(InputError, match="the rails of this fabric have no leaves of their own") as error:
        chosen("hosts: 4\nplacement: rail\n", LEAVES)
    assert error.value.where == "j.yaml:2:12"


def test_more_than_are_free() -> None:
    with pytest.raises(InputError, match="the job asks for 13 hosts, and 12 are free") as error:
        chosen("hosts: 13\n", LEAVES)
    assert error.value.where == "j.yaml:1:8"


def test_order_by_topology() -> None:
    placed = place(parse_job("hosts: [n0007, n0001, n0004, n0006, n0000]\norder: topology\n", "j.yaml"), LEAVES)
    assert placed.hosts == ("n0007", "n0006", "n0001", "n0000", "n0004")


# ---- several jobs -------------------------------------------------------------------------------------------------------


def test_jobs_that_ask_for_numbers_get_what_no_job_names() -> None:
    text = "jobs:\n  - hosts: 6\n  - hosts: 3\n    placement: given\n  - hosts: n[0000,0004,0005]\n"
    first, second, third = place_jobs(parse_jobs(text, "j.yaml"), LEAVES)
    assert third.hosts == ("n0000", "n0004", "n0005")
    assert first.hosts == tuple(names(6, 7, 8, 9, 10, 11))
    assert second.hosts == tuple(names(1, 2, 3))


def test_too_many_for_all() -> None:
    with pytest.raises(InputError, match="the job asks for 8 hosts, and 4 are free") as error:
        place_jobs(parse_jobs("jobs:\n  - hosts: 8\n  - hosts: 8\n", "j.yaml"), LEAVES)
    assert error.value.where == "j.yaml:3:12"


def test_a_host_in_two_jobs() -> None:
    text = "jobs:\n  - {name: a, hosts: 'n[0000-0003]'}\n  - {name: b, hosts: 'n[0003-0006]'}\n"
    with pytest.raises(InputError, match="host 'n0003' runs in two jobs, 'a' and 'b'") as error:
        place_jobs(parse_jobs(text, "j.yaml"), LEAVES)
    assert (error.value.where, error.value.hint) == ("j.yaml:3:22", "the first is at j.yaml:2:22")


def test_two_jobs_of_one_name() -> None:
    specs = [*parse_jobs("hosts: 2\n", "j.yaml"), *parse_jobs("hosts: 4\n", "other/j.yaml")]
    with pytest.raises(InputError, match="two jobs are called 'j'") as error:
        place_jobs(specs, LEAVES)
    assert (error.value.where, error.value.hint) == ("other/j.yaml:1:8", "the first is at j.yaml:1:8")
