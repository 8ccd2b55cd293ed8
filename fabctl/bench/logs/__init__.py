"""Logs of benchmarks, one module per tool: `LogReader`s, each of which finds its own runs in a text."""

from fabctl.registry import Entry, Registry

LOGS = Registry(
    "log",
    {
        "nccl-tests": Entry(
            "fabctl.bench.logs.nccl_tests:READER", "all_reduce_perf and its like, with or without NCCL_DEBUG=INFO"
        ),
        "osu": Entry("fabctl.bench.logs.osu:READER", "OSU micro-benchmarks: osu_bw, osu_latency, osu_allreduce ..."),
        "perftest": Entry("fabctl.bench.logs.perftest:READER", "ib_write_bw, ib_read_bw, ib_send_lat ..."),
    },
    group="fabctl.logs",
)
