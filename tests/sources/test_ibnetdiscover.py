"""``ibnetdiscover``: every count of the independent scanner, every dialect, every kind of damage."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from fabctl.errors import InputError
from fabctl.model.fabric import MAX_UNICAST_LID, Fabric, NodeKind, speed_name
from fabctl.model.results import ParseReport
from fabctl.sources.ibnetdiscover import SOURCE
from fabctl.sources.reading import load_fabric

DUMPS = (
    "selene-compute-2021.txt",
    "ufm-lab-small.txt",
    "hdr-directors-2021-terminal-log.txt",
    "dgx-ndr-2025.txt",
    "gb200-lone-host.txt",
    "jabl-1.txt",
    "jabl-2.txt",
    "jabl-4.txt",
)


@pytest.fixture(scope="module")
def loaded(fixtures: Path) -> Callable[[str], tuple[Fabric, ParseReport, str]]:
    """Load a dump once for all tests."""
    cache: dict[str, tuple[Fabric, ParseReport, str]] = {}

    def load(name: str) -> tuple[Fabric, ParseReport, str]:
        if name not in cache:
            path = fixtures / "ibnetdiscover" / name
            done = load_fabric(str(path))
            cache[name] = done.fabric, done.report, path.read_bytes().decode("utf-8")
        return cache[name]

    return load


@pytest.fixture(scope="module")
def expected(fixtures: Path) -> dict[str, dict[str, Any]]:
    return json.loads((fixtures / "ibnetdiscover/expected-counts.json").read_text())


def test_no_dump_is_left_out(expected: dict[str, dict[str, Any]]) -> None:
    assert set(expected) == set(DUMPS)


def _own_lids(text: str) -> Counter[int]:
    switch = re.findall(r'^(?:Switch).*" (?:base|enhanced) port 0 lid (\d+) lmc', text, re.MULTILINE)
    other = re.findall(r"^\[\d+\]\([0-9a-f]+\).*# lid (\d+) lmc", text, re.MULTILINE)
    return Counter(int(lid) for lid in switch + other)


@pytest.mark.parametrize("dump", DUMPS)
class TestCounts:
    def test_text(self, dump: str, loaded: Any, expected: Any) -> None:
        _, report, text = loaded(dump)
        counts = expected[dump]
        assert text.count("\r\n") == counts["CRLF"]
        assert report.lines == counts["lines"]
        assert len(report.unknown) + len(report.headings) == counts["unparsed"]
        assert not report.tool_messages
        assert not report.duplicates

    def test_nodes(self, dump: str, loaded: Any, expected: Any) -> None:
        fabric, _, _ = loaded(dump)
        counts = expected[dump]
        kinds = Counter({NodeKind.SWITCH: "Switch", NodeKind.CA: "Ca", NodeKind.ROUTER: "Rt"}[kind] for kind in fabric.node_kind)
        assert kinds == counts["nodes"]
        assert np.count_nonzero(fabric.is_aggregation) == counts["aggregation_nodes"]
        assert Counter(f"0x{device:x}" for device in fabric.device_id) == counts["devids"]
        names = Counter(name for name, kind in zip(fabric.node_name, fabric.node_kind, strict=True) if kind == NodeKind.CA)
        assert {name: n for name, n in names.items() if n > 1} == counts["shared_desc"]
        images = Counter(f"0x{guid:x}" for guid in fabric.system_guid[: fabric.n_switches] if guid)
        assert {guid: n for guid, n in images.items() if n > 1} == counts["multi_asic_sysimg"]

    def test_links(self, dump: str, loaded: Any, expected: Any) -> None:
        fabric, report, _ = loaded(dump)
        counts = expected[dump]
        assert len(fabric.channel_port) == counts["link_lines"]
        assert fabric.n_cables == counts["undirected_links"]
        src, dst = fabric.channel_src, fabric.channel_dst
        inner = (src < fabric.n_switches) & (dst < fabric.n_switches)
        assert np.count_nonzero(inner) == 2 * counts["switch_switch"]
        assert np.count_nonzero(src == dst) == 2 * counts["self_loop_links"]
        pairs = Counter(tuple(sorted(pair)) for pair in zip(src[inner].tolist(), dst[inner].tolist(), strict=True))
        assert max(pairs.values(), default=0) == 2 * counts["max_parallel"]
        assert len(report.one_sided) == counts["one_sided"]
        assert len(report.undeclared) == counts["undeclared_peers"]
        connected = np.unique(src)
        assert fabric.n_nodes - len(connected) == counts["zero_link_count"]
        ends = zip(fabric.port_speed[fabric.channel_port], fabric.port_lanes[fabric.channel_port], strict=True)
        assert Counter(speed_name(speed, lanes) for speed, lanes in ends) == counts["speeds"]

    def test_components(self, dump: str, loaded: Any, expected: Any) -> None:
        fabric, _, _ = loaded(dump)
        sizes = sorted((len(part) for part in nx.connected_components(fabric.graph())), reverse=True)
        assert sizes == expected[dump]["components"]

    def test_lids(self, dump: str, loaded: Any, expected: Any) -> None:
        fabric, _, text = loaded(dump)
        counts = expected[dump]
        written = _own_lids(text)
        assert {str(lid): n for lid, n in written.items() if n > 1} == counts["dup_lids"]
        real = {lid for lid in written if 0 < lid <= MAX_UNICAST_LID}
        lids = fabric.port_lid[fabric.port_lid > 0].tolist()
        assert sorted(lids) == sorted(real)
        connected_cas = (fabric.port_peer >= 0) & (fabric.node_kind[fabric.port_node] == NodeKind.CA)
        assert np.count_nonzero(connected_cas & (fabric.port_lid == 0)) == counts["dup_lids"].get("65535", 0)


TOOL_LINE = "src/query_smp.c:197; umad (DR path slid 0; dlid 0; 0,1,3) bad status 110; Connection timed out"
PROGRESS = 'DR path slid 0; dlid 0; 0,1 -> new Switch {0000000000200000} portnum 0 lid 0-0 ""'

DIALECTS: dict[str, Callable[[str], str]] = {
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "bare CRs": lambda text: text.replace("\n", "\r\r\n"),
    "byte order mark": lambda text: "\ufeff" + text,
    "tabs to blanks": lambda text: text.expandtabs(),
    "tabs lost": lambda text: text.replace("\t", ""),
    "glued": lambda text: re.sub(r"^(Switch|Ca)\s+", r"\1", text, flags=re.MULTILINE),
    "indented": lambda text: re.sub(r"^", "  ", text, flags=re.MULTILINE),
    "no blank lines": lambda text: re.sub(r"\n\n+", "\n", text),
    "separators hold a blank": lambda text: text.replace("\n\n", "\n \n"),
    "no comments": lambda text: re.sub(r"^#.*\n", "", text, flags=re.MULTILINE),
    "no final newline": lambda text: text.rstrip("\n"),
    "upper case hex": lambda text: re.sub(
        r"(?<=[SH]-)[0-9a-f]{16}|(?<=[(x])[0-9a-f]+(?=[)\n(])", lambda hit: hit[0].upper(), text
    ),
    "leading zeros": lambda text: re.sub(r"(?<=0x)[0-9a-f]{5,}|(?<=\()[0-9a-f]{5,}", lambda hit: hit[0].zfill(16), text),
    "full": lambda text: re.sub(r"(?<=\dx[SFEH]DR)$|(?<=x(?:FDR10))$", " s=4 w=2 v=4 e=4", text, flags=re.MULTILINE),
    "xsigo": lambda text: re.sub(r"(?<=\dx[SFEH]DR)$", " slot 7", text, flags=re.MULTILINE),
    "chassis": lambda text: re.sub(r"^(sysimgguid=\w+|switchguid=.*)$", r"\1\t\t# Chassis 1 line 2", text, flags=re.MULTILINE),
    "external ports": lambda text: re.sub(r'^(\[\d+\])(.*"\[\d+\])', r"\1[ext 2]\2[ext 14]", text, flags=re.MULTILINE),
    "other prefix": lambda text: text.replace("=0x", "="),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("dump", ["tool-output/ibnetdiscover.txt", "ibnetdiscover/ufm-lab-small.txt"])
def test_dialects_say_the_same(fixtures: Path, tmp_path: Path, dump: str, dialect: str) -> None:
    text = (fixtures / dump).read_text()
    other = DIALECTS[dialect](text)
    assert other != text
    path = tmp_path / "dump"
    path.write_text(other, newline="")
    done = load_fabric(str(path))
    assert done.fabric.digest == SOURCE.parse(text, dump)[0].digest
    assert done.report.source == "ibnetdiscover"
    assert not done.report.unknown
    assert not done.report.undeclared


@pytest.mark.parametrize("flag", ["--full", "-f", "-g", "-m", "-s"])
def test_flags_of_the_tool_say_the_same(fixtures: Path, flag: str) -> None:
    plain = load_fabric(str(fixtures / "tool-output/ibnetdiscover.txt"))
    other = load_fabric(str(fixtures / f"tool-output/ibnetdiscover{flag}.txt"))
    assert other.fabric.digest == plain.fabric.digest
    assert not other.report.unknown
    assert not other.report.tool_messages


@pytest.mark.parametrize("every", [1, 2, 5])
def test_tool_messages_in_between(fixtures: Path, every: int) -> None:
    lines = (fixtures / "tool-output/ibnetdiscover.txt").read_text().splitlines()
    noisy = [noise for i, line in enumerate(lines) for noise in ([TOOL_LINE, line] if i % every == 0 else [line])]
    fabric, report = SOURCE.parse("\n".join([*noisy, PROGRESS, ""]), "dump")
    assert fabric.digest == SOURCE.parse("\n".join([*lines, ""]), "dump")[0].digest
    assert [noisy[remark.line - 1] for remark in report.tool_messages] == [TOOL_LINE] * noisy.count(TOOL_LINE)
    assert [remark.text for remark in report.headings] == [PROGRESS]
    assert not report.unknown


def test_two_discoveries_in_one_file(fixtures: Path) -> None:
    text = (fixtures / "tool-output/ibnetdiscover.txt").read_text()
    with pytest.raises(InputError, match="a second discovery begins here") as caught:
        SOURCE.parse(text + text, "two.txt")
    assert caught.value.where == f"two.txt:{text.count(chr(10)) + 2}"


def test_two_discoveries_without_their_headers(fixtures: Path) -> None:
    text = re.sub(r"^#.*\n", "", (fixtures / "tool-output/ibnetdiscover.txt").read_text(), flags=re.MULTILINE)
    fabric, report = SOURCE.parse(text + text, "two.txt")
    assert len(report.duplicates) == fabric.n_nodes


@pytest.mark.parametrize(
    "dump", ["tool-output/ibnetdiscover.txt", "ibnetdiscover/ufm-lab-small.txt", "ibnetdiscover/dgx-ndr-2025.txt"]
)
def test_redacted_guids_are_refused_where_they_are(fixtures: Path, dump: str) -> None:
    lines = (fixtures / dump).read_text().splitlines()
    number = next(i for i, line in enumerate(lines) if line.startswith("["))
    for damaged in ('[2]\t"H-<redacted>"[1](<redacted>) \t\t# "node"', '[2]\t"H-XXXXXXXXXXXXXXXX"[1]\t# "node" lid 4 4xHDR'):
        with pytest.raises(InputError, match="a GUID is redacted") as caught:
            SOURCE.parse("\n".join([*lines[:number], damaged, *lines[number + 1 :], ""]), dump)
        assert caught.value.where == f"{dump}:{number + 1}"
