from __future__ import annotations

import pytest

from fabctl.errors import ExitCode, InputError
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.job import JobSpec, Placed, parse_job


def test_every_key() -> None:
    text = """\
hosts: ["luna-[001-004]", gw]
ranks_per_host: 8
rails: [3, 1]
order: random
seed: 7
collective: [alltoall, all_reduce, alltoall]
sizes: [1M, 64K, 1024K]
pxn: true
"""
    assert parse_job(text, "j.yaml") == JobSpec(
        path="j.yaml",
        name="j",
        hosts=(Placed("luna-[001-004]", "j.yaml:1:9"), Placed("gw", "j.yaml:1:27")),
        ranks_per_host=8,
        ranks_where="j.yaml:2:17",
        rails=(1, 3),
        rails_where="j.yaml:3:8",
        order="random",
        seed=7,
        collectives=("alltoall", "all_reduce"),
        sizes=(65536, 1 << 20),
        pxn=True,
    )


def test_the_shortest_job_has_the_defaults_of_no_job() -> None:
    assert parse_job("hosts: all\n", "j.yaml") == JobSpec(path="j.yaml", name="j", hosts=(Placed("all", "j.yaml:1:8"),))
    assert JobSpec().hosts == (Placed("all", ""),)
    assert JobSpec().collectives == tuple(COLLECTIVES.names())


def test_a_pattern_takes_the_place_of_collectives() -> None:
    spec = parse_job("hosts: all\npattern: shift\nshift: -3\nsize: 1GB\n", "j.yaml")
    assert (spec.pattern, spec.shift, spec.collectives, spec.sizes) == ("shift", -3, (), (10**9,))


def test_collective_all_means_all() -> None:
    assert parse_job("hosts: all\ncollective: all\n", "j.yaml").collectives == tuple(COLLECTIVES.names())


@pytest.mark.parametrize(
    ("line", "column", "message", "hint"),
    [
        ("colective: all_reduce", 1, "unknown key 'colective'", "did you mean 'collective'?"),
        ("collective: allreduce", 13, "unknown collective 'allreduce'", "did you mean 'all_reduce'?"),
        ("collective: []", 13, "'collective' is an empty list", ""),
        ("pattern: bisection", 10, "unknown pattern 'bisection'", "did you mean 'bisect'?"),
        ("order: sortd", 8, "unknown order 'sortd'", "did you mean 'sorted'?"),
        ("size: 0", 7, "a message of size 0 moves nothing", ""),
        ("size: -8", 7, "a message cannot have a negative size: -8", ""),
        ("size: big", 7, "'big' is not a size", "write bytes"),
        ("sizes: [8, 0]", 12, "a message of size 0 moves nothing", ""),
        ("sizes: []", 8, "'sizes' is an empty list", ""),
        ("sizes: 8", 8, "'sizes' must be a list, not '8'", ""),
        ("rails: []", 8, "'rails' is an empty list", "leave the key out"),
        ("rails: [0, 0]", 12, "rail 0 is here twice", ""),
        ("rails: [-1]", 9, "'rails[0]' must be at least 0, not -1", ""),
        ("ranks_per_host: 0", 17, "'ranks_per_host' must be at least 1, not 0", ""),
        ("ranks_per_host: eight", 17, "'ranks_per_host' must be a whole number, not 'eight'", ""),
        ("seed: -1", 7, "'seed' must be at least 0, not -1", ""),
        ("shift: 2", 8, "'shift' belongs to the pattern of that name", "pattern: shift"),
        ("pxn: maybe", 6, "'pxn' must be true or false, not 'maybe'", ""),
    ],
)
def test_faults_have_their_place(line: str, column: int, message: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        parse_job(f"hosts: all\n{line}\n", "j.yaml")
    assert error.value.where == f"j.yaml:2:{column}"
    assert error.value.message == message
    assert error.value.hint.startswith(hint)
    assert error.value.exit_code == ExitCode.INPUT


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("size: 8\n", "j.yaml:1:1", "key 'hosts' is missing"),
        ("hosts: []\n", "j.yaml:1:8", "'hosts' is an empty list"),
        ("hosts:\n", "j.yaml:1:7", "'hosts' must be a word, not empty"),
        ("hosts: all\nsize: 8\nsizes: [8]\n", "j.yaml:3:8", "'size' and 'sizes' exclude each other"),
        ("hosts: all\ncollective: all\npattern: ring\n", "j.yaml:3:10", "'collective' and 'pattern' exclude each other"),
        ("hosts: all\npattern: ring\nshift: 1\n", "j.yaml:3:8", "'shift' belongs to the pattern of that name"),
    ],
)
def test_faults_of_the_whole(text: str, where: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_job(text, "j.yaml")
    assert (error.value.where, error.value.message) == (where, message)
