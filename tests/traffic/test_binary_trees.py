"""NCCL's double binary trees for every number of nodes up to 1,024, by their properties and by NCCL's rule written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fabctl.traffic.collectives.tree import binary_tree, double_binary_tree

SIZES = range(2, 1025)


def nccl_up(n: int, rank: int) -> int:
    """Return ncclGetBtree's parent: the rank's binary number ends in 1 and z zeros; that 1 is cleared, the digit before it set."""
    if rank == 0:
        return -1
    digits = f"{rank:b}".rjust(12, "0")
    z = len(digits) - len(digits.rstrip("0"))
    head = digits[: len(digits) - z - 1]
    parent = int(head[:-1] + "1" + "0" * (z + 1), 2)
    return parent if parent < n else int(head + "0" * (z + 1), 2)


def nccl_down(n: int, rank: int) -> set[int]:
    """Return ncclGetBtree's children: half the lowest bit below, and as far above as there are ranks."""
    if rank == 0:
        return {1 << ((n - 1).bit_length() - 1)} if n > 1 else set()
    low = (rank & -rank) // 2
    if not low:
        return set()
    above = low
    while above and rank + above >= n:
        above //= 2
    return {rank - low} | ({rank + above} if above else set())


def children(parents: np.ndarray) -> list[list[int]]:
    below: list[list[int]] = [[] for _ in parents]
    for node, parent in enumerate(parents.tolist()):
        if parent >= 0:
            below[parent].append(node)
    return below


def in_order(below: list[list[int]], top: int) -> list[int]:
    """Return the nodes below and at `top`: smaller child, itself, larger child."""
    smaller = [node for child in below[top] if child < top for node in in_order(below, child)]
    larger = [node for child in below[top] if child > top for node in in_order(below, child)]
    return [*smaller, top, *larger]


def depth(parents: np.ndarray) -> int:
    deepest = 0
    for node in range(len(parents)):
        steps, here = 0, node
        while parents[here] >= 0:
            here, steps = int(parents[here]), steps + 1
            assert steps <= len(parents), "a circle"
        deepest = max(deepest, steps)
    return deepest


def test_first_tree_is_the_one_of_nccl_s_source() -> None:
    for n in SIZES:
        parents = binary_tree(n)
        assert parents.tolist() == [nccl_up(n, rank) for rank in range(n)]
        assert [set(nodes) for nodes in children(parents)] == [nccl_down(n, rank) for rank in range(n)]


def test_second_tree_is_the_mirror_image_or_the_shift() -> None:
    for n in SIZES:
        first, second = double_binary_tree(n).tolist()
        assert first == binary_tree(n).tolist()
        if n % 2 == 0:
            assert second[n - 1] == -1
            assert all(second[n - 1 - rank] == n - 1 - first[rank] for rank in range(1, n))
        else:
            assert second[1] == -1
            assert all(second[(rank + 1) % n] == (first[rank] + 1) % n for rank in range(1, n))


@pytest.mark.parametrize("n", [*range(2, 70), 127, 128, 129, 500, 648, 1000, 1023, 1024])
def test_trees_are_balanced_search_trees_whose_leaves_alternate(n: int) -> None:
    both = double_binary_tree(n)
    below = [children(parents) for parents in both]
    assert in_order(below[0], 0) == list(range(n)), "the first tree is in order"
    for parents, nodes in zip(both, below, strict=True):
        assert np.count_nonzero(parents < 0) == 1
        assert max(map(len, nodes)) <= 2
        assert len(nodes[int(np.argmin(parents))]) == 1, "a root has one child"
        assert depth(parents) <= math.ceil(math.log2(n))
    inner_in_both = [node for node in range(n) if below[0][node] and below[1][node]]
    assert inner_in_both in ([], [0])
    assert not inner_in_both or n % 2


def test_pictures_of_nccl_s_source() -> None:
    """The three trees drawn in trees.cc: 14 ranks, the mirror image for 12, the shift for 13."""
    assert binary_tree(14).tolist() == [-1, 2, 4, 2, 8, 6, 4, 6, 0, 10, 12, 10, 8, 12]
    assert double_binary_tree(12)[1].tolist() == [1, 3, 1, 11, 5, 7, 5, 3, 9, 7, 9, -1]
    assert double_binary_tree(13)[1].tolist() == [9, -1, 3, 5, 3, 9, 7, 5, 7, 1, 11, 0, 11]
