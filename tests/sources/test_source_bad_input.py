"""Input that is no fabric, or only a part of one: always an error with a place, or a remark; never a traceback, never silence."""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fabctl.errors import ExitCode, FabctlError, InputError, UsageError
from fabctl.model.results import ParseReport
from fabctl.sources import SOURCES, TABLE_SOURCES
from fabctl.sources.reading import load_fabric, load_tables

WHOLE_DUMPS = {
    "tool-output/ibnetdiscover.txt": "ibnetdiscover",
    "tool-output/ibnetdiscover--full.txt": "ibnetdiscover",
    "ibnetdiscover/jabl-1.txt": "ibnetdiscover",
    "ibnetdiscover/jabl-2.txt": "ibnetdiscover",
    "ibnetdiscover/jabl-4.txt": "ibnetdiscover",
    "tool-output/ibnetdiscover-p.txt": "ibnetdiscover-p",
    "tool-output/iblinkinfo-l.txt": "iblinkinfo",
    "tool-output/iblinkinfo--switches-only-l.txt": "iblinkinfo",
    "tool-output/osmdump/opensm-subnet.lst": "subnet-lst",
    "tool-output/ibsim-small.net": "ibsim",
    "tool-output/ring6.net": "ibsim",
}
TEXT_SOURCES = [name for name in SOURCES.names() if name != "topology"]


def refused(path: Path | str, source: str | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        load_fabric(str(path), source)
    assert caught.value.exit_code == ExitCode.INPUT == 3
    assert caught.value.where.startswith(str(path))
    return caught.value


def write(folder: Path, data: bytes) -> Path:
    path = folder / "input"
    path.write_bytes(data)
    return path


# ---- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\n", b" \t\r\n\n", gzip.compress(b"", mtime=0)])
def test_empty(tmp_path: Path, data: bytes) -> None:
    assert refused(write(tmp_path, data)).message == "the file is empty"


def test_binary(fixtures: Path) -> None:
    error = refused(fixtures / "tool-output/ibnd.cache")
    assert error.message == "this is a binary file, not text"
    assert "ibnetdiscover --load-cache" in error.hint


def test_directory(tmp_path: Path) -> None:
    assert refused(tmp_path).message == "this is a directory, not a file"


def test_missing(tmp_path: Path) -> None:
    assert refused(tmp_path / "nothing").message == "no such file"


def test_damaged_gzip(fixtures: Path, tmp_path: Path) -> None:
    whole = gzip.compress((fixtures / "tool-output/ibnetdiscover.txt").read_bytes())
    for data in (whole[:-9], whole[:40], whole[:300] + b"\0\0\0\0" + whole[304:], b"\x1f\x8b"):
        assert refused(write(tmp_path, data)).message.startswith("damaged gzip file")


@pytest.mark.parametrize("text", ["hello\n", "<html></html>", "0x0001 003\n", "{}", "\ufeff", "\udcff" * 3, "[1]\n"])
def test_no_known_format(tmp_path: Path, text: str) -> None:
    error = refused(write(tmp_path, text.encode("utf-8", "surrogateescape")))
    assert error.message.startswith("no known source format: the text begins with")
    assert "ibnetdiscover" in error.hint


def test_tables_in_place_of_a_fabric_and_the_other_way_round(fixtures: Path) -> None:
    outputs = fixtures / "tool-output"
    assert refused(outputs / "dump_fts.txt").message.startswith("this is no source but a table source: dump_lfts")
    fabric = load_fabric(str(outputs / "ibnetdiscover.txt")).fabric
    with pytest.raises(InputError, match="this is no table source but a source: ibnetdiscover"):
        load_tables(str(outputs / "ibnetdiscover.txt"), fabric)


def test_unknown_format_name(fixtures: Path) -> None:
    with pytest.raises(UsageError, match="unknown source 'ibnetdiscovr'") as caught:
        load_fabric(str(fixtures / "tool-output/ibnetdiscover.txt"), "ibnetdiscovr")
    assert "did you mean 'ibnetdiscover'?" in caught.value.hint


@pytest.mark.parametrize("source", TEXT_SOURCES)
@pytest.mark.parametrize("dump", [*WHOLE_DUMPS, "tool-output/dump_fts.txt"])
def test_wrong_format_name(fixtures: Path, dump: str, source: str) -> None:
    if WHOLE_DUMPS.get(dump) == source:
        load_fabric(str(fixtures / dump), source)
    elif (WHOLE_DUMPS.get(dump), source) == ("ibnetdiscover", "ibsim"):  # ibsim's grammar overlaps
        with contextlib.suppress(InputError):
            assert load_fabric(str(fixtures / dump), source).report.unknown
    else:
        refused(fixtures / dump, source)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings_gzip_and_stdin(fixtures: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, packed: bool) -> None:
    text = (fixtures / "tool-output/ibnetdiscover.txt").read_text().replace("spine", "Rückgrat-")
    data = gzip.compress(text.encode(encoding)) if packed else text.encode(encoding)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    loaded = load_fabric("-")
    assert "Rückgrat--0" in loaded.fabric.labels
    assert not loaded.report.unknown


# ---- cut short ---------------------------------------------------------------------------------------------------------


def says_something(report: ParseReport) -> bool:
    return bool(report.unknown or report.one_sided or report.undeclared or report.disagreements) or any(
        "without a cable" in note or "do not list all" in note for note in report.notes
    )


@pytest.mark.parametrize("dump", WHOLE_DUMPS)
def test_cut_anywhere_is_never_taken_for_whole(fixtures: Path, dump: str) -> None:
    text = (fixtures / dump).read_text()
    source = SOURCES.load(WHOLE_DUMPS[dump])
    whole = source.parse(text, dump)[0].digest
    silent = []
    for end in range(len(text)):
        try:
            fabric, report = source.parse(text[:end], dump)
        except InputError as error:
            place = re.fullmatch(rf"{re.escape(dump)}(?::(\d+))?", error.where)
            assert place, error  # noqa: PT017
        else:
            if fabric.digest != whole and not says_something(report):
                silent.append(end)
    # formats whose every line is a record: what stands before a line's end may be a smaller, closed fabric
    at_line_ends = [end for end in silent if "\n" in text[end - 1 : end + 1]]
    assert silent == at_line_ends
    assert len(at_line_ends) <= {"ibnetdiscover": 0, "ibnetdiscover-p": 0}.get(WHOLE_DUMPS[dump], 2)


HUGE = "9" * 5000


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("ibnetdiscover", f'Switch\t{HUGE} "S-0000000000000001"\t\t# "x" base port 0 lid 1 lmc 0'),
        ("ibnetdiscover", f'Switch\t4 "S-0000000000000001"\t\t# "x" base port 0 lid {HUGE} lmc 0'),
        ("ibnetdiscover", f'[{HUGE}]\t"S-0000000000000001"[1]\t\t# "x" lid 1 4xHDR'),
        ("ibnetdiscover", f'[1]\t"S-0000000000000001"[1]\t\t# "x" lid {HUGE} 4xHDR'),
        ("ibnetdiscover", f'[1]\t"S-0000000000000001"[1]\t\t# "x" lid 1 {HUGE}xHDR'),
        ("ibnetdiscover", f"vendid=0x{HUGE}"),
        ("ibnetdiscover-p", f"SW {HUGE} 1 0x20 4x SDR 'a'"),
        ("ibnetdiscover-p", f"SW 1 1 0x{HUGE} 4x SDR 'a'"),
        ("iblinkinfo", f'0x20 "a" {HUGE} 1[  ] ==(Down/ Polling)==> [  ] "" ( )'),
        ("iblinkinfo", '0x20 "a" 1 1[  ] ==( 4X 1.2.3 Gbps Active/  LinkUp)==>  0x21 1 1[  ] "b" ( )'),
        ("ibsim", f'Switch {HUGE} "a"'),
        ("ibsim", f"switchguid=0x{HUGE}"),
        ("ibsim", f"devid={HUGE}"),
    ],
)
def test_numbers_that_are_none(source: str, line: str) -> None:
    with pytest.raises(InputError, match=r"no (node|port)"):
        SOURCES.load(source).parse(line + "\n", "huge")


# ---- noise -------------------------------------------------------------------------------------------------------------


@st.composite
def damaged(draw: st.DrawFn, text: str) -> str:
    """Cut, repeat, swap or overwrite pieces of a text."""
    for _ in range(draw(st.integers(1, 4))):
        a, b = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        b = min(b, a + 200)
        piece = text[a:b]
        text = text[:a] + draw(st.sampled_from(["", piece + piece, piece[::-1]]) | st.text(max_size=12)) + text[b:]
    return text


NOISE = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.mark.parametrize("dump", WHOLE_DUMPS)
@NOISE
@given(data=st.data())
def test_damaged_text_raises_nothing_but_our_errors(fixtures: Path, dump: str, data: st.DataObject) -> None:
    text = data.draw(damaged((fixtures / dump).read_text()))
    try:
        fabric, _ = SOURCES.load(WHOLE_DUMPS[dump]).parse(text, dump)
    except FabctlError:
        return
    assert fabric.digest
    assert fabric.graph().number_of_nodes() == fabric.n_nodes


@pytest.mark.parametrize("source", TEXT_SOURCES)
@NOISE
@given(text=st.text())
def test_any_text_raises_nothing_but_our_errors(source: str, text: str) -> None:
    with pytest.raises(FabctlError):
        SOURCES.load(source).parse(text, "noise")


@pytest.mark.parametrize("dump", ["dump_fts.txt", "dump_fts-n.txt", "osmdump/opensm-lfts.dump", "osmdump/opensm.fdbs"])
@NOISE
@given(data=st.data())
def test_damaged_tables_raise_nothing_but_our_errors(fixtures: Path, tmp_path: Path, dump: str, data: st.DataObject) -> None:
    fabric = load_fabric(str(fixtures / "tool-output/ibnetdiscover.txt")).fabric
    path = tmp_path / "tables"
    path.write_text(data.draw(damaged((fixtures / "tool-output" / dump).read_text())), encoding="utf-8", errors="replace")
    try:
        tables = load_tables(str(path), fabric)
    except FabctlError:
        return
    assert tables.lft.shape[0] == fabric.n_switches


@pytest.mark.parametrize("source", TABLE_SOURCES.names())
@NOISE
@given(text=st.text())
def test_any_text_is_no_table(source: str, text: str) -> None:
    with pytest.raises(FabctlError):
        TABLE_SOURCES.load(source).parse(text, "noise")
