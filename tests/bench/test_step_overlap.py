"""The time of a step against a simulation of its pipeline, and what hides against what there is to hide behind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabctl.bench.step_compute import StageTimes
from fabctl.bench.step_overlap import Pipeline, Schedule, schedule
from fabctl.model.step_view import BACKWARD, BUBBLE, FORWARD, StepPhase


def phase(
    kind: str, seconds: float, times: int = 1, *, overlapped: bool = False, operation: str = "", inside: bool = False
) -> StepPhase:
    operation = operation or {"pp": "sendrecv", "ep": "alltoall"}.get(kind, "all_reduce")
    return StepPhase(kind, kind, operation, "Ring", "Simple", 1, 2, 1e6, times, seconds, "cable", "x", inside, overlapped)


def took(found: Schedule) -> float:
    return sum(segment.seconds for segment in found.segments)


def part(found: Schedule, name: str) -> float:
    return sum(segment.seconds for segment in found.segments if segment.name == name)


def stages(forward: list[float], backward: list[float]) -> StageTimes:
    return StageTimes(np.array(forward), np.array(backward))


def simulated(forward: list[float], backward: list[float], m: int) -> float:
    """Run one forward, one backward (1F1B) on every stage, each task once its stage is free and its input there."""
    p = len(forward)
    order = []
    for stage in range(p):
        ahead = min(p - 1 - stage, m)
        tasks = [("F", number) for number in range(ahead)]
        for number in range(m - ahead):
            tasks += [("F", ahead + number), ("B", number)]
        order.append(tasks + [("B", number) for number in range(m - ahead, m)])
    done: dict[tuple[str, int, int], float] = {}
    free, position = [0.0] * p, [0] * p
    while any(position[stage] < 2 * m for stage in range(p)):
        for stage in range(p):
            while position[stage] < 2 * m:
                what, number = order[stage][position[stage]]
                needs = (what, stage + (-1 if what == "F" else 1), number)
                if what == "B" and stage == p - 1:
                    needs = ("F", stage, number)
                if what == "F" and stage == 0:
                    ready = 0.0
                elif needs in done:
                    ready = done[needs]
                else:
                    break
                free[stage] = max(free[stage], ready) + (forward[stage] if what == "F" else backward[stage])
                done[what, stage, number] = free[stage]
                position[stage] += 1
    return max(free)


@given(st.integers(1, 8), st.integers(1, 20), st.integers(1, 9), st.integers(1, 9))
def test_equal_stages_take_what_a_pipeline_takes(p: int, m: int, forward: int, backward: int) -> None:
    found = schedule([], Pipeline(m, p), stages([forward] * p, [backward] * p))
    if m >= p:
        assert took(found) == pytest.approx(simulated([forward] * p, [backward] * p, m))
    assert took(found) == pytest.approx((m + p - 1) * (forward + backward))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 3), st.integers(0, 12))
def test_unequal_stages_take_at_most_what_is_predicted(forward: list[float], ratio: int, more: int) -> None:
    """The fullest stage never rests, or it waits for no more than a microbatch on all others."""
    backward, m = [ratio * one for one in forward], len(forward) + more
    found = schedule([], Pipeline(m, len(forward)), stages(forward, backward))
    computing = part(found, FORWARD) + part(found, BACKWARD)
    assert computing <= simulated(forward, backward, m) <= took(found)


@given(st.integers(2, 16), st.integers(1, 8), st.integers(1, 4))
def test_interleaving_divides_the_bubble(p: int, v: int, rounds: int) -> None:
    """Narayanan et al., section 2.2: (p - 1) / (v m) of the time without it."""
    m = rounds * p
    found = schedule([], Pipeline(m, p, v), stages([1.0] * p, [2.0] * p))
    assert part(found, BUBBLE) / (part(found, FORWARD) + part(found, BACKWARD)) == pytest.approx((p - 1) / (v * m))


def test_what_does_not_hide_waits_in_the_bubble_too() -> None:
    phases = [phase("tp", 0.01, 40), phase("pp", 0.02, 8), phase("embedding", 0.5), phase("dp", 1.0)]
    found = schedule(phases, Pipeline(4, 3), stages([1.0] * 3, [2.0] * 3))
    assert [one.exposed_seconds for one in found.phases] == pytest.approx([0.4, 0.16, 0.5, 1.0])
    assert part(found, BUBBLE) == pytest.approx(2 * (3.0 + (0.4 + 0.16) / 4))
    assert took(found) == pytest.approx(12 + 0.4 + 0.16 + 0.5 + 1.0 + part(found, BUBBLE))
    assert found.hidden_seconds == 0.0


def test_transfers_that_hide_show_in_the_bubble() -> None:
    hidden = schedule([phase("pp", 0.02, 8, overlapped=True)], Pipeline(4, 3), stages([1.0] * 3, [2.0] * 3))
    assert part(hidden, "pp") == 0.0
    assert part(hidden, BUBBLE) == pytest.approx(2 * (3.0 + 0.16 / 4))


@pytest.mark.parametrize(
    ("seconds", "waits"),
    [(0.5, 0.05), (2.0, 0.2), (2.5, 0.5)],
    ids=["one layer of ten never hides", "just as long as backward", "longer than backward"],
)
def test_gradients_hide_behind_the_last_backward(seconds: float, waits: float) -> None:
    pipeline = Pipeline(5, layers=10)
    found = schedule([phase("dp", seconds, overlapped=True)], pipeline, stages([1.0], [2.0]))
    assert found.phases[0].exposed_seconds == pytest.approx(waits)
    assert found.hidden_seconds == pytest.approx(seconds - waits)


def test_gathered_parameters_hide_behind_the_first_forward() -> None:
    phases = [
        phase("dp", 1.9, overlapped=True, operation="reduce_scatter"),
        phase("dp", 1.9, overlapped=True, operation="all_gather"),
    ]
    found = schedule(phases, Pipeline(5, zero=1), stages([1.0], [2.0]))
    assert [one.exposed_seconds for one in found.phases] == pytest.approx([0.0, 0.9])


def test_fsdp_hides_behind_every_microbatch() -> None:
    phases = [phase("dp", 0.1, 100, overlapped=True, operation="all_gather")]
    assert took(schedule(phases, Pipeline(4, layers=25, zero=3), stages([1.0], [2.0]))) == pytest.approx(12.0)
    phases = [phase("dp", 0.15, 100, overlapped=True, operation="all_gather")]
    assert took(schedule(phases, Pipeline(4, layers=25, zero=3), stages([1.0], [2.0]))) == pytest.approx(15.0)


def test_two_collectives_share_what_they_hide_behind_only_where_they_share_a_medium() -> None:
    outside = [phase("ep", 8.0, overlapped=True), phase("cp", 8.0, overlapped=True)]
    found = schedule(outside, Pipeline(4), stages([1.0], [2.0]))
    assert [one.exposed_seconds for one in found.phases] == pytest.approx([2.0, 2.0])
    apart = [phase("ep", 8.0, overlapped=True), phase("tp", 8.0, overlapped=True, inside=True)]
    assert schedule(apart, Pipeline(4), stages([1.0], [2.0])).hidden_seconds == pytest.approx(16.0)


def test_without_compute_only_what_cannot_hide_waits() -> None:
    phases = [phase("tp", 0.01, 40), phase("dp", 1.0, overlapped=True)]
    found = schedule(phases, Pipeline(4, 2), None)
    assert (part(found, "tp"), part(found, "dp"), part(found, BUBBLE)) == pytest.approx((0.4, 0.0, 0.1))
    assert found.hidden_seconds == pytest.approx(1.0)
    assert not part(found, FORWARD)


def test_unknown_times_count_as_nothing() -> None:
    unknown = StepPhase("tp", "tp", "all_reduce", "ring", "", 1, 2, 1e6, 4, None, "", "", True, False)
    assert took(schedule([unknown], Pipeline(4), stages([1.0], [2.0]))) == pytest.approx(12.0)
