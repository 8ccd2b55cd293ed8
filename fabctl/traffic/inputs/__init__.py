"""Files that describe jobs, one module per format, found by content: `JobSource`s."""

from fabctl.registry import Entry, Registry

JOB_SOURCES = Registry(
    "job source",
    {
        "chakra": Entry("fabctl.traffic.inputs.chakra:BINARY", "Chakra execution traces, protobuf: one .et file per rank"),
        "chakra-json": Entry("fabctl.traffic.inputs.chakra:JSON", "Chakra execution traces as chakra_jsonizer writes them"),
        "slurm-json": Entry("fabctl.traffic.inputs.slurm_json:SOURCE", "squeue --json, scontrol show job --json"),
        "slurm": Entry("fabctl.traffic.inputs.slurm:SOURCE", "scontrol show job"),
        "flows": Entry("fabctl.traffic.inputs.flows:SOURCE", "CSV with the columns src, dst, bytes and, at will, phase"),
        "job": Entry("fabctl.traffic.inputs.job_yaml:SOURCE", "fabctl's own job file (fabctl help job)"),
    },
    group="fabctl.job_sources",
)
