from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chakra_writer import COMPUTE, Record, collective, field, jsonized, number, recv, send, trace
from hypothesis import given
from hypothesis import strategies as st
from small_fabrics import two_levels

from fabctl.errors import ExitCode, InputError
from fabctl.traffic.explicit import Operation
from fabctl.traffic.inputs import JOB_SOURCES
from fabctl.traffic.inputs.chakra import parse_traces
from fabctl.traffic.inputs.chakra_nodes import json_nodes, protobuf_nodes
from fabctl.traffic.inputs.reading import job_paths, load_jobs
from fabctl.traffic.job import JobSpec
from fabctl.traffic.phases import job_traffic

WORLD = tuple(range(4))


def both(nodes: list[Record]) -> dict[int, list[Record]]:
    """Return a trace of two ranks that do the same."""
    return {0: nodes, 1: nodes}


def loaded(records: dict[int, list[Record]], write: Callable[[list[Record]], bytes] = trace, suffix: str = "et") -> JobSpec:
    parts = [(f"t/trace.{rank}.{suffix}", write(nodes)) for rank, nodes in records.items()]
    return parse_traces(parts, "t")


def brief(spec: JobSpec) -> list[tuple[str, tuple[int, ...], int, int]]:
    return [(found.collective, found.ranks, found.size_bytes, found.times) for found in spec.operations]


# ---- what is read ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("write", "suffix"), [(trace, "et"), (jsonized, "json")])
def test_collectives_of_all_ranks(write: Callable[[list[Record]], bytes], suffix: str) -> None:
    nodes = [COMPUTE, collective("ALL_REDUCE", 1024), COMPUTE, collective("ALL_GATHER", 100), collective("ALL_REDUCE", 1024)]
    spec = loaded(dict.fromkeys(WORLD, nodes), write, suffix)
    assert brief(spec) == [("all_reduce", WORLD, 1024, 2), ("all_gather", WORLD, 400, 1)]
    assert (spec.name, spec.n_ranks, spec.collectives, spec.hosts[0].text) == ("t", 4, (), "all")


@pytest.mark.parametrize("form", ["int32", "int64", "uint32", "uint64", "sint64", "fixed64"])
def test_numbers_come_in_all_kinds(form: str) -> None:
    spec = loaded(both([collective("REDUCE_SCATTER", 300, form=form)]))
    assert brief(spec) == [("reduce_scatter", (0, 1), 300, 1)]


def test_communicators_are_the_ranks_that_name_them() -> None:
    records = {
        rank: [collective("ALL_REDUCE", 64, f"tp{rank // 2}"), collective("ALL_TO_ALL", 8, f"ep{rank % 2}")] for rank in WORLD
    }
    assert brief(loaded(records)) == [
        ("all_reduce", (0, 1), 64, 1),
        ("alltoall", (0, 2), 8, 1),
        ("alltoall", (1, 3), 8, 1),
        ("all_reduce", (2, 3), 64, 1),
    ]


def test_a_file_may_name_the_ranks_of_communicators() -> None:
    parts: list[tuple[str, bytes]] = [(f"trace.{rank}.et", trace([collective("BROADCAST", 5, "g")])) for rank in (0, 1)]
    spec = parse_traces([*parts, ("comm_group.json", b'{"g": [1, 0]}')], "t")
    assert brief(spec) == [("broadcast", (1, 0), 5, 1)]


def test_sends_pair_up_with_receives() -> None:
    records = {0: [send(0, 1, 77), send(0, 1, 77)], 1: [recv(0, 1, 77), recv(0, 1, 77), send(1, 2, 9)], 2: [recv(1, 2, 9)]}
    assert brief(loaded(records)) == [("sendrecv", (0, 1), 77, 2), ("sendrecv", (1, 2), 9, 1)]


def test_a_pair_communicator_says_to_whom() -> None:
    peerless: Record = ("COMM_SEND_NODE", "s", [("comm_size", "int64", 6), ("pg_name", "string", "pp")])
    assert brief(loaded({0: [peerless], 1: [("COMM_RECV_NODE", "r", peerless[2])]})) == [("sendrecv", (0, 1), 6, 1)]


def test_barriers_move_nothing_and_what_has_no_flows_is_told() -> None:
    spec = loaded(both([collective("BARRIER", 0), collective("REDUCE", 8), collective("ALL_REDUCE", 8)]))
    assert brief(spec) == [("all_reduce", (0, 1), 8, 1)]
    assert spec.notes == ("left out: 2 nodes of REDUCE, which fabctl has no flows for",)


def test_uneven_all_to_alls_count_with_their_largest() -> None:
    spec = loaded({0: [collective("ALL_TO_ALL", 10)], 1: [collective("ALL_TO_ALL", 0)]})
    assert brief(spec) == [("alltoall", (0, 1), 10, 1)]
    assert "the largest size counts" in spec.notes[0]


def test_a_schema_stands_for_the_version() -> None:
    assert protobuf_nodes(trace([COMPUTE], version="", schema="1.0.2-chakra.0.0.4"), "t") == []


def test_a_reader_of_protobuf_agrees_with_the_encoder() -> None:
    """The encoder of these tests is judged by Google's own library where it is installed."""
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="et.proto", syntax="proto3")
    for name, members in {
        "BoolList": [("values", 1, 8, 3)],
        "Attribute": [
            ("name", 1, 9, 1),
            ("int64_val", 9, 3, 1),
            ("sint64_val", 17, 18, 1),
            ("fixed64_val", 21, 6, 1),
            ("string_val", 29, 9, 1),
        ],
        "Node": [("id", 1, 4, 1), ("name", 2, 9, 1), ("type", 3, 5, 1), ("data_deps", 5, 4, 3), ("attr", 10, 11, 3)],
    }.items():
        message = file.message_type.add(name=name)
        for member, index, kind, label in members:
            message.field.add(
                name=member, number=index, type=kind, label=label, **{"type_name": ".Attribute"} if kind == 11 else {}
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName("Node"))
    data = trace([COMPUTE, collective("ALL_REDUCE", 1 << 50, "tp", form="sint64")])
    nodes = []
    at = 0
    while at < len(data):
        length, shift = 0, 0
        while True:
            byte, at = data[at], at + 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        nodes.append(data[at : at + length])
        at += length
    read = factory.FromString(nodes[2])
    assert (read.id, read.name, read.type, list(read.data_deps)) == (1, "coll", 7, [0])
    assert {item.name: item.sint64_val or item.string_val for item in read.attr} == {
        "is_cpu_op": "",
        "comm_type": "",
        "comm_size": 1 << 50,
        "pg_name": "tp",
    }


# ---- on a fabric -------------------------------------------------------------------------------------------------------


def test_the_traffic_of_a_trace() -> None:
    fabric = two_levels(8, 4, 2, rails=2)
    nodes = {rank: [collective("ALL_REDUCE", 1000, f"dp{rank % 2}")] * 3 for rank in range(8)}
    nodes[0] += [send(0, 6, 50)]
    nodes[6] += [recv(0, 6, 50)]
    job = job_traffic(loaded(nodes), fabric)
    assert job.hosts == ("n0000", "n0001", "n0002", "n0003")
    assert [(phase.name, phase.times) for phase in job.phases] == [
        ("trace: all_reduce, ring", 3),
        ("trace: sendrecv, pipeline", 1),
    ]
    assert job.notes[0] == (
        "traces name no hosts: their 8 ranks fill the first that hold them (a job file with trace: says others)"
    )
    ring, pair = job.phases
    assert [(phase.groups, phase.group_size) for phase in job.phases] == [(2, 4), (1, 2)]
    assert sorted(zip(ring.src_rank.tolist(), ring.dst_rank.tolist(), strict=True)) == sorted((r, (r + 2) % 8) for r in range(8))
    np.testing.assert_allclose(ring.flows.weight, 2 * 3 / 4 * 1000)
    assert (pair.src_rank.tolist(), pair.dst_rank.tolist(), pair.flows.weight.tolist()) == ([0], [6], [50.0])


@pytest.mark.parametrize(("ranks", "said"), [(3, "3 ranks do not fill hosts of 2"), (2, "2 ranks fit on one host of 2")])
def test_ranks_that_do_not_fill_hosts(ranks: int, said: str) -> None:
    spec = loaded({rank: [collective("ALL_REDUCE", 8)] for rank in range(ranks)})
    with pytest.raises(InputError, match=said):
        job_traffic(spec, two_levels(8, 4, 2, rails=2))


def test_ranks_beyond_the_job() -> None:
    spec = JobSpec(collectives=(), operations=(Operation("all_reduce", (0, 16), 8, "t.et, byte 9"),))
    with pytest.raises(InputError, match="the job has 16 ranks, and rank 16 is not among them") as error:
        job_traffic(spec, two_levels(8, 4, 2, rails=2))
    assert error.value.where == "t.et, byte 9"


# ---- bad traces --------------------------------------------------------------------------------------------------------


def refused(records: dict[int, list[Record]]) -> InputError:
    with pytest.raises(InputError) as error:
        loaded(records)
    return error.value


def test_another_version_is_named_beside_ours() -> None:
    for data, found in ((trace([], version="0.0.7"), "0.0.7"), (trace([], version="", schema="1.1.1-chakra.2.0.0"), "2.0.0")):
        with pytest.raises(InputError, match=rf"schema '{found}', fabctl reads 0.0.4 and 1.0.0"):
            protobuf_nodes(data, "t.0.et")
    with pytest.raises(InputError, match=r"schema '0.1.0', fabctl reads 0.0.4") as error:
        json_nodes(b'\n{"version": "0.1.0"}', "t.0.json")
    assert error.value.where == "t.0.json:2"


def test_a_trace_of_before_the_metadata() -> None:
    node = field(1, 3) + field(2, "name") + field(3, 7)
    with pytest.raises(InputError, match=r"does not begin with GlobalMetadata: its schema is older than 0.0.4"):
        protobuf_nodes(number(len(node)) + node, "t.0.et")


def test_every_cut_of_a_trace_is_told_or_ends_between_nodes() -> None:
    data = trace([COMPUTE, collective("ALL_REDUCE", 4096, "tp"), send(0, 1, 5)])
    whole = protobuf_nodes(data, "t.0.et")
    ends = [len(trace([COMPUTE, collective("ALL_REDUCE", 4096, "tp"), send(0, 1, 5)][:count])) for count in range(4)]
    for cut in range(1, len(data)):
        if cut in ends:
            assert protobuf_nodes(data[:cut], "t.0.et") == whole[: max(0, ends.index(cut) - 1)]
        else:
            with pytest.raises(InputError, match="byte") as error:
                protobuf_nodes(data[:cut], "t.0.et")
            assert error.value.where == "t.0.et"


def test_a_cut_names_the_byte() -> None:
    data = trace([collective("ALL_REDUCE", 4096)])
    begin = 1 + data[0]
    with pytest.raises(InputError, match=f"ends at byte {len(data) - 3}, within the message that begins at byte {begin}"):
        protobuf_nodes(data[:-3], "t.0.et")


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ({0: [COMPUTE], 1: [COMPUTE]}, "no communication between ranks"),
        ({0: [collective("ALL_REDUCE", 8)]}, "no trace of rank 1"),
        ({0: [collective("ALL_REDUCE", 8)], 2: [collective("ALL_REDUCE", 8)]}, "no trace of rank 1"),
        ({0: [collective("ALL_REDUCE", 8)], 1: [collective("ALL_REDUCE", 9)]}, "all_reduce of 9 bytes, where .* all_reduce of 8"),
        ({0: [collective("ALL_REDUCE", 8)], 1: [collective("BROADCAST", 8)]}, "broadcast of 8 bytes, where .* all_reduce of 8"),
        ({0: [collective("ALL_REDUCE", 8)] * 2, 1: [collective("ALL_REDUCE", 8)]}, "ranks 0 and 1 disagree: 2 and 1 collectives"),
        ({0: [collective("ALL_REDUCE", 8)], 1: [COMPUTE]}, "rank 1 takes no part in the collectives of all ranks"),
        (both([collective("ALL_REDUCE", 0)]), "0 bytes"),
        (both([collective("ALL_REDUCE", -5)]), "negative size: -5"),
        (both([collective("ALL_REDUCE", 1 << 63, form="uint64")]), "more than 9223372036854775807"),
        (both([collective("ALL_GATHER", 1 << 62, form="uint64")]), "more than 9223372036854775807"),
        (both([("COMM_COLL_NODE", "c", [("comm_type", "int64", 0)])]), "'c' has no comm_size"),
        (both([("COMM_COLL_NODE", "c", [("comm_size", "int64", 4)])]), "'c' is of no known comm_type: None"),
        (both([("COMM_COLL_NODE", "c", [("comm_type", "int64", 44)])]), "'c' is of no known comm_type: 44"),
        (
            both([("COMM_COLL_NODE", "c", [("comm_type", "string", "AR")])]),
            "comm_type .* is no whole number: AR",
        ),
        (
            both([("COMM_COLL_NODE", "c", [("comm_type", "int64", 0), ("involved_dim", "bools", [True, False])])]),
            "dimensions of a topology",
        ),
        ({0: [send(0, 1, 5)], 1: [COMPUTE]}, "rank 0 sends 5 bytes 1 times to rank 1, which receives 0"),
        ({0: [COMPUTE], 1: [recv(0, 1, 5)]}, "rank 0 sends 5 bytes 0 times to rank 1, which receives 1"),
        ({0: [send(0, 7, 5)], 1: [COMPUTE]}, "comm_dst of 'send 0 7' is 7: no other rank of 2"),
        ({0: [send(0, 0, 5)], 1: [COMPUTE]}, "comm_dst of 'send 0 0' is 0"),
        ({0: [("COMM_SEND_NODE", "s", [("comm_size", "int64", 6)])], 1: [COMPUTE]}, "'s' does not say to whom"),
    ],
)
def test_traces_that_do_not_fit_together(records: dict[int, list[Record]], said: str) -> None:
    error = refused(records)
    assert re.search(said, error.message), error.message
    assert error.where.startswith("t")


def test_file_names_hold_ranks() -> None:
    good = trace([collective("ALL_REDUCE", 8)])
    with pytest.raises(InputError, match="holds its rank"):
        parse_traces([("trace.et", good), ("trace.1.et", good)], "t")
    with pytest.raises(InputError, match=r"this and a\.0\.et are both of rank 0"):
        parse_traces([("a.0.et", good), ("b.0.et", good)], "t")


def test_json_that_is_no_trace() -> None:
    for text, said, line in (
        ('{"version": "0.0.4"}\n{"type": "COMM_COLL_NODE", "attr": 3}', "'attr' is no list", 2),
        ('{"version": "0.0.4"}\n[1]', "no node", 2),
        ('{"version": "0.0.4"}\n\n{"name": ', "no JSON", 3),
        ('{"schema": "1.1.1-chakra.0.0.4", "nodes": []}', "PyTorch's trace", 1),
        (
            '{"version": "0.0.4"}\n{"type": "COMM_COLL_NODE", "attr": [{"name": "comm_size", "int64Val": "x"}]}',
            "no whole number",
            2,
        ),
    ):
        with pytest.raises(InputError, match=said) as error:
            json_nodes(text.encode(), "t.0.json")
        assert error.value.where == f"t.0.json:{line}"


def attempt(read: Callable[[], object]) -> object:
    """Return what a reader returns, or its `InputError`; anything else that it raises fails the test."""
    try:
        return read()
    except InputError as error:
        return error


@given(data=st.binary(max_size=400))
def test_any_bytes_are_nodes_or_an_input_error(data: bytes) -> None:
    for read in (protobuf_nodes, json_nodes):
        found = attempt(lambda read=read: read(data, "given"))
        assert not isinstance(found, InputError) or found.where.startswith("given")


@given(data=st.data())
def test_damaged_traces_are_errors_never_crashes(data: st.DataObject) -> None:
    write = data.draw(st.sampled_from([trace, jsonized]))
    whole = write([COMPUTE, collective("ALL_REDUCE", 4096, "tp"), send(0, 1, 5), collective("ALL_GATHER", 1)])
    at = data.draw(st.integers(0, len(whole)))
    damaged = whole[:at] + data.draw(st.binary(max_size=8)) + whole[at + data.draw(st.integers(0, 12)) :]
    found = attempt(lambda: parse_traces([("t.0.x", damaged), ("t.1.x", whole)], "t"))
    assert not isinstance(found, InputError) or found.where.startswith("t")


# ---- files -------------------------------------------------------------------------------------------------------------


def test_what_an_argument_stands_for(tmp_path: Path) -> None:
    for name in ("trace.0.et", "trace.10.et", "trace.9.et", "notes.txt", "groups.json"):
        (tmp_path / name).write_bytes(b"x")
    traces = [str(tmp_path / f"trace.{rank}.et") for rank in (0, 9, 10)]
    assert job_paths(str(tmp_path)) == [str(tmp_path / "groups.json"), *traces]
    assert job_paths(str(tmp_path / "*.et")) == traces
    assert job_paths(str(tmp_path / "trace")) == traces
    assert job_paths(traces[0]) == [traces[0]]
    assert job_paths("-") == ["-"]
    assert job_paths(str(tmp_path / "absent")) == [str(tmp_path / "absent")]
    with pytest.raises(InputError, match="no file matches"):
        job_paths(str(tmp_path / "no*.et"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no traces"):
        job_paths(str(tmp_path / "empty"))


def test_one_trace_alone_is_told_how_to_give_all() -> None:
    for name, data in (("t.0.et", trace([COMPUTE])), ("bare", trace([COMPUTE])), ("t.0.json", jsonized([COMPUTE]))):
        claims = [source for source in JOB_SOURCES.names() if JOB_SOURCES.load(source).recognises(data, name)]
        assert claims[0] == ("chakra-json" if name.endswith("json") else "chakra")
    with pytest.raises(InputError, match="no trace of rank 1") as error:
        load_jobs(trace([COMPUTE]), "t.0.et")
    assert "folder" in error.value.hint
    assert error.value.exit_code == ExitCode.INPUT
