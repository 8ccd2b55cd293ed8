"""Presets against published numbers: what the shapes give, counted here once more, layer by layer."""

from __future__ import annotations

import pytest

from fabctl.errors import InputError
from fabctl.traffic.model_presets import preset, preset_names, read_model
from fabctl.traffic.model_shape import ModelShape, parameter_count, parse_model
from fabctl.yamlspec import Node, load

PUBLISHED = {
    "resnet-50": 25.557e6,
    "alexnet": 60.97e6,
    "googlenet": 7.0e6,
    "bert-large": 340e6,
    "gpt3-175b": 175e9,
    "llama3-8b": 8.03e9,
    "llama3-70b": 70.6e9,
    "llama3-405b": 405e9,
    "mixtral-8x7b": 47e9,
    "deepseek-v3": 671e9,
}


def node(text: str) -> Node:
    return load(text, "j.yaml")


@pytest.mark.parametrize("name", preset_names())
def test_parameters_of_the_shape_are_those_published(name: str) -> None:
    model = preset(name)
    assert model.total_parameters() == pytest.approx(PUBLISHED[name], rel=0.015)
    assert model.parameters == pytest.approx(PUBLISHED[name], rel=0.001)
    assert len(model.source) > 40


def test_gpt3_has_the_parameters_of_narayanans_formula() -> None:
    """Narayanan et al., SC 2021, equation 2: 12 l h^2 (1 + 13 / 12 h + (V + s) / 12 l h); the last norm is not in it."""
    model = preset("gpt3-175b")
    layers, h, v, s = 96, 12288, 50257, 2048
    assert model.total_parameters() == 12 * layers * h * h + 13 * layers * h + (v + s) * h + 2 * h


def test_active_parameters_of_the_mixtures() -> None:
    """13B of Mixtral's 47B and 37B of DeepSeek-V3's 671B work on a token (their papers)."""
    for name, active in (("mixtral-8x7b", 12.9e9), ("deepseek-v3", 37.5e9)):
        model = preset(name)
        idle = model.routed_parameters * (1 - model.experts_per_token / model.experts) * model.moe_layers
        assert model.total_parameters() - idle == pytest.approx(active, rel=0.02)


def test_resnet_50_layer_by_layer() -> None:
    """He et al., table 1: bottlenecks of 3, 4, 6 and 3; each convolution is followed by a norm of two numbers per channel."""

    def convolution(inner: int, outer: int, kernel: int) -> int:
        return inner * outer * kernel * kernel + 2 * outer

    total, channels = convolution(3, 64, 7), 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            total += convolution(channels, width, 1) + convolution(width, width, 3) + convolution(width, 4 * width, 1)
            total += convolution(channels, 4 * width, 1) if block == 0 else 0
            channels = 4 * width
    assert total + 2048 * 1000 + 1000 == preset("resnet-50").parameters


def test_alexnet_layer_by_layer() -> None:
    """Krizhevsky et al., section 3.5: the second, fourth and fifth layers see half of the channels before them."""
    convolutions = ((3, 96, 11), (48, 256, 5), (256, 384, 3), (192, 384, 3), (192, 256, 3))
    dense = ((9216, 4096), (4096, 4096), (4096, 1000))
    total = sum(i * o * k * k + o for i, o, k in convolutions) + sum(i * o + o for i, o in dense)
    assert total == preset("alexnet").parameters


def test_googlenet_layer_by_layer() -> None:
    """Szegedy et al., table 1: 1x1, 3x3 behind a reduction, 5x5 behind a reduction, and the projection of the pool."""
    inceptions = (
        (192, 64, 96, 128, 16, 32, 32),
        (256, 128, 128, 192, 32, 96, 64),
        (480, 192, 96, 208, 16, 48, 64),
        (512, 160, 112, 224, 24, 64, 64),
        (512, 128, 128, 256, 24, 64, 64),
        (512, 112, 144, 288, 32, 64, 64),
        (528, 256, 160, 320, 32, 128, 128),
        (832, 256, 160, 320, 32, 128, 128),
        (832, 384, 192, 384, 48, 128, 128),
    )
    layers = [(3, 64, 7), (64, 64, 1), (64, 192, 3)]
    for inner, one, three_in, three, five_in, five, pool in inceptions:
        layers += [(inner, one, 1), (inner, three_in, 1), (three_in, three, 3)]
        layers += [(inner, five_in, 1), (five_in, five, 5), (inner, pool, 1)]
    assert sum(i * o * k * k + o for i, o, k in layers) + 1024 * 1000 + 1000 == preset("googlenet").parameters


def test_a_model_of_its_own_can_begin_with_a_preset() -> None:
    model = read_model(node("{preset: llama3-8b, layers: 16}"))
    assert (model.layers, model.hidden, model.kv_heads, model.name) == (16, 4096, 8, "llama3-8b")
    assert model.total_parameters() < preset("llama3-8b").total_parameters()
    assert read_model(node("llama3-8b")) == preset("llama3-8b")


def test_what_follows_from_the_rest_is_filled_in() -> None:
    model = read_model(node("{layers: 2, hidden: 64, heads: 4, vocabulary: 100, experts: 4, experts_per_token: 2}"))
    assert (model.kv_heads, model.head_dim, model.ffn_hidden, model.expert_ffn_hidden) == (4, 16, 256, 256)


@pytest.mark.parametrize(
    ("text", "count"),
    [("405B", 405 * 10**9), ("25.6M", 25_600_000), ("1T", 10**12), ("1000", 1000), ("7G", 7 * 10**9), ("3K", 3000)],
)
def test_numbers_of_parameters(text: str, count: int) -> None:
    assert parameter_count(node(text)) == count


SHAPE = "layers: 2, hidden: 64, heads: 4, vocabulary: 100"


@pytest.mark.parametrize(
    ("text", "at", "message", "hint"),
    [
        ("lama3-8b", "", "unknown model 'lama3-8b'", "did you mean 'llama3-8b'?"),
        ("{preset: gpt3}", "gpt3", "unknown model 'gpt3'", "did you mean 'gpt3-175b'?"),
        ("{layer: 2}", "layer", "unknown key 'layer'", "did you mean 'layers'?"),
        ("{}", "", "key 'parameters' is missing", "or give layers"),
        ("{hidden: 64}", "", "key 'layers' is missing", "'hidden' belongs to a transformer"),
        ("{layers: 2, hidden: 64, heads: 4}", "", "key 'vocabulary' is missing", "a transformer has"),
        ("{layers: 2, heads: 4, vocabulary: 9}", "", "key 'hidden' is missing", ""),
        ("{layers: 2, hidden: 64, heads: 5, vocabulary: 9}", "5", "64 hidden do not divide into 5 heads", "or give head_dim"),
        (f"{{{SHAPE}, kv_heads: 3}}", "3", "4 heads do not share 3 heads of keys evenly", ""),
        (f"{{{SHAPE}, experts: 4}}", "", "key 'experts_per_token' is missing", ""),
        (f"{{{SHAPE}, experts: 4, experts_per_token: 5}}", "5", "5 experts per token are more than the 4 experts", ""),
        (f"{{{SHAPE}, experts: 4, experts_per_token: 1, dense_layers: 2}}", "2}", "2 dense layers leave no layer", ""),
        (f"{{{SHAPE}, parameters: 1B}}", "1B", "this shape has 111,424 parameters", "leave 'parameters' out"),
        ("{parameters: many}", "many", "'many' is no number of parameters", "write 405B"),
        ("{parameters: 0}", "0", "a model of 0 parameters cannot be", ""),
        ("{parameters: -5}", "-5", "'-5' is no number of parameters", ""),
        ("{layers: 0}", "0", "'layers' must be at least 1, not 0", ""),
        ("{layers: 9999999999999}", "99", "'layers' must be at most", ""),
    ],
)
def test_faults_have_their_place(text: str, at: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        read_model(node(text))
    assert error.value.where == f"j.yaml:1:{text.index(at) + 1}"
    assert error.value.message.startswith(message)
    assert error.value.hint.startswith(hint)


def test_no_preset_hides_a_fault() -> None:
    for name in preset_names():
        assert parse_model(node("{title: x}"), preset(name)).total_parameters() == preset(name).total_parameters()
    assert not ModelShape().is_transformer
