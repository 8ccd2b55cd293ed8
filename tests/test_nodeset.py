from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabctl.errors import ExitCode
from fabctl.nodeset import MAX_NAMES, NodesetError, expand, fold

NAMES = st.text(st.sampled_from("ab-_.019 (é"), min_size=1, max_size=12).map(str.strip).filter(bool)
GRIDS = st.tuples(st.sampled_from(["n", "luna-", "r1n", "0x0-"]), st.integers(0, 1200), st.integers(1, 60), st.integers(1, 4))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (" a , b ", ["a", "b"]),
        ("a[1-3]", ["a1", "a2", "a3"]),
        ("a[08-11]b", ["a08b", "a09b", "a10b", "a11b"]),
        ("a[98-101]", ["a98", "a99", "a100", "a101"]),
        ("a[098-101]", ["a098", "a099", "a100", "a101"]),
        ("a[0]", ["a0"]),
        ("a[1,3-4,1]", ["a1", "a3", "a4", "a1"]),
        ("a[1, 3]", ["a1", "a3"]),
        ("r[1-2]n[01-02]", ["r1n01", "r1n02", "r2n01", "r2n02"]),
        ("[1-2]", ["1", "2"]),
        ("[1-2][3-4]", ["13", "14", "23", "24"]),
        ("gpu node (0x01)", ["gpu node (0x01)"]),
    ],
)
def test_expand(text: str, names: list[str]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize(
    ("text", "message", "part"),
    [
        ("", "the node set is empty", ""),
        ("  ", "the node set is empty", ""),
        ("a,,b", "a name is missing between commas", "a,,b"),
        ("a,", "a name is missing between commas", "a,"),
        ("a[1-3", "a bracket is left open", "a[1-3"),
        ("b,a]1", "brackets do not match", "a]"),
        ("a[[1]]", "brackets do not match", "a[["),
        ("a[]", "this is no number or range", "[]"),
        ("a[1-]", "this is no number or range", "1-"),
        ("a[1-2-3]", "this is no number or range", "1-2-3"),
        ("a[x]", "this is no number or range", "x"),
        ("a[\u0661]", "this is no number or range", "\u0661"),
        ("a[3-1]", "this range runs backwards", "3-1"),
        ("a[01-1]", "the ends of this range differ in width", "01-1"),
        ("a[9-010]", "the ends of this range differ in width", "9-010"),
        ("a[0-9999999999]", f"more than {MAX_NAMES:,} names", "0-9999999999"),
        ("a[1-1000][1-1000],b", f"more than {MAX_NAMES:,} names", "b"),
    ],
)
def test_errors_name_the_fragment(text: str, message: str, part: str) -> None:
    with pytest.raises(NodesetError) as error:
        expand(text)
    assert error.value.message == (f"{message}: '{part}'" if part else message)
    assert error.value.part == part
    assert error.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["b", "a"], "a,b"),
        (["n1", "n2", "n10"], "n[1-2,10]"),
        (["n10", "n9", "n9"], "n[9-10]"),
        (["n08", "n09", "n10", "n100"], "n[08-10,100]"),
        (["n1", "n01"], "n[1,01]"),
        ([f"n{i:02}" for i in range(98, 102)], "n[98-101]"),
        ([f"r{r}n{n}" for r in (1, 2) for n in (1, 2, 3)], "r[1-2]n[1-3]"),
        (["r1n1", "r1n2", "r2n1"], "r1n[1-2],r2n1"),
        (["leaf-2", "gw", "leaf-10"], "gw,leaf-[2,10]"),
        (["0x0008f10400000002", "0x0008f10400000001"], "0x0008f10400000001,0x0008f10400000002"),
        (["n0000000000000000001", "n0000000000000000002"], "n0000000000000000001,n0000000000000000002"),
    ],
)
def test_fold(names: list[str], text: str) -> None:
    assert fold(names) == text


@pytest.mark.parametrize("name", ["", "a,b", "a[1]", "a]", " a", "a "])
def test_fold_refuses_names_that_would_not_come_back(name: str) -> None:
    with pytest.raises(NodesetError):
        fold(["n1", name])


@given(st.lists(NAMES))
def test_fold_loses_and_invents_no_name(names: list[str]) -> None:
    text = fold(names)
    back = expand(text) if names else []
    assert set(back) == set(names)
    assert len(back) == len(set(names)), "a name is in the text once"
    assert fold(back) == text
    assert fold(reversed(names)) == text


@given(st.lists(GRIDS, min_size=1, max_size=4))
def test_ranges_of_numbers_come_back(grids: list[tuple[str, int, int, int]]) -> None:
    names = [f"{prefix}{number:0{width}}" for prefix, first, count, width in grids for number in range(first, first + count)]
    text = fold(names)
    assert set(expand(text)) == set(names)
    runs = {(prefix, width) for prefix, _, _, width in grids}
    assert text.count("[") <= len(runs), "one bracket per pattern and width, at most"


@given(st.text(st.sampled_from("a1,[]- 0"), max_size=14))
def test_any_text_is_names_or_an_error(text: str) -> None:
    try:
        names = expand(text)
    except NodesetError:
        return
    assert names
    assert all(name and not re.search(r"[,\[\]]", name) for name in names)


def test_eleven_thousand_names_fold_to_one_term() -> None:
    names = [f"node{number:05}" for number in range(11_664)]
    random.Random(1).shuffle(names)
    assert fold(names) == "node[00000-11663]"
    assert expand("node[00000-11663]") == sorted(names)


@pytest.mark.parametrize("file", ["testcase1.conf", "testcase3.conf"])
def test_slurms_own_node_sets_fold_back_to_themselves(fixtures: Path, file: str) -> None:
    text = (fixtures / "slurm" / file).read_text()
    sets = re.findall(r"(?:Switches|Nodes)=(\S+)", text)
    assert len(sets) > 10
    for written in sets:
        names = expand(written)
        assert len(names) == len(set(names))
        assert fold(names) == written.replace("[10,11]", "[10-11]")


def test_slurms_tree_names_each_switch_and_node_once(fixtures: Path) -> None:
    text = (fixtures / "slurm" / "testcase3.conf").read_text()
    declared = re.findall(r"^SwitchName=(\S+)", text, re.MULTILINE)
    below = [name for written in re.findall(r"Switches=(\S+)", text) for name in expand(written)]
    assert sorted(below) == sorted(set(declared) - {"root"})
    nodes = [name for written in re.findall(r"Nodes=(\S+)", text) for name in expand(written)]
    assert nodes == expand("peta[10000-10399]")
