"""The grid of ranks against Megatron-LM's own rule, written here as loops over coordinates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabctl.errors import InputError
from fabctl.traffic.parallelism import Grid, grid, stage_layers
from fabctl.traffic.training_spec import Parallelism

SMALL = st.integers(1, 4)


def place(rank: int, sizes: list[int]) -> tuple[int, ...]:
    """Return the place of a rank on axes given fastest first."""
    places = []
    for size in sizes:
        places.append(rank % size)
        rank //= size
    return tuple(places)


def by_hand(n: int, sizes: list[int], free: list[int]) -> list[list[int]]:
    """Return the groups of ranks that agree on all axes but `free`, by first member."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for rank in range(n):
        key = tuple(where for axis, where in enumerate(place(rank, sizes)) if axis not in free)
        groups.setdefault(key, []).append(rank)
    return sorted(groups.values())


@given(SMALL, SMALL, SMALL, SMALL)
def test_dense_groups(tp: int, cp: int, dp: int, pp: int) -> None:
    n = tp * cp * dp * pp
    cut = grid(Parallelism(tp=tp, cp=cp, pp=pp, dp=dp, etp=tp), n)
    sizes = [tp, cp, dp, pp]
    for axes, free in ((("tp",), [0]), (("cp",), [1]), (("dp",), [2]), (("pp",), [3]), (("cp", "dp"), [1, 2])):
        assert cut.groups(*axes).tolist() == by_hand(n, sizes, free)
    assert cut.stage(np.arange(n, dtype=np.int32)).tolist() == [place(rank, sizes)[3] for rank in range(n)]


@given(SMALL, SMALL, SMALL, SMALL)
def test_expert_groups(etp: int, ep: int, edp: int, pp: int) -> None:
    n = etp * ep * edp * pp
    cut = Grid(tp=1, cp=1, dp=n // pp, pp=pp, ep=ep, etp=etp, edp=edp)
    for axis, free in (("etp", 0), ("ep", 1), ("edp", 2)):
        assert cut.groups(axis).tolist() == by_hand(n, [etp, ep, edp, pp], [free])


@given(SMALL, SMALL, SMALL, SMALL)
def test_groups_with_replicas_last(tp: int, cp: int, dp: int, pp: int) -> None:
    n = tp * cp * dp * pp
    cut = grid(Parallelism(tp=tp, cp=cp, pp=pp, dp=dp, ep=cp, etp=tp, rank_order="tp-cp-pp-dp"), n)
    sizes = [tp, cp, pp, dp]
    for axes, free in ((("tp",), [0]), (("cp",), [1]), (("pp",), [2]), (("dp",), [3]), (("cp", "dp"), [1, 3])):
        assert cut.groups(*axes).tolist() == by_hand(n, sizes, free)
    for axis, free in (("etp", 0), ("ep", 1), ("edp", 3)):
        assert cut.groups(axis).tolist() == by_hand(n, sizes, [free])
    assert cut.stage(np.arange(n, dtype=np.int32)).tolist() == [place(rank, sizes)[2] for rank in range(n)]


def test_llama_3s_example() -> None:
    """Grattafiori et al., figure 5: 16 GPUs cut [TP 2, CP 2, PP 2, DP 2]: GPU 0 shares TP with 1, CP with 2, PP with 4, DP with 8."""
    cut = grid(Parallelism(tp=2, cp=2, pp=2, dp=2, etp=2, rank_order="tp-cp-pp-dp"), 16)
    assert [cut.groups(axis)[0].tolist() for axis in ("tp", "cp", "pp", "dp")] == [[0, 1], [0, 2], [0, 4], [0, 8]]


def test_megatrons_example() -> None:
    """The docstring of ``initialize_model_parallel``: 16 GPUs, tp 2 and pp 4."""
    cut = grid(Parallelism(tp=2, pp=4, etp=2), 16)
    assert cut.dp == 2
    assert cut.groups("dp").tolist() == [[0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9, 11], [12, 14], [13, 15]]
    assert cut.groups("tp").tolist() == [[2 * pair, 2 * pair + 1] for pair in range(8)]
    assert cut.groups("pp").tolist() == [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]


def test_experts_without_ep_are_cut_as_all_else() -> None:
    cut = grid(Parallelism(tp=4, etp=4), 16)
    assert (cut.ep, cut.etp, cut.edp) == (1, 4, 4)
    cut = grid(Parallelism(tp=4, ep=8, etp=1), 32)
    assert (cut.ep, cut.etp, cut.edp) == (8, 1, 4)


@pytest.mark.parametrize(
    ("cut", "ranks", "message", "hint"),
    [
        ({"tp": 8, "pp": 4, "dp": 3}, 64, "the job has 64 ranks, and tp 8 x pp 4 x dp 3 is 96", "dp: 2 uses all ranks"),
        ({"tp": 8, "pp": 3}, 64, "the job has 64 ranks, and tp 8 x pp 3 is 24", "tp x cp x pp = 24 must divide"),
        ({"tp": 128}, 64, "groups of tp 128 are larger than the job, 64 ranks", ""),
        ({"dp": 65}, 64, "groups of dp 65 are larger than the job, 64 ranks", ""),
        ({"ep": 128}, 64, "groups of ep 128 are larger than the job", ""),
        ({"dp": 32}, 64, "the job has 64 ranks, and dp 32 is 32", "dp: 64 uses all ranks"),
        ({"pp": 2, "ep": 24}, 64, "32 ranks of a stage do not divide into ep 24 x etp 1 = 24", ""),
        (
            {"pp": 2, "ep": 4, "rank_order": "tp-cp-pp-dp"},
            64,
            "in the order tp-cp-pp-dp experts and",
            "ep x etp is 4, tp x cp is 1",
        ),
        ({"etp": 7}, 64, "64 ranks of a stage do not divide into ep 1 x etp 7 = 7", ""),
    ],
)
def test_ranks_that_do_not_divide(cut: dict[str, int], ranks: int, message: str, hint: str) -> None:
    places = {"": "j.yaml:2:1", **{key: f"j.yaml:2:{key}" for key in cut}}
    with pytest.raises(InputError) as error:
        grid(Parallelism(**{"etp": cut.get("tp", 1)} | cut, places=places), ranks)
    assert error.value.message.startswith(message)
    assert error.value.hint.startswith(hint)
    assert error.value.where.startswith("j.yaml:2:")


def test_layers_of_stages() -> None:
    assert stage_layers(Parallelism(pp=4), 8).tolist() == [2, 2, 2, 2]
    assert stage_layers(Parallelism(pp=16, ends_as_layers=True), 126).tolist() == [7, *[8] * 14, 7]
    assert stage_layers(Parallelism(pp=2, layers_per_stage=(5, 3)), 8).tolist() == [5, 3]
    assert stage_layers(Parallelism(pp=2, interleave=2), 8).tolist() == [2, 2, 2, 2]
