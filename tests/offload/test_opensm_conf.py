"""opensm.conf and partitions.conf as text: what OpenSM reads is read, and what is not meant stays to the byte."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from realstack import tool

from fabctl.errors import InputError, LockedError
from fabctl.install.settings import read_settings
from fabctl.install.swap import lock
from fabctl.model.offload_plan import Place
from fabctl.offload.drivers.opensm import OpensmDriver
from fabctl.offload.drivers.opensm_conf import RESTART_KEYS, value_of, with_value
from fabctl.offload.partitions_conf import definitions, with_definition, without_definitions

KEYS = ("qos", "qos_sl2vl", "routing_engine", "lmc")
values = st.from_regex(r"[A-Za-z0-9,/:._-]([A-Za-z0-9,/:._ -]{0,20}[A-Za-z0-9,/:._-])?", fullmatch=True)
lines = st.one_of(
    st.builds(
        "{}{}{}{}{}".format,
        st.sampled_from(["", " ", "\t"]),
        st.sampled_from(KEYS),
        st.sampled_from([" ", "\t  "]),
        values,
        st.sampled_from(["", "  ", " # why", "# qos TRUE", "\t#"]),
    ),
    st.sampled_from(
        ["", "   ", "# qos TRUE", " # lmc 1", "unknown_key 7  ", "qos", "lmc ", 'routing_engine "ftree,updn"  # both', "é"]
    ),
)
texts = st.builds(
    lambda rows, last: "".join(row + end for row, end in rows) + last,
    st.lists(st.tuples(lines, st.sampled_from(["\n", "\r\n"])), max_size=8),
    st.one_of(st.just(""), lines),
)


@given(texts, st.sampled_from(KEYS), values)
def test_a_value_comes_and_goes_without_a_trace(text: str, key: str, value: str) -> None:
    old = value_of(text, key)
    new = with_value(text, key, value)
    assert value_of(new, key) == value
    assert [value_of(new, other) for other in KEYS if other != key] == [value_of(text, other) for other in KEYS if other != key]
    assert with_value(new, key, old) == text


@pytest.mark.parametrize("value", ["", " x", "x ", "a#b", 'a"b', "a\nqos FALSE", "x" * 1100])
def test_what_opensm_would_misread_is_refused(value: str) -> None:
    with pytest.raises(InputError):
        with_value("qos FALSE\n", "routing_engine", value)


READ = [
    ("routing_engine ftree # x\n", "routing_engine"),
    ('routing_engine "ftree,updn"  \n', "routing_engine"),
    ("qos TRUE\r\n", "qos"),
    ("qos FALSE\nqos TRUE", "qos"),
    (" qos\tTRUE", "qos"),
    ("qos_sl2vl 0,1, 2 # c\n", "qos_sl2vl"),
    ("qos TRUE#x\n", "qos"),
    ("log_file /a b/c d\n", "log_file"),
]


@pytest.mark.parametrize(("text", "key"), READ)
def test_opensm_reads_the_same(text: str, key: str, tmp_path: Path) -> None:
    """OpenSM writes the settings that it has read with ``-c``."""
    (tmp_path / "in.conf").write_bytes(text.encode())
    command = [tool("opensm"), "-F", str(tmp_path / "in.conf"), "-c", str(tmp_path / "out.conf")]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30, cwd=tmp_path)
    assert value_of((tmp_path / "out.conf").read_text(), key) == value_of(text, key)


def test_commented_and_misspelt_lines_are_none() -> None:
    for text in ("#qos TRUE\n", " # qos TRUE\n", "qos=TRUE\n", "QOS TRUE\n", "qos\n", "qos   \n", "qosx TRUE\n"):
        assert value_of(text, "qos") is None


def test_restart_keys_are_keys_of_opensm(tmp_path: Path) -> None:
    command = [tool("opensm"), "-c", str(tmp_path / "all.conf")]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30, cwd=tmp_path)
    known = {line.split()[0] for line in (tmp_path / "all.conf").read_text().splitlines() if line[:1].isalpha()}
    assert RESTART_KEYS - known <= {"dimn_ports_file"}, "in the sources, not in Debian's build"


PARTITIONS = """\
# tenants; all of them: see the wiki
Default=0x7fff,ipoib:ALL=full; # keep
A = 0x8011 , defmember=full : 0x1, 0x2 ,
   0x3=limited;  # three
B=0x12:
  mgid=ff12::1,sl=1,mtu=3
  ALL;
Odd : SELF;C=18:0x9;
"""


def test_partitions_are_read() -> None:
    found = [(one.name, one.key, one.members) for one in definitions(PARTITIONS)]
    assert found == [
        ("Default", 0x7FFF, "ALL=full"),
        ("A", 0x11, "0x1,0x2,0x3=limited"),
        ("B", 0x12, "mgid=ff12::1,sl=1,mtu=3 ALL"),
        ("Odd", None, "SELF"),
        ("C", 18, "0x9"),
    ]
    assert [one.name for one in definitions(PARTITIONS) if one.asks_for("ff12::1")] == ["B"]
    assert definitions("D=1:\n mgid=FF12:0:0::0016 \n mgid=ff12::2\n ALL;")[0].asks_for("ff12::16")


@pytest.mark.parametrize("text", [PARTITIONS, "", "# nothing", "Default=0x7fff:ALL=full;", PARTITIONS.replace("\n", "\r\n")])
def test_a_partition_comes_and_goes(text: str) -> None:
    new = with_definition(text, "T", 0x77, ["ipoib"], ["0x5=full"])
    mine = [one for one in definitions(new) if one.key == 0x77]
    assert [(one.name, one.members) for one in mine] == [("T", "0x5=full")]
    gone = without_definitions(new, mine)
    assert gone in (text, text + "\n"), "a last line is ended"


def test_a_partition_is_taken_out_with_its_neighbours_and_comments_left() -> None:
    (a,) = [one for one in definitions(PARTITIONS) if one.name == "A"]
    assert without_definitions(PARTITIONS, [a]) == PARTITIONS.replace(
        "A = 0x8011 , defmember=full : 0x1, 0x2 ,\n   0x3=limited;  ", ""
    )
    (c,) = [one for one in definitions(PARTITIONS) if one.name == "C"]
    assert without_definitions(PARTITIONS, [c]) == PARTITIONS.replace("C=18:0x9;\n", "")


def test_no_file_is_written_while_routes_are_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "opensm.conf").write_text("qos FALSE\n")
    driver = OpensmDriver(tmp_path)
    settings = read_settings(["opensm", "-F", str(tmp_path / "opensm.conf")], tmp_path, tmp_path)
    monkeypatch.setattr(OpensmDriver, "settings", settings)
    place = Place("opensm", "fabric", "conf:qos")
    with lock(tmp_path), pytest.raises(LockedError, match="fabctl route install is at work"):
        driver.write(place, "TRUE")
    assert driver.read(place) == "FALSE"
    driver.write(place, "TRUE")
    assert driver.read(place) == "TRUE"
