"""Operations of a step against the papers' closed forms, and against the utilisations and times that they publish."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabctl.bench.step_compute import model_flops, peak_flops, rank_flops, stage_times
from fabctl.errors import RefusedError, UsageError
from fabctl.model.step_view import Compute
from fabctl.nodes.reading import load_node
from fabctl.traffic.model_shape import ModelShape
from fabctl.traffic.parallelism import grid
from fabctl.traffic.training_spec import Parallelism, Precision, TrainingSpec


def gpt(layers: int, hidden: int, heads: int, vocabulary: int = 51200, length: int = 2048, **cut: object) -> TrainingSpec:
    """Return a GPT as the papers have it: four times as wide an MLP, no biases counted."""
    model = ModelShape(
        layers=layers,
        hidden=hidden,
        ffn_hidden=4 * hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        vocabulary=vocabulary,
        tied_embeddings=True,
    )
    return TrainingSpec(model, Parallelism(**cut), length)  # type: ignore[arg-type]


def korthikanti(batch: int, layers: int, length: int, hidden: int, vocabulary: int) -> float:
    """Return equation 7: 72 B L s h^2 (1 + s / 6h + V / 12 L h)."""
    ends = 1 + length / (6 * hidden) + vocabulary / (12 * layers * hidden)
    return 72 * batch * layers * length * hidden**2 * ends


@given(st.integers(1, 100), st.integers(1, 64), st.integers(1, 8), st.integers(1, 300), st.integers(1, 5000))
def test_a_step_has_the_operations_of_korthikanti(layers: int, width: int, heads: int, batch: int, length: int) -> None:
    hidden = 8 * heads * width
    spec = gpt(layers, hidden, heads, 50257, length)
    assert model_flops(spec, batch) == pytest.approx(korthikanti(batch, layers, length, hidden, 50257), rel=1e-12)


@pytest.mark.parametrize(
    ("layers", "hidden", "heads", "batch", "gpus", "seconds", "mfu"),
    [
        (48, 6144, 64, 4, 8, 1.10, 0.415),
        (96, 12288, 96, 64, 64, 13.75, 0.514),
        (105, 20480, 128, 280, 280, 37.83, 0.560),
        (128, 25600, 160, 512, 512, 71.49, 0.563),
        (105, 20480, 128, 2240, 2240, 39.15, 0.542),
    ],
)
def test_published_times_and_utilisations_go_together(
    layers: int, hidden: int, heads: int, batch: int, gpus: int, seconds: float, mfu: float
) -> None:
    """Korthikanti et al., MLSys 2023, table 5 and section 6.3: both are rounded to three digits."""
    reached = model_flops(gpt(layers, hidden, heads), batch) / (gpus * 312e12 * seconds)
    assert reached == pytest.approx(mfu, rel=0.005)


@pytest.mark.parametrize(
    ("batch", "gpus", "seconds", "mfu"),
    [
        (768, 256, 40.0, 0.530),
        (768, 512, 21.2, 0.499),
        (768, 768, 15.2, 0.467),
        (768, 1024, 11.9, 0.447),
        (6144, 12288, 8.57, 0.412),
    ],
)
def test_megascales_times_and_utilisations_go_together(batch: int, gpus: int, seconds: float, mfu: float) -> None:
    """Jiang et al., NSDI 2024, table 2, Megatron-LM: 175B with a vocabulary of 64,000."""
    reached = model_flops(gpt(96, 12288, 96, vocabulary=64000), batch) / (gpus * 312e12 * seconds)
    assert reached == pytest.approx(mfu, rel=0.005)


def test_palm_counts_six_operations_per_parameter_and_token() -> None:
    """PaLM, appendix B: 6 N + 12 L H Q T per token, N without the embeddings that are only looked up."""
    spec = gpt(80, 8192, 64, vocabulary=128256, length=8192)
    parameters = 80 * 12 * 8192**2 + 128256 * 8192
    assert model_flops(spec, 1) / 8192 == pytest.approx(6 * parameters + 12 * 80 * 8192 * 8192, rel=1e-12)


@given(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2]), st.sampled_from([1, 2, 4]), st.integers(1, 4), st.integers(1, 3))
def test_ranks_share_the_operations_of_a_step(tp: int, cp: int, pp: int, dp: int, microbatches: int) -> None:
    spec = gpt(8, 1024, 16, tp=tp, cp=cp, pp=pp, dp=dp, microbatches=microbatches)
    cut = grid(spec.parallelism, tp * cp * pp * dp)
    forward, backward = rank_flops(spec, cut)
    assert backward == pytest.approx(2 * forward)
    whole = (forward + backward).sum() * tp * cp * dp * microbatches
    assert whole == pytest.approx(model_flops(spec, dp * microbatches))


def test_full_recomputation_does_forward_once_more_but_for_the_output() -> None:
    """Hardware against model operations: 4 / 3 of those in layers."""
    spec, again = (gpt(8, 1024, 16, pp=2, recompute=recompute) for recompute in ("none", "full"))
    cut = grid(spec.parallelism, 2)
    output = np.array([0.0, 2 * 51200 * 1024 * 2048])
    forward, backward = rank_flops(again, cut)
    assert forward == pytest.approx(rank_flops(spec, cut)[0])
    assert backward - rank_flops(spec, cut)[1] == pytest.approx(forward - output)


def test_selective_recomputation_does_attentions_scores_again() -> None:
    """4 s^2 h operations per layer and sequence (Korthikanti et al., section 5)."""
    spec, again = (gpt(8, 1024, 16, recompute=recompute) for recompute in ("none", "selective"))
    cut = grid(spec.parallelism, 1)
    more = rank_flops(again, cut)[1] - rank_flops(spec, cut)[1]
    assert more == pytest.approx(8 * 4 * 2048**2 * 1024)


def test_tokens_meet_only_their_experts() -> None:
    dense = ModelShape(layers=4, hidden=512, ffn_hidden=4096, heads=8, kv_heads=8, head_dim=64, vocabulary=1000, gated=True)
    sparse = ModelShape(
        layers=4,
        hidden=512,
        ffn_hidden=2048,
        heads=8,
        kv_heads=8,
        head_dim=64,
        vocabulary=1000,
        gated=True,
        experts=16,
        experts_per_token=2,
        expert_ffn_hidden=2048,
    )
    router = 4 * 2 * 512 * 16
    token = [model_flops(TrainingSpec(model, sequence_length=128), 1) / 128 / 3 for model in (dense, sparse)]
    assert token[1] == pytest.approx(token[0] + router)


def test_peaks_are_the_catalogues() -> None:
    spec = gpt(8, 1024, 16)
    assert peak_flops(spec, load_node("dgx-a100")) == 312e12
    assert peak_flops(spec, load_node("dgx-h100")) == 989.4e12
    assert peak_flops(spec, None) == 0.0
    assert peak_flops(spec, load_node("dgx-1-v100")) == 0.0
    with pytest.raises(RefusedError, match="a V100 has no bf16"):
        stage_times(spec, grid(spec.parallelism, 1), load_node("dgx-1-v100"), Compute(efficiency=0.5))
    half = TrainingSpec(spec.model, spec.parallelism, 2048, Precision(compute="fp16"))
    assert peak_flops(half, load_node("dgx-1-v100")) == 125e12


def test_given_times_are_those_of_the_fullest_stage() -> None:
    spec = gpt(8, 1024, 16, pp=4, microbatches=5, ends_as_layers=False)
    found = stage_times(spec, grid(spec.parallelism, 4), None, Compute(ms=700.0))
    assert found is not None
    assert found.both.max() * 5 == pytest.approx(0.7)
    assert found.both.argmax() == 3, "the last stage has the output layer"
    assert stage_times(spec, grid(spec.parallelism, 4), None, Compute()) is None


def test_an_efficiency_needs_operations_and_a_peak() -> None:
    cut = grid(Parallelism(), 1)
    with pytest.raises(UsageError, match="the node is not known"):
        stage_times(gpt(8, 1024, 16), cut, None, Compute(efficiency=0.5))
    alone = TrainingSpec(ModelShape(name="resnet-50", parameters=25_557_032))
    with pytest.raises(UsageError, match="operations of resnet-50 are not known"):
        stage_times(alone, cut, load_node("dgx-a100"), Compute(efficiency=0.5))
    found = stage_times(alone, cut, None, Compute(ms=300.0))
    assert found is not None
    assert (found.forward[0], found.backward[0]) == pytest.approx((0.1, 0.2))
