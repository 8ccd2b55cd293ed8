"""`ModelShape`: the numbers of a model that decide what its training sends, and the parameters that follow from them.

A model of which only ``parameters`` is known can be trained data-parallel. Everything else needs the shape of a transformer.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields, replace

from fabctl.yamlspec import Node

LARGEST = 1 << 40
TOLERANCE = 0.05
"""How far the stated number of parameters may be from that of the shape."""

_COUNT = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)([KMBGT]?)")
_POWER = {"": 0, "K": 3, "M": 6, "B": 9, "G": 9, "T": 12}


@dataclass(frozen=True)
class ModelShape:
    """A model; numbers that are not known are 0.

    Parameters
    ----------
    name, title, source : str
    where : str
        Place in the job file, for messages.
    parameters : int
        As stated.
    layers, hidden, ffn_hidden, heads : int
        Of a transformer: `hidden` is its width, `ffn_hidden` that of a dense MLP.
    kv_heads : int
        Heads of keys and values (grouped-query attention).
    head_dim : int
        Width of a head; with latent attention, of a query or key without its rotary part.
    vocabulary, positions : int
        Rows of the embeddings; no positions where they are not learned.
    experts, experts_per_token, shared_experts, expert_ffn_hidden : int
        Of each MoE layer.
    dense_layers : int
        First layers that have a dense MLP although the model has experts.
    q_lora_rank, kv_lora_rank, rope_head_dim, v_head_dim : int
        Of multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).
    extra_parameters : int
        What the formulas do not count: poolers, token types.
    sequence_length : int
        Tokens per sequence in pre-training.
    gated : bool
        The MLP has three matrices (SwiGLU) and not two.
    tied_embeddings : bool
        The output layer shares the matrix of the input embedding.
    biases : bool
        Linear layers and norms have biases.
    """

    name: str = ""
    title: str = ""
    source: str = ""
    where: str = field(default="", compare=False)
    parameters: int = 0
    layers: int = 0
    hidden: int = 0
    ffn_hidden: int = 0
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    vocabulary: int = 0
    positions: int = 0
    experts: int = 0
    experts_per_token: int = 0
    shared_experts: int = 0
    expert_ffn_hidden: int = 0
    dense_layers: int = 0
    q_lora_rank: int = 0
    kv_lora_rank: int = 0
    rope_head_dim: int = 0
    v_head_dim: int = 0
    extra_parameters: int = 0
    sequence_length: int = 0
    gated: bool = False
    tied_embeddings: bool = False
    biases: bool = False

    @property
    def is_transformer(self) -> bool:
        """Whether the shape of layers is known."""
        return self.layers > 0

    @property
    def moe_layers(self) -> int:
        """Number of layers with experts."""
        return self.layers - self.dense_layers if self.experts else 0

    @property
    def kv_width(self) -> int:
        """Numbers of keys and values per token and layer."""
        if self.kv_lora_rank:
            return self.heads * (self.head_dim + self.rope_head_dim + self.v_head_dim)
        return 2 * self.kv_heads * self.head_dim

    @property
    def attention_parameters(self) -> int:
        """Parameters of one layer's attention."""
        h, a, k = self.hidden, self.heads, self.head_dim
        if self.kv_lora_rank:
            query = k + self.rope_head_dim
            down = h * (self.q_lora_rank + self.kv_lora_rank + self.rope_head_dim)
            up = self.q_lora_rank * a * query + self.kv_lora_rank * a * (k + self.v_head_dim)
            return down + up + a * self.v_head_dim * h + self.q_lora_rank + self.kv_lora_rank
        weights = 2 * h * a * k + h * 2 * self.kv_heads * k
        return weights + (a * k + 2 * self.kv_heads * k + h if self.biases else 0)

    @property
    def norm_parameters(self) -> int:
        """Parameters of one norm."""
        return self.hidden * (2 if self.biases else 1)

    @property
    def mlp_parameters(self) -> int:
        """Parameters of one dense MLP."""
        return self._mlp(self.ffn_hidden)

    @property
    def routed_parameters(self) -> int:
        """Parameters of one MoE layer's routed experts together."""
        return self.experts * self._mlp(self.expert_ffn_hidden)

    @property
    def shared_parameters(self) -> int:
        """Parameters of one MoE layer's router and of the experts that see every token."""
        return self.experts * self.hidden + self.shared_experts * self._mlp(self.expert_ffn_hidden)

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the input embeddings."""
        return (self.vocabulary + self.positions) * self.hidden

    @property
    def output_parameters(self) -> int:
        """Parameters of the output layer and the last norm; a tied matrix counts at the input."""
        return self.norm_parameters + (0 if self.tied_embeddings else self.vocabulary * self.hidden)

    def total_parameters(self) -> int:
        """Return the parameters that follow from the shape; those stated if there is none."""
        if not self.is_transformer:
            return self.parameters
        every = self.attention_parameters + 2 * self.norm_parameters
        dense = (self.layers - self.moe_layers) * self.mlp_parameters
        sparse = self.moe_layers * (self.routed_parameters + self.shared_parameters)
        ends = self.embedding_parameters + self.output_parameters + self.extra_parameters
        return self.layers * every + dense + sparse + ends

    def _mlp(self, width: int) -> int:
        matrices = 3 if self.gated else 2
        return matrices * self.hidden * width + (width * (matrices - 1) + self.hidden if self.biases else 0)

    def require(self, name: str, what: str, node: Node) -> None:
        """Raise `InputError` at `node` if a field that `what` needs is missing."""
        if not getattr(self, name):
            raise node.error(f"{what} needs '{name}' of the model", hint=f"give {name}, or a preset (docs/jobs.md)")


COUNTS = tuple(one.name for one in fields(ModelShape) if one.type == "int" and one.name != "parameters")
FLAGS = tuple(one.name for one in fields(ModelShape) if one.type == "bool")
KEYS = ("preset", "title", "source", "parameters", *COUNTS, *FLAGS)
"""Keys of a model in a job file."""


def parse_model(node: Node, base: ModelShape) -> ModelShape:
    """Return a model from a mapping of its numbers, on top of those of a preset.

    Raises
    ------
    InputError
        For unknown keys, numbers out of range, a transformer without a needed field, and a stated number of parameters that
        is not that of the shape.
    """
    values = node.mapping(KEYS)
    found = asdict(base) | {"where": node.where}
    found |= {key: values[key].text() for key in ("title", "source") if key in values}
    found |= {key: values[key].integer(low=1, high=LARGEST) for key in COUNTS if key in values}
    found |= {key: values[key].flag() for key in FLAGS if key in values}
    if "parameters" in values:
        found["parameters"] = parameter_count(values["parameters"])
    elif values.keys() - {"preset", "sequence_length", "title", "source"}:
        found["parameters"] = 0
    model = _completed(ModelShape(**found))
    _check(model, node, values)
    return model


def parameter_count(node: Node) -> int:
    """Return a number of parameters from ``175B``, ``25.6M`` or digits."""
    match = _COUNT.fullmatch(node.text())
    if match is None:
        raise node.error(f"'{node.text()}' is no number of parameters", hint="write 405B, 25.6M or all digits")
    count = round(float(match[1]) * 10 ** _POWER[match[2]]) if "." in match[1] else int(match[1]) * 10 ** _POWER[match[2]]
    if not 0 < count < LARGEST * 1024:
        raise node.error(f"a model of {node.text()} parameters cannot be", hint="write 405B, 25.6M or all digits")
    return count


def _completed(model: ModelShape) -> ModelShape:
    """Fill in what follows from the rest: heads of keys, width of a head, of the MLP and of an expert."""
    if not model.is_transformer:
        return model
    head_dim = model.head_dim or (model.hidden // model.heads if model.heads else 0)
    ffn_hidden = model.ffn_hidden or 4 * model.hidden
    return replace(
        model,
        kv_heads=model.kv_heads or model.heads,
        head_dim=head_dim,
        ffn_hidden=ffn_hidden,
        expert_ffn_hidden=model.expert_ffn_hidden or (ffn_hidden if model.experts else 0),
    )


def _check(model: ModelShape, node: Node, values: dict[str, Node]) -> None:
    shape = {"layers", "hidden", "heads", "vocabulary", "experts", "ffn_hidden"} & values.keys()
    if shape and not model.is_transformer:
        raise node.error("key 'layers' is missing", hint=f"'{min(shape)}' belongs to a transformer; or give 'parameters' alone")
    if not model.is_transformer:
        if not model.parameters:
            raise node.error("key 'parameters' is missing", hint="or give layers, hidden, heads and vocabulary")
        return
    for key in ("hidden", "heads", "vocabulary"):
        if not getattr(model, key):
            raise node.error(f"key '{key}' is missing", hint="a transformer has layers, hidden, heads and vocabulary")
    if not model.kv_lora_rank and "head_dim" not in values and model.head_dim * model.heads != model.hidden:
        place = values.get("heads", node)
        raise place.error(f"{model.hidden} hidden do not divide into {model.heads} heads", hint="or give head_dim")
    if model.heads % model.kv_heads:
        raise values.get("kv_heads", node).error(f"{model.heads} heads do not share {model.kv_heads} heads of keys evenly")
    if model.experts and not model.experts_per_token:
        raise node.error(
            "key 'experts_per_token' is missing", hint="how many experts see a token: 2 in Mixtral, 8 in DeepSeek-V3"
        )
    if model.experts_per_token > model.experts:
        place = values.get("experts_per_token", node)
        raise place.error(f"{model.experts_per_token} experts per token are more than the {model.experts} experts")
    if model.dense_layers >= model.layers and model.experts:
        raise values.get("dense_layers", node).error(f"{model.dense_layers} dense layers leave no layer for the experts")
    derived = model.total_parameters()
    if model.parameters and abs(derived - model.parameters) > TOLERANCE * model.parameters:
        place = values.get("parameters", node)
        raise place.error(f"this shape has {derived:,} parameters, not {model.parameters:,}", hint="leave 'parameters' out")
