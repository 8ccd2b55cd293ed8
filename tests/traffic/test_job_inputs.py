from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabctl.errors import InputError
from fabctl.traffic.explicit import Transfer
from fabctl.traffic.inputs import JOB_SOURCES
from fabctl.traffic.inputs.reading import load_jobs
from fabctl.traffic.job import JobSpec, Placed, parse_jobs

# What these tools print, field by field as Slurm 24 does; names and numbers are ours.
RECORD = """\
JobId={id} JobName={name}
   UserId=ada(1001) GroupId=ai(2000) MCS_label=N/A
   Priority=4294 Nice=0 Account=ai QOS=normal
   JobState={state} Reason=None Dependency=(null)
   Requeue=1 Restarts=0 BatchFlag=1 Reboot=0 ExitCode=0:0
   RunTime=01:23:45 TimeLimit=2-00:00:00 TimeMin=N/A
   SubmitTime=2026-01-15T10:00:00 EligibleTime=2026-01-15T10:00:00
   StartTime=2026-01-15T10:01:00 EndTime=2026-01-17T10:01:00 Deadline=N/A
   Partition=gpu AllocNode:Sid=login1:4242
   ReqNodeList=(null) ExcNodeList=luna-099
   NodeList={nodes}
   BatchHost=luna-001
   NumNodes={count} NumCPUs=512 NumTasks={tasks} CPUs/Task=1 ReqB:S:C:T=0:0:*:*
   ReqTRES=cpu=512,mem=1T,node={count},billing=512,gres/gpu={gpus}
   AllocTRES=cpu=512,mem=1T,node={count},billing=512,gres/gpu={gpus},gres/gpu:h100={gpus}
   Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=*
   MinCPUsNode=1 MinMemoryNode=0 MinTmpDiskNode=0
   Features=(null) DelayBoot=00:00:00
   OverSubscribe=NO Contiguous=0 Licenses=(null) Network=(null)
   Command=/home/ada/train.sh NodeList=nowhere
   WorkDir=/home/ada

"""


def record(number: int = 7, nodes: str = "luna-[001-004]", **changed: object) -> str:
    values = {"id": number, "name": "pretrain", "state": "RUNNING", "nodes": nodes, "count": 4, "tasks": 4, "gpus": 32}
    return RECORD.format(**values | changed)


def document(*jobs: dict[str, Any]) -> str:
    base: dict[str, Any] = {
        "name": "pretrain",
        "job_state": ["RUNNING"],
        "node_count": {"set": True, "infinite": False, "number": 2},
        "tasks": {"set": True, "infinite": False, "number": 16},
    }
    return json.dumps({"meta": {"plugin": {}}, "jobs": [base | job for job in jobs], "errors": []}, indent=1)


def read(text: str, path: str = "given") -> tuple[JobSpec, ...]:
    return load_jobs(text.encode(), path)


def refused(text: str) -> tuple[str, str]:
    with pytest.raises(InputError) as error:
        read(text)
    return error.value.where, error.value.message


# ---- which format ------------------------------------------------------------------------------------------------------

SAMPLES = {
    "slurm": record(),
    "slurm-json": document({"job_id": 1, "nodes": "a[1-2]"}),
    "flows": "src,dst,bytes\na,b,1\n",
    "job": "hosts: all\n",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_each_text_is_recognised_by_its_source_first(name: str) -> None:
    head = SAMPLES[name].encode()
    claims = [other for other in JOB_SOURCES.names() if JOB_SOURCES.load(other).recognises(head, "given")]
    assert claims[0] == name


def test_what_nobody_claims_is_read_as_a_job_file() -> None:
    assert read("hosts: all\n") == parse_jobs("hosts: all\n", "given")
    where, _ = refused("# src, dst\nhosts: [luna-[001-002]]\n")
    assert where.startswith("given:2")
    with pytest.raises(InputError, match="no known job format") as error:
        load_jobs(b"\x7fELF\x00\x00", "given")
    assert error.value.where == "given"


# ---- lists of flows ----------------------------------------------------------------------------------------------------


def test_every_column() -> None:
    text = '# a comment, "unbalanced\n\nsrc,dst,bytes,phase\nluna-001,luna-002,64K,x\nluna-002:mlx5_0,"luna-003 mlx5_1/P1",9,y\n'
    (spec,) = read(text, "runs/flows.csv")
    assert spec.transfers == (
        Transfer("luna-001", "luna-002", 65536, "runs/flows.csv:4", "x"),
        Transfer("luna-002:mlx5_0", "luna-003 mlx5_1/P1", 9, "runs/flows.csv:5", "y"),
    )
    places = ("runs/flows.csv:4", "runs/flows.csv:4", "runs/flows.csv:5")
    assert spec.hosts == tuple(Placed(f"luna-00{number}", place) for number, place in zip((1, 2, 3), places, strict=True))
    assert (spec.name, spec.collectives) == ("flows", ())


@pytest.mark.parametrize(
    "text",
    [
        "bytes;to;from\n7;b;a\n",
        "From\tTo\tSize\na\tb\t7\n",
        "flow,source,destination,size_bytes,note\n1,a,b,7,none\n",
        "\ufeffsrc, dst, bytes\na, b, 7\n",
        "src,dst,bytes\r\na,b,7\r\n",
    ],
)
def test_other_names_orders_and_separators(text: str) -> None:
    (spec,) = read(text)
    assert [(flow.src, flow.dst, flow.size_bytes) for flow in spec.transfers] == [("a", "b", 7)]


def test_the_largest_size() -> None:
    (spec,) = read(f"src,dst,bytes\na,b,{2**63 - 1}\n")
    assert spec.transfers[0].size_bytes == 2**63 - 1


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("src,dst,bytes\na,b,0\n", "given:2", "a flow of 0 bytes"),
        ("src,dst,bytes\na,b,1\na,b,-3\n", "given:3", "negative size: -3"),
        (f"src,dst,bytes\na,b,{2**63}\n", "given:2", "more than 9223372036854775807"),
        ("src,dst,bytes\na,b,9999999T\n", "given:2", "more than 9223372036854775807"),
        ("src,dst,bytes\na,b," + "9" * 400 + "\n", "given:2", "more than 9223372036854775807"),
        ("src,dst,bytes\na,b,lots\n", "given:2", "'lots' is not a size"),
        ("src,dst,bytes\na,b,1e9\n", "given:2", "'1e9' is not a size"),
        ("src,dst,bytes\na,b\n", "given:2", "2 fields where the header has 3"),
        ("src,dst,bytes\na,b,1,2\n", "given:2", "4 fields where the header has 3"),
        ("src,dst,bytes\na,,1\n", "given:2", "'dst' is empty"),
        ("src,dst,bytes\na,a,1\n", "given:2", "from 'a' to itself"),
        ('src,dst,bytes\na,"b,1\n', "given:2", "no CSV"),
        ("src,dst,bytes\n", "given:1", "holds no flows"),
        ("src,dst,bites\na,b,1\n", "given:1", "no column 'bytes'"),
        ("src,to,dst,bytes\na,b,c,1\n", "given:1", "two columns are 'dst': to, dst"),
        ("a,b,100\nb,c,100\n", "given:1", "no column 'src'"),
    ],
)
def test_bad_lists(text: str, where: str, said: str) -> None:
    found = refused(text)
    assert found[0] == where
    assert said in found[1]


# ---- Slurm -------------------------------------------------------------------------------------------------------------


def test_a_record() -> None:
    (spec,) = read("\n" + record())
    assert spec.name == "pretrain (7)"
    assert spec.hosts == (Placed("luna-[001-004]", "given:12"),)
    assert (spec.ranks_per_host, spec.ranks_where, spec.collectives) == (8, "given:2", ("all_reduce",))
    assert spec.notes == (
        "pretrain (7): Slurm does not know what a job sends: an all_reduce of all ranks stands for it",
        "pretrain (7): one rank per GPU, 8 per host",
    )


def test_one_line_per_record_and_names_with_blanks() -> None:
    lines = [" ".join(record(number, name=f"my job NodeList={number}").split()) for number in (1, 2)]
    specs = read("\n".join(lines) + "\n")
    assert [(spec.name, spec.hosts[0]) for spec in specs] == [
        ("my job NodeList=1 (1)", Placed("luna-[001-004]", "given:1")),
        ("my job NodeList=2 (2)", Placed("luna-[001-004]", "given:2")),
    ]


def test_ranks_by_tasks_where_there_are_no_gpus() -> None:
    text = record(gpus=0, tasks=64).replace(",gres/gpu=0", "").replace(",gres/gpu:h100=0", "")
    assert read(text)[0].ranks_per_host == 16
    assert read(text.replace("NumTasks=64", "NumTasks=63"))[0].ranks_per_host is None
    assert read(text.replace(" NumTasks=64", ""))[0].ranks_per_host is None
    assert read(record().replace(",gres/gpu=32", ""))[0].ranks_per_host == 8, "typed GPUs count where there is no total"


def test_squeues_table_is_told_what_to_do_instead() -> None:
    with pytest.raises(InputError, match="no record begins with JobId=") as error:
        read(
            "             JOBID PARTITION     NAME     USER ST       TIME  NODES NODELIST(REASON)\n 7 gpu x me R 1:02 2 n[1-2]\n"
        )
    assert (error.value.where, "squeue --json" in error.value.hint) == ("given:1", True)


def test_gpus_that_do_not_divide_are_told() -> None:
    (spec,) = read(record(gpus=30, tasks=4))
    assert spec.ranks_per_host is None
    assert "its 30 GPUs do not divide by 4 hosts" in spec.notes[1]


def test_names_cannot_break_a_line() -> None:
    text = json.dumps({"jobs": [{"job_id": 5, "name": "a\nb\x1b[31m", "job_state": ["RUNNING"], "nodes": "a[1-2]"}]})
    assert read(text)[0].name == "ab[31m (5)"
    assert refused('src,dst,bytes,phase\na,b,1,"x\ny"\n') == ("given:3", "a phase's name is one line of printable characters")


def test_jobs_that_do_not_use_the_fabric_are_told() -> None:
    pending = record(2, nodes="(null)", state="PENDING", count="2-4")
    done = record(3, state="COMPLETED")
    single = record(4, nodes="luna-009", count=1)
    (spec,) = read(pending + record(1) + done + single)
    assert spec.name == "pretrain (1)"
    assert spec.notes[2:] == (
        "left out: job 2 is PENDING and has no hosts",
        "left out: job 3 is COMPLETED, not RUNNING",
        "left out: on one host, so not on the fabric: job 4",
    )
    assert "pretrain (3) is COMPLETED" in read(done)[0].notes


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        (record(nodes="(null)", state="PENDING", count="2-4"), "given:1", "no job here runs on several hosts"),
        (record(nodes="luna-009", count=1), "given:1", "no job here runs on several hosts"),
        ("\n\n" + record(nodes="luna-[001-004"), "given:13", "a bracket is left open"),
        (record(nodes="luna-[004-001]"), "given:11", "runs backwards"),
        (record(nodes="luna-[001-003]"), "given:11", "has 3 hosts, its number of nodes is 4"),
        (record(nodes="luna-[1-99999999]"), "given:11", "more than 1,000,000 names"),
        (record().replace("   NodeList=luna-[001-004]\n", "").replace(" NodeList=nowhere", ""), "given:1", "has no NodeList"),
        (record()[:120], "given:1", "has no JobState"),
    ],
)
def test_bad_records(text: str, where: str, said: str) -> None:
    found = refused(text)
    assert found[0] == where
    assert said in found[1]


@pytest.mark.parametrize(
    "job",
    [
        {"job_id": 11, "nodes": "c[31-32]"},
        {"job_id": 11, "nodes": "", "job_resources": {"nodes": "c[31-32]", "allocated_nodes": []}},
        {"job_id": 11, "nodes": "", "job_resources": {"nodes": {"count": 2, "list": "c[31-32]"}}, "job_state": "RUNNING"},
        {"job_id": "11", "nodes": "c[31-32]", "node_count": 2, "tasks": 16},
        {"job_id": 11, "nodes": "c[31-32]", "tres_alloc_str": "cpu=8,gres/gpu=16,gres/gpu:a100=16", "tasks": 2},
    ],
)
def test_json_of_several_versions(job: dict[str, Any]) -> None:
    (spec,) = read(document(job))
    assert (spec.name, spec.hosts[0].text, spec.ranks_per_host) == ("pretrain (11)", "c[31-32]", 8)
    line = next(number for number, text in enumerate(document(job).splitlines(), 1) if "job_id" in text)
    assert spec.hosts[0].where == f"given:{line}"


def test_json_of_several_jobs() -> None:
    pending = {"job_id": 2, "nodes": "", "job_state": ["PENDING"], "node_count": {"set": True, "number": 4}}
    specs = read(document(pending, {"job_id": 1, "nodes": "a[1-2]"}, {"job_id": 3, "nodes": "b1,b7"}))
    assert [spec.name for spec in specs] == ["pretrain (1)", "pretrain (3)"]
    assert specs[0].notes[-1] == "left out: job 2 is PENDING and has no hosts"
    assert not any("left out" in note for note in specs[1].notes)


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ('{"jobs": [}', "given:1:11", "no JSON"),
        ('{"jobs": []}', "given", "the list of jobs is empty"),
        ('{"jobs": {}, "job_id": 1}', "given", "no list of jobs"),
        ('{"jobs": [{"name": "x"}]}', "given", "without job_id"),
        ('{"jobs": [\n{"job_id": 5}]}', "given:2", "has no job_state"),
        (document({"job_id": 5, "nodes": ["a1", "a2"]}), "given:21", "is no text"),
        (document({"job_id": 5, "nodes": "a[1-"}), "given:21", "a bracket is left open"),
        (document({"job_id": 5, "nodes": "a[1-3]"}), "given:21", "has 3 hosts, its number of nodes is 2"),
        ('{"jobs": ' + "[" * 100_000, "given", "nesting without end"),
        ('{"jobs": [{"job_id": ' + "9" * 5000 + "}]}", "given", "numbers"),
    ],
)
def test_bad_json(text: str, where: str, said: str) -> None:
    found = refused(text)
    assert found[0] == where
    assert said in found[1]


# ---- any bytes ---------------------------------------------------------------------------------------------------------


def parsed(name: str, data: bytes) -> bool:
    """Tell whether a source makes jobs of bytes, or an `InputError` with a place; anything else that it raises fails the test."""
    try:
        return bool(JOB_SOURCES.load(name).parse(data, "given") if name else load_jobs(data, "given"))
    except InputError as error:
        return error.where.startswith("given")


@given(data=st.binary(max_size=300))
def test_any_bytes_are_jobs_or_an_input_error(data: bytes) -> None:
    for name in JOB_SOURCES.names():
        assert parsed(name, data)


@given(data=st.data())
def test_damaged_texts_are_errors_never_crashes(data: st.DataObject) -> None:
    text = SAMPLES[data.draw(st.sampled_from(sorted(SAMPLES)))]
    at = data.draw(st.integers(0, len(text)))
    damage = data.draw(st.text(st.sampled_from('0123456789aJ=,;[]{}"#-:() \n\té'), max_size=20))
    assert parsed("", (text[:at] + damage + text[at + data.draw(st.integers(0, 40)) :]).encode())
