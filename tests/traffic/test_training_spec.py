from __future__ import annotations

import pytest

from fabctl.errors import ExitCode, InputError
from fabctl.traffic.job import parse_job, parse_jobs
from fabctl.traffic.model_presets import preset
from fabctl.traffic.parallelism import stage_layers
from fabctl.traffic.training_spec import KINDS, Parallelism, Precision, TrainingSpec


def trained(text: str) -> TrainingSpec:
    spec = parse_job(f"hosts: 4\n{text}", "j.yaml")
    assert spec.training is not None
    return spec.training


def test_every_key() -> None:
    text = """\
model: mixtral-8x7b
parallelism:
  tp: 2
  cp: 4
  pp: 8
  ep: 4
  etp: 1
  dp: 3
  zero: 1
  microbatches: 16
  micro_batch_size: 2
  interleave: 2
  sequence_parallel: true
  layers_per_stage: [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
  context: all_gather
  recompute: selective
sequence_length: 4096
precision: {parameters: bf16, gradients: fp16, activations: fp32, dispatch: fp8, compute: tf32}
overlap: [pp, dp]
"""
    spec = parse_job(f"hosts: 4\n{text}", "j.yaml")
    assert (spec.collectives, spec.pattern, spec.sizes) == ((), "", ())
    assert spec.training == TrainingSpec(
        model=preset("mixtral-8x7b"),
        parallelism=Parallelism(
            tp=2,
            cp=4,
            pp=8,
            ep=4,
            etp=1,
            dp=3,
            zero=1,
            microbatches=16,
            micro_batch_size=2,
            interleave=2,
            sequence_parallel=True,
            layers_per_stage=(2,) * 16,
            context="all_gather",
            recompute="selective",
        ),
        sequence_length=4096,
        precision=Precision(parameters=2, gradients=2, activations=4, dispatch=1, compute="tf32"),
        overlap=("dp", "pp"),
    )


def test_defaults() -> None:
    found = trained("model: llama3-8b\nparallelism: {tp: 8}\n")
    assert found.parallelism == Parallelism(tp=8, etp=8, sequence_parallel=True)
    assert (found.sequence_length, found.precision, found.overlap) == (8192, Precision(2, 4, 2, 2), ())
    assert not trained("model: llama3-8b\n").parallelism.sequence_parallel


@pytest.mark.parametrize(
    ("word", "widths"), [("fp32", (4, 4, 4, 4)), ("bf16", (2, 4, 2, 2)), ("fp16", (2, 2, 2, 2)), ("fp8", (2, 4, 2, 2))]
)
def test_precision_in_a_word(word: str, widths: tuple[int, ...]) -> None:
    assert trained(f"model: llama3-8b\nprecision: {word}\n").precision == Precision(*widths, word)


def test_overlap_in_a_word() -> None:
    assert trained("model: llama3-8b\noverlap: all\n").overlap == KINDS
    assert trained("model: llama3-8b\noverlap: none\n").overlap == ()
    assert trained("model: llama3-8b\noverlap: dp\n").overlap == ("dp",)


def test_fsdp_is_stage_three() -> None:
    assert trained("model: llama3-8b\nparallelism: {fsdp: true}\n").parallelism.zero == 3
    assert trained("model: llama3-8b\nparallelism: {zero: 3}\n").parallelism.zero == 3
    assert trained("model: llama3-8b\nparallelism: {zero: 1, fsdp: false}\n").parallelism.zero == 1


LLAMA = "model: llama3-8b\n"


@pytest.mark.parametrize(
    ("text", "at", "message", "hint"),
    [
        (LLAMA + "parallelism: {td: 2}", "td", "unknown key 'td'", "known: tp, cp"),
        (LLAMA + "parallelism: 8", "8\0", "'parallelism' must be a mapping", ""),
        (LLAMA + "parallelism: {tp: 0}", "0}", "'tp' must be at least 1, not 0", ""),
        (LLAMA + "parallelism: {tp: 3}", "3}", "32 heads do not divide by 'tp', 3", ""),
        (LLAMA + "parallelism: {tp: 64}", "64}", "32 heads do not divide by 'tp', 64", ""),
        (LLAMA + "parallelism: {pp: 5}", "5}", "32 layers do not divide by 5 stages", "layers_per_stage"),
        (LLAMA + "parallelism: {pp: 17}", "17}", "32 layers do not divide by 17 stages", "ends_as_layers: true makes"),
        (LLAMA + "parallelism: {pp: 8, interleave: 3, microbatches: 8}", "8, i", "32 layers do not divide by 8 x 3 virtual", ""),
        (LLAMA + "parallelism: {pp: 4, interleave: 2, microbatches: 6}", "4, i", "6 interleaved microbatches do not", ""),
        (LLAMA + "parallelism: {pp: 34, ends_as_layers: true}", "true", "the first and the last stage would have no", ""),
        (LLAMA + "parallelism: {pp: 2, layers_per_stage: [16, 15]}", "[16", "the stages have 31 layers together", ""),
        (LLAMA + "parallelism: {pp: 2, layers_per_stage: [32]}", "[32", "1 stages are here, and pp x interleave is 2", ""),
        (LLAMA + "parallelism: {layers_per_stage: [32], ends_as_layers: true}", "true", "'layers_per_stage' and 'ends", ""),
        (LLAMA + "parallelism: {cp: 3}", "3}", "8192 tokens do not divide by 'cp', 3", ""),
        (LLAMA + "parallelism: {ep: 2}", "llama", "'ep: 2' needs 'experts' of the model", "give experts, or a preset"),
        ("model: mixtral-8x7b\nparallelism: {ep: 3}", "3}", "8 experts do not divide by 'ep', 3", ""),
        ("model: mixtral-8x7b\nparallelism: {ep: 2, tp: 2, sequence_parallel: no}", "no}", "experts with 'tp' need", ""),
        ("model: mixtral-8x7b\nparallelism: {tp: 2, sequence_parallel: no}", "no}", "experts with 'tp' need", ""),
        (LLAMA + "parallelism: {zero: 4}", "4}", "'zero' must be at most 3, not 4", ""),
        (LLAMA + "parallelism: {zero: 1, fsdp: true}", "true", "'fsdp' is ZeRO stage 3, and 'zero' says 1", ""),
        (LLAMA + "parallelism: {zero: 1, exchange: slices}", "slices", "slices are exchanged by ranks that hold", "leave 'zero'"),
        (LLAMA + "parallelism: {context: ring}", "ring", "unknown context 'ring'", "known: p2p, all_gather"),
        (LLAMA + "precision: bf61", "bf61", "unknown precision 'bf61'", "did you mean 'bf16'?"),
        (LLAMA + "precision: {gradient: bf16}", "gradient", "unknown key 'gradient'", "did you mean 'gradients'?"),
        (LLAMA + "overlap: [dp, pd]", "pd", "unknown kind of traffic 'pd'", "known: dp, tp"),
        (LLAMA + "sequence_length: 0", "0\0", "'sequence_length' must be at least 1, not 0", ""),
        ("model: resnet-50\nparallelism: {tp: 2}", "resnet", "'tp: 2' needs 'layers' of the model", ""),
        ("model: resnet-50\nparallelism: {fsdp: true}", "resnet", "zero: 3 (FSDP) needs 'layers' of the model", ""),
        (
            "model: {layers: 2, hidden: 64, heads: 4, vocabulary: 9}\nparallelism: {pp: 2}",
            "{pp",
            "'pp: 2' needs 'sequence_length'",
            "",
        ),
        (LLAMA + "collective: all_reduce", "all_reduce", "'model' and 'collective' exclude each other", "'model' is at"),
        (LLAMA + "size: 1G", "1G", "'model' and 'size' exclude each other", ""),
        ("parallelism: {tp: 2}", "{tp", "'parallelism' belongs to a training, and there is no 'model'", "model: "),
    ],
)
def test_faults_have_their_place(text: str, at: str, message: str, hint: str) -> None:
    text = f"hosts: 4\n{text}"
    offset = f"{text}\0".index(at)
    line, column = text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
    with pytest.raises(InputError) as error:
        parse_job(text, "j.yaml")
    assert error.value.message.startswith(message)
    assert error.value.where == f"j.yaml:{line}:{column}"
    assert error.value.hint.startswith(hint)
    assert error.value.exit_code == ExitCode.INPUT


# ---- several jobs, and hosts by number ----------------------------------------------------------------------------------


def test_several_jobs_in_a_file() -> None:
    text = "jobs:\n  - {hosts: 4, collective: all_reduce}\n  - {name: big, hosts: 'n[1-8]', model: llama3-8b}\n"
    first, second = parse_jobs(text, "dir/two.yaml")
    assert (first.name, first.count, first.placement) == ("two-1", 4, "packed")
    assert (second.name, second.count, second.placement) == ("big", 0, "given")
    assert parse_jobs("hosts: all\n", "dir/one.yaml")[0].name == "one"
    assert parse_jobs("hosts: all\n", "-")[0].name == "job"


@pytest.mark.parametrize(
    ("line", "placement", "seed"),
    [
        ("packed", "packed", 1),
        ("spread", "spread", 1),
        ("random", "random", 1),
        ("random:42", "random", 42),
        ("given", "given", 1),
    ],
)
def test_placements(line: str, placement: str, seed: int) -> None:
    spec = parse_job(f"hosts: 16\nplacement: {line}\n", "j.yaml")
    assert (spec.count, spec.placement, spec.placement_seed) == (16, placement, seed)


def test_a_quoted_number_is_a_name() -> None:
    assert parse_job("hosts: '16'\n", "j.yaml").count == 0
    assert parse_job("hosts: [16, 17]\n", "j.yaml").count == 0


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("hosts: 1\n", "1:8", "'hosts' must be at least 2, not 1"),
        ("hosts: -4\n", "1:8", "'hosts' must be at least 2, not -4"),
        ("hosts: 99999999\n", "1:8", "'hosts' must be at most 65536, not 99999999"),
        ("hosts: 4\nplacement: pack\n", "2:12", "unknown placement 'pack'"),
        ("hosts: 4\nplacement: packed:4\n", "2:12", "'packed:4' is no placement"),
        ("hosts: 4\nplacement: random:x\n", "2:12", "'random:x' is no placement"),
        ("hosts: n[1-4]\nplacement: packed\n", "2:12", "'packed' chooses hosts, and 'hosts' names them"),
        ("hosts: 4\nranks_per_host: 8\ngpus_per_host: 8\n", "3:16", "'ranks_per_host' and 'gpus_per_host' exclude each other"),
        ("hosts: 4\nalgorithm: rign\n", "2:12", "unknown algorithm 'rign'"),
        ("hosts: 4\ncollective: alltoall\nalgorithm: tree\n", "3:12", "algorithm 'tree' does no alltoall"),
        ("hosts: 4\nsize: 9223372036854775808\n", "2:7", "a message of 9223372036854775808 is past 2^63 bytes"),
        ("hosts: 4\nsize: 9000000T\n", "2:7", "a message of 9000000T is past 2^63 bytes"),
        ("jobs: []\n", "1:1", "'jobs' is an empty list"),
        ("jobs:\n  - {hosts: 4}\nhosts: 4\n", "3:1", "unknown key 'hosts'"),
        ("jobs:\n  - {name: a, hosts: 4}\n  - {name: a, hosts: 4}\n", "3:12", "two jobs are called 'a'"),
        ("jobs:\n  - hosts: 4\n    model: llama\n", "3:12", "unknown model 'llama'"),
    ],
)
def test_faults_of_jobs(text: str, where: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_jobs(text, "j.yaml")
    assert (error.value.message, error.value.where) == (message, f"j.yaml:{where}")


def test_the_largest_message_is_allowed() -> None:
    assert parse_job("hosts: 4\nsize: 9223372036854775807\n", "j.yaml").sizes == (2**63 - 1,)


def test_a_virtual_stage_may_be_an_end_alone() -> None:
    """Llama 3 (arXiv 2407.21783, section 3.3.2): the first model chunk has the embedding only, the last the output."""
    found = trained("model: llama3-405b\nparallelism: {tp: 8, pp: 16, interleave: 8, microbatches: 16, ends_as_layers: true}\n")
    assert stage_layers(found.parallelism, 126).tolist() == [0, *[1] * 126, 0]
