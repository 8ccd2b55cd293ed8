"""Steps of published trainings beside `fabctl bench step`.

How fast GPUs compute between their waits is not published: one number of each paper sets the efficiency, the others check what
fabctl adds: pipelines, exchanges, gradients, recomputation.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from published import Number

from fabctl.bench.step import predict_step
from fabctl.model.fabric import Fabric
from fabctl.model.rates import data_rates
from fabctl.model.step_view import Compute, StepView
from fabctl.model.tables import RoutingTables
from fabctl.nodes.reading import load_node
from fabctl.routing.compute import compute_tables
from fabctl.routing.options import DEFAULTS
from fabctl.sources.reading import load_fabric
from fabctl.traffic.job import parse_jobs
from fabctl.traffic.placement import place

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
NODES = {"selene-plan": "dgx-a100", "llama3-16k": "dgx-h100", "simai-9216": "dgx-h100"}

GPT = (
    "{{layers: {layers}, hidden: {hidden}, heads: {heads}, vocabulary: {vocabulary}, positions: 2048, sequence_length: 2048,"
    " tied_embeddings: true, biases: true}}"
)
MODELS = {
    "22B": {"layers": 48, "hidden": 6144, "heads": 64, "vocabulary": 51200},
    "175B": {"layers": 96, "hidden": 12288, "heads": 96, "vocabulary": 51200},
    "530B": {"layers": 105, "hidden": 20480, "heads": 128, "vocabulary": 51200},
    "1T": {"layers": 128, "hidden": 25600, "heads": 160, "vocabulary": 51200},
}
CUTS = {
    "22B": "pp: 1, microbatches: 1, micro_batch_size: 4",
    "175B": "pp: 8, interleave: 3, microbatches: 64",
    "530B": "pp: 35, interleave: 3, microbatches: 280",
    "1T": "pp: 64, microbatches: 512",
}


@cache
def routed(name: str) -> tuple[Fabric, RoutingTables]:
    """Return a shipped topology with ``ftree``'s routes."""
    fabric = load_fabric(str(TOPOLOGIES / f"{name}.yaml")).fabric
    return fabric, compute_tables(fabric, "ftree", DEFAULTS)


@cache
def step(topology: str, text: str, compute: Compute, n_hosts: int = 0) -> StepView:
    """Return the step of a training on a shipped topology; `n_hosts`: on so many of its hosts only."""
    fabric, tables = routed(topology)
    (spec,) = parse_jobs(text, "job.yaml")
    job = place(spec, fabric)
    if n_hosts:
        job = replace(job, hosts=job.hosts[:n_hosts], ports=job.ports[:n_hosts])
    return predict_step(spec, job, tables, data_rates(fabric), load_node(NODES[topology]), None, compute)


# ---- Korthikanti et al., MLSys 2023: one replica on 8 to 512 A100, and 8 of 530B ----------------------------------------


def korthikanti(model: str, recompute: str, efficiency: float, dp: int = 1) -> float:
    """Return the seconds of a step; with full recomputation without sequence parallelism, as the paper's baseline is."""
    hosts = {"22B": 1, "175B": 8, "530B": 35, "1T": 64}[model] * dp
    cut = f"tp: 8, dp: {dp}, recompute: {recompute}, sequence_parallel: {str(recompute != 'full').lower()}, {CUTS[model]}"
    shape = GPT.format(**MODELS[model])
    text = f"hosts: {max(hosts, 2)}\nranks_per_host: 8\nmodel: {shape}\nparallelism: {{{cut}}}\nprecision: fp16\n"
    return step("selene-plan", text, Compute(efficiency=efficiency), hosts).step_seconds or np.nan


def iteration(
    model: str, recompute: str, published: float, efficiency: float, tolerance: float, reason: str, **how: object
) -> Number:
    dp = 8 if how.pop("replicas", False) else 1
    borrowed = f", at {borrowed}'s efficiency" if (borrowed := how.pop("borrowed", "")) else ""
    gpus = {"22B": 8, "175B": 64, "530B": 280, "1T": 512}[model] * dp
    return Number(
        what=f"a step of GPT {model}, {gpus} A100, {recompute} recomputation{borrowed}",
        unit="s",
        published=published,
        source="Korthikanti et al., MLSys 2023, table 5" if dp == 1 else "the same, section 6.3",
        predicted=lambda: korthikanti(model, recompute, efficiency, dp),
        tolerance=tolerance,
        reason=reason,
        **how,  # type: ignore[arg-type]
    )


E22, E175, E530 = 0.516, 0.638, 0.7
WHOLE = "without sequence parallelism Megatron-LM sends a slice of each activation to the next stage; fabctl sends the whole"
WIDER = "wider matrices run closer to the peak"
KORTHIKANTI = [
    iteration("22B", "selective", 1.10, E22, 0.01, f"sets the efficiency, {E22} of the peak", fitted=True),
    iteration("22B", "full", 1.42, E22, 0.03, "published to three digits"),
    iteration("175B", "selective", 13.75, E175, 0.01, f"sets the efficiency, {E175} of the peak", fitted=True),
    iteration("175B", "full", 18.13, E175, 0.05, WHOLE),
    iteration("530B", "selective", 37.83, E175, 0.1, WIDER, borrowed="175B"),
    iteration("530B", "selective", 37.83, E530, 0.01, f"sets the efficiency, {E530} of the peak", fitted=True),
    iteration("530B", "full", 49.05, E530, 0.05, "", explained=WHOLE),
    iteration("530B", "selective", 39.15, E530, 0.04, "gradients in 16 bits, none hidden", replicas=True),
    iteration("1T", "selective", 71.49, E530, 0.1, WIDER, borrowed="530B"),
]

# ---- MegaScale, NSDI 2024: Megatron-LM's 175B with 768 sequences on ever more A100 ----------------------------------------


def megatron(gpus: int) -> float:
    """Return the seconds of a step: strong scaling, the batch stays."""
    dp = gpus // 64
    cut = f"tp: 8, pp: 8, interleave: 6, dp: {dp}, microbatches: {768 // dp}, recompute: selective"
    shape = GPT.format(**(MODELS["175B"] | {"vocabulary": 64000}))
    text = f"hosts: {gpus // 8}\nranks_per_host: 8\nmodel: {shape}\nparallelism: {{{cut}}}\n"
    return step("selene-plan", text, Compute(efficiency=E768)).step_seconds or np.nan


E768 = 0.662
MEGATRON = [
    Number(
        what=f"a step of GPT 175B, 768 sequences, {gpus} A100",
        unit="s",
        published=published,
        source="Jiang et al. (MegaScale), NSDI 2024, table 2, Megatron-LM; Ethernet, as many HCAs of 200 Gb/s",
        predicted=lambda gpus=gpus: megatron(gpus),
        tolerance=0.01 if gpus == 256 else 0.1,
        reason=f"sets the efficiency, {E768} of the peak" if gpus == 256 else "stragglers and the optimizer are not counted",
        fitted=gpus == 256,
    )
    for gpus, published in ((256, 40.0), (512, 21.2), (768, 15.2), (1024, 11.9))
]

# ---- Llama 3 405B, table 4 ------------------------------------------------------------------------------------------------


def llama(hosts: int, microbatches: int, dp: int, cp: int = 1, length: int = 8192) -> float:
    """Return TFLOPS per GPU.

    A layer for each of 128 virtual stages but the first and the last (section 3.3.2: the first model chunk has only the embedding,
    the last only the output); gradients are summed over microbatches in fp32 and then scattered.
    """
    cut = f"tp: 8, cp: {cp}, pp: 16, dp: {dp}, zero: 1, microbatches: {microbatches}, interleave: 8, ends_as_layers: true"
    text = f"hosts: {hosts}\nranks_per_host: 8\nmodel: llama3-405b\nsequence_length: {length}\noverlap: [dp, pp]\n"
    text += f"parallelism: {{{cut}, rank_order: tp-cp-pp-dp, context: all_gather}}\n"
    return step("llama3-16k", text, Compute(efficiency=E405)).tflops_per_gpu or np.nan


E405 = 0.555
TABLE4 = "Grattafiori et al. 2024 (arXiv 2407.21783), table 4; RoCE, 400 Gb/s a GPU"
LLAMA = [
    Number(
        what="Llama 3 405B on 8,192 H100, sequences of 8,192",
        unit="TFLOPS/GPU",
        published=430,
        source=TABLE4,
        predicted=lambda: llama(1024, 32, 64),
        tolerance=0.01,
        reason=f"sets the efficiency, {E405} of the peak",
        fitted=True,
    ),
    Number(
        what="the same on 16,384 H100: half the microbatches, twice the bubble",
        unit="TFLOPS/GPU",
        published=400,
        source=TABLE4,
        predicted=lambda: llama(2048, 16, 128),
        tolerance=0.03,
        reason="published to two digits",
    ),
    Number(
        what="the same with sequences of 131,072, cp 16",
        unit="TFLOPS/GPU",
        published=380,
        source=TABLE4,
        predicted=lambda: llama(2048, 16, 8, 16, 131072),
        tolerance=0.05,
        reason="",
        explained="attention is 57 % of the operations, and its kernels are slower than matrix products; fabctl has one efficiency",
    ),
]

# ---- SimAI's example ------------------------------------------------------------------------------------------------------


def simai() -> StepView:
    """Return SimAI's example with the compute time that its workload names."""
    text = (TOPOLOGIES / "jobs/simai-9216.yaml").read_text()
    return step("simai-9216", text, Compute(ms=0.6020 * SIMAI_S * 1e3))


SIMAI_S = 7.545619
SIMAI_SOURCE = (
    "SimAI 1.6, SimAI_analytical on its README's example: total 7,545,619 us, computing 60.20 %, exposed communication 35.21 %"
)
SIMAI = [
    Number(
        what="SimAI's example of 9,216 GPUs: a step",
        unit="s",
        published=SIMAI_S,
        source=SIMAI_SOURCE,
        predicted=lambda: simai().step_seconds or np.nan,
        tolerance=0.1,
        reason="SimAI takes bus bandwidths from a file (80 GB/s for its experts' all-to-all), fabctl those of DGX H100 and its HCAs",
    ),
    Number(
        what="the same: communication that computing does not hide",
        unit="s",
        published=0.3521 * SIMAI_S,
        source=SIMAI_SOURCE,
        predicted=lambda: simai().exposed_seconds,
        tolerance=0.15,
        reason="the same; AICB's model has further all-to-alls of tensor parallel ranks",
    ),
]

NUMBERS = [*KORTHIKANTI, *MEGATRON, *LLAMA, *SIMAI]
