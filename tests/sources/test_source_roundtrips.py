"""Random subnets written in each format, in random order, are read back whole."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from fabric_texts import (
    PLAIN_NAME,
    Subnet,
    cables,
    subnets,
    write_iblinkinfo,
    write_ibnetdiscover,
    write_ports_report,
    write_subnet_lst,
)
from hypothesis import given
from hypothesis import strategies as st

from fabctl.model.fabric import NodeKind
from fabctl.model.results import ParseReport
from fabctl.model.snapshot import dump_snapshot
from fabctl.sources import SOURCES
from fabctl.units import Speed

SEEDS = st.integers(0, 2**32)
OPENSM_SPEEDS = (Speed.SDR, Speed.DDR, Speed.QDR, Speed.FDR10, Speed.FDR, Speed.EDR)


def assert_nothing_lost(report: ParseReport, *but: str) -> None:
    for kind in ("unknown", "tool_messages", "one_sided", "undeclared", "disagreements", "duplicates"):
        assert kind in but or not getattr(report, kind), (kind, getattr(report, kind))


@given(subnets(), SEEDS)
def test_ibnetdiscover(subnet: Subnet, seed: int) -> None:
    fabric, report = SOURCES.load("ibnetdiscover").parse(write_ibnetdiscover(subnet, random.Random(seed)), "dump")
    assert_nothing_lost(report)
    assert fabric.digest == subnet.fabric().digest


@given(subnets(PLAIN_NAME, OPENSM_SPEEDS), SEEDS)
def test_subnet_lst(subnet: Subnet, seed: int) -> None:
    subnet.nodes = [node for node in subnet.nodes if subnet.links_of(node)]
    if not subnet.nodes:
        return
    fabric, report = SOURCES.load("subnet-lst").parse(write_subnet_lst(subnet, random.Random(seed)), "dump")
    assert_nothing_lost(report)
    assert cables(fabric) == cables(subnet.fabric())
    assert fabric.node_name == subnet.fabric().node_name
    assert fabric.port_lid.tolist() == subnet.fabric().port_lid.tolist()


@pytest.mark.parametrize(("source", "write"), [("ibnetdiscover-p", write_ports_report), ("iblinkinfo", write_iblinkinfo)])
@given(data=st.data(), seed=SEEDS)
def test_port_lines(source: str, write: Callable[[Subnet, random.Random], str], data: st.DataObject, seed: int) -> None:
    subnet = data.draw(subnets(PLAIN_NAME))
    fabric, report = SOURCES.load(source).parse(write(subnet, random.Random(seed)), "dump")
    assert_nothing_lost(report)
    expected = subnet.fabric()
    assert cables(fabric) == cables(expected)
    switches = slice(expected.n_switches)
    assert fabric.n_switches == expected.n_switches
    assert fabric.node_guid[switches].tolist() == expected.port_guid[expected.port_number == 0].tolist()
    assert fabric.node_port_count[switches].tolist() == expected.node_port_count[switches].tolist()
    # a CA without cables has no line; each of the others is one node, with its own description
    connected = [node for node in subnet.nodes if node.kind != NodeKind.SWITCH and subnet.links_of(node)]
    assert sorted(fabric.node_name[fabric.n_switches :]) == sorted(node.name for node in connected)


@given(subnets())
def test_snapshot(subnet: Subnet) -> None:
    fabric = subnet.fabric()
    text = dump_snapshot(fabric)
    again, report = SOURCES.load("snapshot").parse(text, "snapshot")
    assert_nothing_lost(report)
    assert again.digest == fabric.digest
    assert dump_snapshot(again) == text
