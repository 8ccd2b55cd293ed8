"""Bytes of a training's step against the volumes that the papers publish."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from fabctl.traffic.call import Call, sent_share
from fabctl.traffic.model_presets import preset, preset_names
from fabctl.traffic.parallelism import Grid, grid
from fabctl.traffic.training import layers_of_stages, stage_parameters, training_calls
from fabctl.traffic.training_spec import TrainingSpec, parse_training
from fabctl.yamlspec import load

HALF = "precision: {parameters: bf16, gradients: bf16, activations: bf16}\n"


def training(text: str) -> TrainingSpec:
    root = load(text, "j.yaml")
    return parse_training({key.value: root.find(key.value) for key, _ in root.yaml_node.value})


def step(text: str, ranks: int) -> tuple[TrainingSpec, Grid, list[Call]]:
    spec = training(text)
    cut = grid(spec.parallelism, ranks)
    return spec, cut, training_calls(spec, cut)


def sent(calls: list[Call], ranks: int) -> np.ndarray:
    """Return what each rank sends in a step, added up one group after the other."""
    total = np.zeros(ranks)
    for call in calls:
        for members, size in zip(call.ranks, call.size_bytes, strict=True):
            senders = members[:-1] if call.operation == "sendrecv" else members
            total[senders] += size * sent_share(call.operation, len(members)) * call.times
    return total


def of_kind(calls: list[Call], kind: str) -> list[Call]:
    return [call for call in calls if call.kind == kind]


# ---- tensor parallelism -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [2, 4, 8])
def test_tensor_parallel_volume_of_narayanan(t: int) -> None:
    """Section 3.2: 8 b s h (t - 1) / t numbers per layer, device and microbatch."""
    text = f"model: gpt3-175b\nparallelism: {{tp: {t}, micro_batch_size: 2, microbatches: 3, sequence_parallel: false}}\n"
    _, _, calls = step(text, 2 * t)
    layers = [call for call in of_kind(calls, "tp") if "embedding" not in call.name]
    b, s, h = 2, 2048, 12288
    expected = 8 * b * s * h * (t - 1) / t * 96 * 3 * 2  # numbers of two bytes
    assert sent(layers, 2 * t) == pytest.approx(np.full(2 * t, expected))
    ends = [call for call in of_kind(calls, "tp") if "embedding" in call.name]
    assert sent(ends, 2 * t) == pytest.approx(np.full(2 * t, expected / 96 / 2))


def test_sequence_parallelism_sends_what_all_reduces_send() -> None:
    """Korthikanti et al., section 4.2.2: the same volume, and one gather of the input more in the backward pass."""
    base = "model: gpt3-175b\nparallelism: {tp: 8, sequence_parallel: "
    _, _, whole = step(base + "false}\n", 8)
    _, _, sliced = step(base + "true}\n", 8)
    forward = [call for call in sliced if call.name == "tp activations, forward"]
    assert {call.operation for call in forward} == {"all_gather", "reduce_scatter"}
    assert sent(forward, 8) == pytest.approx(sent([call for call in whole if call.name == "tp activations, forward"], 8))
    assert sent(of_kind(sliced, "tp"), 8).sum() == pytest.approx(sent(of_kind(whole, "tp"), 8).sum() * 5 / 4, rel=0.005)


def test_stages_send_for_their_own_layers() -> None:
    text = "model: llama3-405b\nparallelism: {tp: 2, pp: 16, ends_as_layers: true, microbatches: 4, sequence_parallel: false}\n"
    _, cut, calls = step(text, 64)
    layers = sent([call for call in of_kind(calls, "tp") if "activations" in call.name], 64)
    by_stage = [layers[cut.stage(np.arange(64, dtype=np.int32)) == stage] for stage in range(16)]
    one_layer = 8 * 8192 * 16384 * 2 / 2 * 4
    assert [float(line[0]) / one_layer for line in by_stage] == pytest.approx([7, *[8] * 14, 7])


# ---- pipelines ----------------------------------------------------------------------------------------------------------


def test_pipelines_send_bsh_per_microbatch_each_way() -> None:
    """Narayanan et al., section 3.2: b s h between every pair of consecutive devices, for each microbatch and direction."""
    text = "model: gpt3-175b\nparallelism: {pp: 8, micro_batch_size: 4, microbatches: 32}\n"
    _, cut, calls = step(text, 16)
    one = 4 * 2048 * 12288 * 2 * 32
    pipelines = of_kind(calls, "pp")
    stage = cut.stage(np.arange(16, dtype=np.int32))
    assert sent(pipelines, 16) == pytest.approx(one * np.where((stage == 0) | (stage == 7), 1, 2))
    forward, backward = pipelines
    assert [forward.ranks[0].tolist(), backward.ranks[0].tolist()] == [[0, 2], [2, 0]]
    assert (forward.n_groups, forward.group_size, forward.times) == (2, 8, 32)


def test_interleaving_sends_v_times_as_often() -> None:
    """Narayanan et al., section 2.2.2."""
    text = "model: gpt3-175b\nparallelism: {pp: 4, microbatches: 8, interleave: "
    plain, woven = (of_kind(step(f"{text}{v}}}\n", 4)[2], "pp") for v in (1, 3))
    one = 2048 * 12288 * 2 * 8
    assert sent(plain, 4) == pytest.approx([one, 2 * one, 2 * one, one])
    assert sent(woven, 4) == pytest.approx([3 * one + 2 * one, 6 * one, 6 * one, 3 * one + 2 * one])


def test_slices_of_sequence_parallelism_travel_alone() -> None:
    text = "model: gpt3-175b\nparallelism: {pp: 2, tp: 8, sequence_parallel: "
    whole, sliced = (sent(of_kind(step(f"{text}{flag}}}\n", 16)[2], "pp"), 16) for flag in ("false", "true"))
    assert whole == pytest.approx(8 * sliced)


# ---- data parallelism ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("zero", "psi"), [(0, 2), (1, 2), (2, 2), (3, 3)])
def test_volume_of_zero(zero: int, psi: int) -> None:
    """Rajbhandari et al., section 7: 2 Psi for plain data parallelism and stages 1 and 2, 3 Psi for stage 3."""
    d = 64
    _, _, calls = step(f"model: llama3-8b\nparallelism: {{zero: {zero}}}\n{HALF}", d)
    parameters = preset("llama3-8b").total_parameters()
    assert sent(calls, d) == pytest.approx(np.full(d, psi * parameters * 2 * (d - 1) / d))


def test_sharding_by_microbatch() -> None:
    """Stage 3 gathers for each microbatch, stage 2 scatters for each, stage 1 once a step."""
    volumes = []
    for zero in (1, 2, 3):
        _, _, calls = step(f"model: llama3-8b\nparallelism: {{zero: {zero}, microbatches: 4}}\n{HALF}", 8)
        volumes.append(sent(calls, 8)[0] / (preset("llama3-8b").total_parameters() * 2 * 7 / 8))
    assert volumes == pytest.approx([2, 5, 12])


def test_gradients_are_wider_than_parameters_in_megatron() -> None:
    _, _, calls = step("model: llama3-8b\nparallelism: {zero: 1}\nprecision: bf16\n", 8)
    gradients, parameters = of_kind(calls, "dp")
    assert (gradients.operation, parameters.operation) == ("reduce_scatter", "all_gather")
    assert gradients.size_bytes == pytest.approx(2 * parameters.size_bytes)


@pytest.mark.parametrize("name", preset_names())
def test_plain_data_parallelism_of_any_model(name: str) -> None:
    _, _, calls = step(f"model: {name}\nprecision: fp32\n", 16)
    assert [(call.kind, call.operation, call.times) for call in calls] == [("dp", "all_reduce", 1)]
    assert calls[0].size_bytes.tolist() == [4 * preset(name).total_parameters()]
    assert calls[0].ranks.tolist() == [list(range(16))]


def test_slices_of_caffeonspark() -> None:
    """Every rank sends each other rank its slice of the gradients, and its own slice of the model to each."""
    _, _, calls = step("model: alexnet\nparallelism: {exchange: slices}\nprecision: fp32\n", 8)
    assert [(call.operation, call.times) for call in calls] == [("alltoall", 1), ("alltoall", 1)]
    a_slice = 60_965_224 * 4 / 8
    assert sent(calls, 8) == pytest.approx(np.full(8, 2 * 7 * a_slice))


def test_gradients_are_added_up_over_context_ranks_too() -> None:
    _, cut, calls = step("model: llama3-8b\nparallelism: {tp: 2, cp: 2, dp: 4}\n", 16)
    (gradients,) = of_kind(calls, "dp")
    assert gradients.ranks.tolist() == [[0, 2, 4, 6, 8, 10, 12, 14], [1, 3, 5, 7, 9, 11, 13, 15]]
    assert cut.dp == 4


# ---- parameters of stages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("llama3-405b", "{tp: 8, pp: 16, ends_as_layers: true}"),
        ("llama3-70b", "{tp: 4, pp: 5, interleave: 4, microbatches: 5}"),
        ("gpt3-175b", "{tp: 8, pp: 12}"),
        ("bert-large", "{pp: 4}"),
        ("mixtral-8x7b", "{tp: 2, pp: 4, ep: 8, etp: 1}"),
        ("mixtral-8x7b", "{tp: 2, pp: 4, ep: 2}"),
        ("deepseek-v3", "{pp: 4, ep: 64, layers_per_stage: [16, 15, 15, 15]}"),
    ],
)
def test_no_parameter_is_lost_between_stages(name: str, cut: str) -> None:
    """All stages and slices together hold the model, and whole copies of what is not cut."""
    spec = training(f"model: {name}\nparallelism: {cut}\n")
    model, p = spec.model, spec.parallelism
    place = grid(p, p.inner * p.ep * p.etp)
    shared, routed = stage_parameters(spec, place)
    layers, moe = layers_of_stages(spec, place)
    assert (layers.sum(), moe.sum()) == (model.layers, model.moe_layers)
    whole = 2 * model.norm_parameters * model.layers + model.moe_layers * model.experts * model.hidden
    whole += model.positions * model.hidden + model.norm_parameters + model.extra_parameters
    copies = whole * (p.tp - 1) + (model.vocabulary * model.hidden if model.tied_embeddings else 0)
    held = shared.sum() * p.tp + routed.sum() * place.ep * place.etp
    assert held == pytest.approx(model.total_parameters() + copies, rel=1e-12)


def test_interleaved_stages_are_dealt_round_robin() -> None:
    spec = training(
        "model: deepseek-v3\nparallelism: {pp: 2, interleave: 2, microbatches: 2, layers_per_stage: [2, 20, 20, 19]}\n"
    )
    layers, moe = layers_of_stages(spec, grid(spec.parallelism, 2))
    assert layers.tolist() == [22, 39]
    assert moe.tolist() == [20, 38]  # layers 0 to 2 are dense: two on the first rank, one on the second


def test_tied_embeddings_meet_once_a_step() -> None:
    _, _, calls = step("model: gpt3-175b\nparallelism: {tp: 2, pp: 4}\nprecision: bf16\n", 16)
    (tied,) = of_kind(calls, "embedding")
    assert tied.ranks.tolist() == [[0, 12], [1, 13], [2, 14], [3, 15]]
    assert (tied.operation, tied.times) == ("all_reduce", 1)
    assert tied.size_bytes.tolist() == [50257 * 12288 / 2 * 4] * 4
    assert of_kind(step("model: llama3-8b\nparallelism: {pp: 4}\n", 4)[2], "embedding") == []
    assert of_kind(step("model: gpt3-175b\n", 4)[2], "embedding") == []


# ---- context and experts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", ["p2p", "all_gather"])
def test_keys_and_values_pass_all_context_ranks(context: str) -> None:
    """Liu et al.: each rank forwards the keys and values of c - 1 others, b s / c tokens each, per layer and pass."""
    text = f"model: llama3-70b\nparallelism: {{cp: 4, microbatches: 2, context: {context}}}\n"
    _, _, calls = step(text, 4)
    one = 8192 / 4 * 2 * 8 * 128 * 2  # tokens, keys and values, heads of keys, width, bytes
    assert sent(of_kind(calls, "cp"), 4) == pytest.approx(np.full(4, 3 * 3 * one * 80 * 2))  # forward, backward, gradients
    assert {call.algorithm for call in of_kind(calls, "cp")} == {"ring" if context == "p2p" else ""}


def test_tensor_ranks_beyond_the_heads_of_keys_hold_copies() -> None:
    few, many = (of_kind(step(f"model: llama3-8b\nparallelism: {{cp: 2, tp: {t}}}\n", 2 * t)[2], "cp") for t in (8, 16))
    assert few[0].size_bytes[0] == many[0].size_bytes[0]


def test_tokens_go_to_their_experts_and_back() -> None:
    """Each token is sent to each of its k experts' ranks, (e - 1) / e of them elsewhere, and returns; backward likewise."""
    text = "model: mixtral-8x7b\nsequence_length: 4096\nparallelism: {ep: 8, microbatches: 3, micro_batch_size: 2}\n"
    _, _, calls = step(text, 16)
    tokens = 2 * 4096 * 2 * 7 / 8
    assert sent(of_kind(calls, "ep"), 16) == pytest.approx(np.full(16, tokens * 4096 * 2 * 4 * 32 * 3))
    assert {tuple(row) for call in of_kind(calls, "ep") for row in call.ranks.tolist()} == {tuple(range(8)), tuple(range(8, 16))}


def test_deepseek_dispatches_in_eight_bits() -> None:
    text = "model: deepseek-v3\nparallelism: {ep: 64}\nprecision: {dispatch: fp8}\n"
    _, _, calls = step(text, 64)
    dispatch, combine = of_kind(calls, "ep")
    assert combine.size_bytes == pytest.approx(2 * dispatch.size_bytes)
    assert dispatch.times == 2 * 58
    assert {call.name for call in of_kind(calls, "dp")} == {"dp gradients"}  # each expert has one copy


def test_copies_of_experts_add_up_their_own_gradients() -> None:
    _, cut, calls = step("model: mixtral-8x7b\nparallelism: {ep: 4}\n", 16)
    names = {call.name: call for call in of_kind(calls, "dp")}
    assert set(names) == {"dp gradients", "expert dp gradients"}
    assert names["expert dp gradients"].ranks.tolist() == [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]
    model = preset("mixtral-8x7b")
    total = names["dp gradients"].size_bytes[0] + 4 * names["expert dp gradients"].size_bytes[0]
    assert total == pytest.approx(4 * model.total_parameters())
    assert cut.edp == 4


def test_mixtures_exchange_activations_behind_attention_only() -> None:
    dense, sparse = (step(f"model: {name}\nsequence_length: 4096\nparallelism: {{tp: 2, ep: {ep}, etp: {etp}}}\n", 8)[2]
                     for name, ep, etp in (("llama3-8b", 1, 2), ("mixtral-8x7b", 8, 1)))  # fmt: skip
    runs = [{call.operation: call.times for call in calls if call.name == "tp activations, forward"} for calls in (dense, sparse)]
    assert runs == [{"all_gather": 64, "reduce_scatter": 64}, {"all_gather": 32, "reduce_scatter": 32}]


@pytest.mark.parametrize("ep", [1, 4])
def test_experts_that_are_cut_gather_their_tokens(ep: int) -> None:
    """Also where each rank holds a slice of all experts (`ep` 1): no slice has a whole answer for its tokens."""
    _, _, calls = step(f"model: mixtral-8x7b\nsequence_length: 4096\nparallelism: {{tp: 2, ep: {ep}, etp: 2}}\n", 8)
    expert = [call for call in calls if call.name == "expert tp tokens"]
    assert [call.operation for call in expert] == ["all_gather", "reduce_scatter"]
    assert expert[0].size_bytes[0] == 4096 / 2 * 2 * 2 * 4096 * 2


@pytest.mark.parametrize(("model", "times"), [("mixtral-8x7b", 32), ("deepseek-v3", 2 * 61), ("llama3-8b", 2 * 32)])
def test_shared_experts_are_one_more_mlp_to_exchange(model: str, times: int) -> None:
    _, _, calls = step(f"model: {model}\nparallelism: {{tp: 2, etp: 1}}\n", 8)
    assert calls[0].times == times


# ---- the rest -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["tp: 4, cp: 2", "tp: 4, sequence_parallel: false", "ep: 8", "tp: 2, ep: 4, etp: 2"])
def test_full_recomputation_sends_what_forward_sends_once_more(cut: str) -> None:
    """Forward and backward send alike but for slices that are gathered again, which recomputation does not add to."""
    model = "mixtral-8x7b" if "ep" in cut else "llama3-8b"
    sends = {}
    for recompute in ("none", "selective", "full"):
        _, _, calls = step(f"model: {model}\nparallelism: {{{cut}, recompute: {recompute}}}\n", 8)
        sends[recompute] = {
            (call.name, call.operation): call.sent_bytes.max() * call.times for call in calls if call.kind != "dp"
        }
    assert sends["none"] == sends["selective"]
    forward = {key: value for key, value in sends["none"].items() if "backward" not in key[0] or "forward" in key[0]}
    for key, value in sends["full"].items():
        name, operation = key
        more = 0.0
        if name == "tp activations, backward":
            more = forward["tp activations, forward", operation]
        elif name in ("cp keys and values, forward and backward", "expert tp tokens", "ep dispatch", "ep combine"):
            more = forward[key] / 2
        assert value == pytest.approx(sends["none"][key] + more), key


def test_overlap_marks_its_kinds() -> None:
    _, _, calls = step("model: gpt3-175b\nparallelism: {tp: 2, pp: 2}\noverlap: [dp, pp]\n", 8)
    hidden = defaultdict(set)
    for call in calls:
        hidden[call.overlapped].add(call.kind)
    assert hidden == {True: {"dp", "pp"}, False: {"tp", "embedding"}}


def test_one_rank_sends_nothing() -> None:
    assert step("model: llama3-8b\n", 1)[2] == []
