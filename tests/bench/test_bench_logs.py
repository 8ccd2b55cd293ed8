"""Logs of real runs, and what launchers, editors and bad luck do to them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabctl.bench.logs import LOGS
from fabctl.bench.logs.nccl_info import read_facts
from fabctl.bench.logs.reading import read_log
from fabctl.errors import InputError
from fabctl.model.validation import BANDWIDTH, BOTH_WAYS, LATENCY, Run

FOLDER = Path(__file__).resolve().parent / "logs"
TEXTS = {path.name: path.read_text() for path in sorted(FOLDER.glob("*.txt"))}
ALL_REDUCE, N = "all_reduce", "nccl-tests-309-4x8-h100.txt"


def runs(name: str) -> list[Run]:
    return read_log(TEXTS[name], name)


def test_every_log_has_its_source() -> None:
    rows = re.findall(r"^\| ([\w.-]+\.txt) \| .+ \| .+ \|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(TEXTS)


@pytest.mark.parametrize(
    ("name", "tests"),
    [
        # test, operation, ranks, hosts, ranks per host, sizes, first and last size, highest bandwidth
        (N, [("all_reduce_perf", ALL_REDUCE, 32, 4, 8, 32, 8, 16 << 30, 365.84)]),
        ("nccl-tests-309-2x8-h100.txt", [("all_reduce_perf", ALL_REDUCE, 16, 2, 8, 32, 8, 16 << 30, 469.21)]),
        ("nccl-tests-309-2x8-h100-ring.txt", [("all_reduce_perf", ALL_REDUCE, 16, 2, 8, 14, 1 << 20, 8 << 30, 392.69)]),
        ("nccl-tests-309-8x8-h100.txt", [("all_reduce_perf", ALL_REDUCE, 64, 0, 0, 14, 1 << 20, 8 << 30, 320.70)]),
        ("nccl-tests-119-3x8-a100.txt", [("all_reduce_perf", ALL_REDUCE, 24, 0, 0, 6, 127926280, 133169160, 96.45)]),
        ("nccl-tests-252-2x4-h100-ring.txt", [("all_reduce_perf", ALL_REDUCE, 8, 0, 0, 5, 512 << 20, 8 << 30, 97.37)]),
        ("coreweave-12x8-h100-sharp.txt", [("all_reduce_perf", ALL_REDUCE, 96, 0, 0, 5, 512 << 20, 8 << 30, 386.56)]),
        ("aws-1x8-h100.txt", [("all_reduce_perf", ALL_REDUCE, 8, 0, 0, 32, 8, 16 << 30, 483.05)]),
        ("nccl-1453-3x8-h100.txt", [("all_reduce_perf", ALL_REDUCE, 24, 0, 0, 10, 1 << 20, 512 << 20, 29.50)]),
        ("nccl-tests-37-1x8-v100.txt", [("all_gather_perf", "all_gather", 0, 0, 0, 1, 4 << 30, 4 << 30, 129.05)]),
        ("nccl-tests-321-2x2-h20-alltoall.txt", [("alltoall_perf", "alltoall", 4, 2, 2, 13, 1 << 20, 4 << 30, 50.25)]),
        (
            "ucx-7369-osu-v100.txt",
            [("osu_bw", BANDWIDTH, 0, 0, 0, 23, 1, 4 << 20, 12.28972), ("osu_latency", LATENCY, 0, 0, 0, 9, 1, 256, 0.0)],
        ),
        ("ucx-9287-osu-bw-ndr200.txt", [("osu_bw", BANDWIDTH, 0, 0, 0, 23, 1, 4 << 20, 6.42173)]),
        ("ompi-12318-osu-reduce.txt", [("osu_reduce", "reduce", 0, 0, 0, 11, 1, 1024, 0.0)]),
        (
            "oci-osu-a100.txt",
            [
                ("osu_latency", LATENCY, 0, 0, 0, 1, 1, 1, 0.0),
                ("osu_bw", BANDWIDTH, 0, 0, 0, 1, 256 << 20, 256 << 20, 12.25416),
                ("osu_allreduce", ALL_REDUCE, 0, 0, 0, 27, 4, 256 << 20, 0.0),
            ],
        ),
        ("perftest-132-write-bw.txt", [("ib_write_bw", BANDWIDTH, 0, 0, 0, 3, 2, 8, 0.17 / 8)]),
        ("rdma-demo-send-bw.txt", [("ib_send_bw", BOTH_WAYS, 0, 0, 0, 1, 4096, 4096, 11403.46 * 2**20 / 1e9)]),
        ("spiderpool-ib-read-lat.txt", [("ib_read_lat", LATENCY, 0, 0, 0, 1, 2, 2, 0.0)]),
        ("fdr-read-lat.txt", [("ib_read_lat", LATENCY, 0, 0, 0, 12, 2, 4096, 0.0)]),
    ],
)
def test_what_is_read(name: str, tests: list[tuple[object, ...]]) -> None:
    found = [
        (
            run.test,
            run.operation,
            run.n_ranks,
            len(run.hosts),
            run.ranks_per_host,
            len(run.samples),
            run.samples[0].size_bytes,
            run.samples[-1].size_bytes,
            pytest.approx(max(sample.gb_s for sample in run.samples)),
        )
        for run in runs(name)
    ]
    assert found == tests
    lines = TEXTS[name].splitlines()
    for run in runs(name):
        for sample in run.samples:
            assert str(sample.size_bytes) in lines[sample.line - 1]


def test_hosts_are_in_rank_order_and_gpus_are_named() -> None:
    (run,) = runs(N)
    assert run.hosts == ("pt01", "spt01", "spt02", "pt02")
    assert run.gpu == "NVIDIA H100 80GB HBM3"
    assert (run.nccl.version, run.nccl.variables["NCCL_NET_GDR_LEVEL"]) == ("2.26.2", "1")


def test_times_of_both_halves() -> None:
    first, *_, last = runs(N)[0].samples
    assert (first.time_us, first.in_place_us, first.best_us) == (83.42, 34.75, 34.75)
    assert (last.time_us, last.in_place_us) == (90986, 91081)
    assert last.best_gb_s == pytest.approx(365.84)


def test_processes_that_ran_alone() -> None:
    (run,) = runs("nccl-tests-182-without-mpi.txt")
    assert (run.copies, run.n_ranks, len(run.samples)) == (2, 2, 14)


def test_wrong_values() -> None:
    assert runs("nccl-tests-37-1x8-v100.txt")[0].wrong == 2
    assert runs(N)[0].wrong == 0


def test_what_is_cut_is_said() -> None:
    notes = {name: " ".join(runs(name)[0].notes) for name in TEXTS}
    assert "line 18 is cut" in notes["nccl-1453-3x8-h100.txt"]
    assert "its last size is 4294967296, the test was to go on to 17179869184" in notes["nccl-tests-321-2x2-h20-alltoall.txt"]
    assert "24 ranks, by busbw over algbw: the log lists 4" in notes["nccl-tests-119-3x8-a100.txt"]
    assert notes[N] == ""


def test_a_row_that_contradicts_itself_does_not_change_the_ranks() -> None:
    text = TEXTS[N].replace(" 365.84 ", " 265.84 ")
    (run,) = read_log(text, "x.log")
    assert run.n_ranks == 32
    assert [note for note in run.notes if "contradicts" in note] == [
        "of 32 ranks, busbw 265.84 contradicts algbw 188.82 (rows like it: 1)"
    ]


def test_nccl_lines() -> None:
    facts = runs("nccl-tests-321-2x2-h20-alltoall.txt")[0].nccl
    assert facts.network == "NCCL RDMA Plugin v6"
    assert facts.hcas == ("mlx5_bond_6:1/RoCE", "mlx5_bond_7:1/RoCE")
    assert facts.variables["NCCL_NET_GDR_LEVEL"] == "PIX"  # what NCCL took, not the 2 and the 1 of the command line
    assert (facts.gdr, facts.staged) == ({"receive": 1, "send": 2}, {})
    assert facts.channels == {"coll": 4, "collnet": 4, "nvls": 0}


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        # nccl-tests issue 36, Azure NC24rs_v3: what a V100 without NVLink may not read
        ("pkb-0:9100:9147 [0] NCCL INFO Ring 00 : 0[435e00000] -> 1[18100000] [send] via NET/IB/0", "staged", {"send": 1}),
        ("pkb-0:9100:9147 [0] NCCL INFO Ring 00 : 1[1] -> 0[4] [receive] via NET/IB/0/GDRDMA", "gdr", {"receive": 1}),
        ("a:8:8 [7] NCCL INFO Ring 00 : 15 -> 0 [send] via NET/Socket/0", "network", "Socket"),
        (
            "q:1:2 [7] NCCL INFO NET/IB : Using [0]mlx5_0:1/IB/SHARP [1]mlx5_4:1/IB [RO]; OOB ib0:10.1.1.1<0>",
            "hcas",
            ("mlx5_0:1/IB/SHARP", "mlx5_4:1/IB"),
        ),
        ("NCCL version 2.4.7+cuda10.0", "version", "2.4.7"),
        ("a:1:2 [0] NCCL INFO NCCL_IB_DISABLE set by environment to 0.", "variables", {"NCCL_IB_DISABLE": "0"}),
        ("NCCL_ALGO=Ring NCCL_PROTO=Simple ./all_reduce_perf", "variables", {"NCCL_ALGO": "Ring", "NCCL_PROTO": "Simple"}),
        (
            "a:1:2 [0] NCCL INFO AllReduce: 8192 Bytes -> Algo RING proto LL128 channel{Lo..Hi}={0..3}",
            "choices",
            {8192: ("Ring", "LL128")},
        ),
        ("a:1:2 [0] NCCL INFO 1048576 Bytes -> Algo 0 proto 2 time 99.1", "choices", {1048576: ("Tree", "Simple")}),
    ],
)
def test_facts_of_a_line(line: str, key: str, value: object) -> None:
    assert getattr(read_facts([line]), key) == value


@pytest.mark.parametrize(
    "prefix",
    [
        "[1,0]<stdout>:",
        "[0] ",
        " 0: ",
        "> ",
        "Thu Jul 18 15:41:05 2024<stdout>:",
        "2026-02-16T10:00:02.000000000Z ",
        "[prterun-a-1@1,0]<stdout>: ",
    ],
)
@pytest.mark.parametrize("name", [N, "ucx-9287-osu-bw-ndr200.txt", "rdma-demo-send-bw.txt"])
def test_launchers_prefixes_change_nothing(name: str, prefix: str) -> None:
    marked = "".join(f"{prefix}{line}\n" for line in TEXTS[name].splitlines())
    assert read_log(marked, name) == runs(name)


def test_several_runs_of_one_log() -> None:
    text = TEXTS[N] + "\nother words\n" + TEXTS["nccl-tests-321-2x2-h20-alltoall.txt"] + TEXTS["ucx-9287-osu-bw-ndr200.txt"]
    found = read_log(text, "job.out")
    assert [run.test for run in found] == ["all_reduce_perf", "alltoall_perf", "osu_bw"]
    assert [len(run.samples) for run in found] == [32, 13, 23]
    assert found[0].nccl.network == ""
    assert found[1].n_ranks == 4


def test_a_failed_try_before_is_not_a_second_process() -> None:
    head, rows = TEXTS[N].split("NCCL version", 1)
    (run,) = read_log(head + "mpirun: killed\n" + head + "NCCL version" + rows, "retry.log")
    assert (run.copies, run.n_ranks, len(run.hosts)) == (1, 32, 4)


@given(n=st.integers(2, 600), algbw=st.floats(5, 400))
def test_ranks_follow_from_two_printed_bandwidths(n: int, algbw: float) -> None:
    busbw = 2 * (n - 1) / n * algbw
    row = f"1073741824 268435456 float sum -1 1000 {algbw:.2f} {busbw:.2f} 0 1000 {algbw:.2f} {busbw:.2f} 0"
    (run,) = read_log(f"all_reduce_perf\n{row}\n", "one.log")
    low, high = run.rank_range
    if run.n_ranks:
        assert low <= n <= high
        assert low <= run.n_ranks <= high
    else:
        assert n * 0.015 > algbw / 2  # so many that two decimals tell nothing
    if n * n * 0.04 < algbw:
        assert run.n_ranks == low == high == n


@pytest.mark.parametrize(
    ("columns", "operation"),
    [
        ("float sum -1 100 10.00 17.50 0 100 10.00 17.50 0", "all_reduce"),
        ("float sum -1 100 10.00 10.00 0 100 10.00 10.00 0", "all_reduce"),
        ("float sum -1 100 10.00 8.75 0 100 10.00 8.75 0", "reduce_scatter"),
        ("float none 0 100 10.00 10.00 0 100 10.00 10.00 0", "broadcast"),
        ("float 0 100 10.00 10.00 N/A 100 10.00 10.00 N/A", "broadcast"),
        ("float sum 3 100 10.00 10.00 0 100 10.00 10.00 0", "reduce"),
    ],
)
def test_a_table_without_its_command_line(columns: str, operation: str) -> None:
    assert read_log(f"1048576 262144 {columns}\n", "rows.log")[0].operation == operation


def test_a_table_that_could_be_two_collectives() -> None:
    with pytest.raises(InputError, match="does not say which collective") as error:
        read_log("1048576 262144 float none -1 100 10.00 8.75 0 100 10.00 8.75 0\n", "rows.log")
    assert "Collective test starting" in error.value.hint


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("iperf 3.1\n[ 5] 0.00-1.00 sec 1.10 GBytes\n", "x.log", "no log of a benchmark"),
        ("", "x.log", "no log of a benchmark"),
        (
            "# nThread 1 nGpus 1 minBytes 8 maxBytes 16 step: 2(factor) warmup iters: 5\n# Using devices\n",
            "x.log:1",
            "ends before",
        ),
        ("# OSU MPI Bandwidth Test v7.2\n# Size      Bandwidth (MB/s)\n", "x.log:1", "ends before"),
        ("# OSU MPI Barrier Latency Test v5.8\n# Avg Latency(us)\n 12.57\n", "x.log:1", "'Barrier Latency Test' is not read"),
        (" RDMA_Write BW Test\n* Waiting for client to connect... *\n", "x.log:1", "ends before"),
        ("all_reduce_perf\n-8 2 float sum -1 1 1 1 0 1 1 1 0\n", "x.log:2", "negative"),
        ("all_reduce_perf\n8 2 float sum -1 -1.5 1 1 0 1 1 1 0\n", "x.log:2", "negative"),
        ("# OSU MPI Bandwidth Test v7.2\n4 -2.5\n", "x.log:2", "negative"),
        # perftest issue 82
        (
            " Send BW Test\n #bytes #iterations BW peak[Gb/sec] BW average[Gb/sec] MsgRate[Mpps]\n 65536 100 0.0 -1.35 0.1\n",
            "x.log:3",
            "negative",
        ),
        (" Send BW Test\n #bytes #iterations furlongs\n 65536 100 3\n", "x.log:3", "no bandwidth or time"),
    ],
)
def test_bad_input(text: str, where: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_log(text, "x.log")
    assert error.value.where == where


def read_or_refuse(text: str) -> list[Run]:
    try:
        return read_log(text, "x.log")
    except InputError as error:
        where = error.where
    assert where.startswith("x.log")
    return []


@pytest.mark.parametrize("name", TEXTS)
def test_every_cut_is_runs_or_an_error(name: str) -> None:
    text, whole = TEXTS[name], {(s.size_bytes, s.time_us, s.gb_s) for run in runs(name) for s in run.samples}
    for cut in range(0, len(text), max(1, len(text) // 60)):
        for run in read_or_refuse(text[:cut]):
            assert {(s.size_bytes, s.time_us, s.gb_s) for s in run.samples[:-1]} <= whole  # a cut number may be another


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_is_never_a_crash(data: st.DataObject) -> None:
    lines = TEXTS[data.draw(st.sampled_from(sorted(TEXTS)))].splitlines()
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at] = data.draw(
            st.sampled_from(
                [lines[at][: len(lines[at]) // 2], lines[at] * 2, "", lines[at].replace(" ", ""), "\x00\ufffd", lines[-1]]
            )
        )
    read_or_refuse("\n".join(lines))


@pytest.mark.parametrize("name", LOGS.names())
def test_readers_do_not_claim_what_they_cannot_read(name: str) -> None:
    for text in ("", "\n\n", "hello\n", "%PDF-1.7\n", "8 2\n", "name,port\nleaf,1\n"):
        assert not LOGS.load(name).recognises(text)
