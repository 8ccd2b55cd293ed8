"""The training keys of a job file: model, parallelism, sequence length, precision, overlap.

::

    model: llama3-405b           # a preset, or its numbers: {layers: 126, hidden: 16384, heads: 128, vocabulary: 128256, ...}
    parallelism:
      tp: 8                      # tensor, context, pipeline and expert parallel ranks; default 1
      cp: 1
      pp: 16
      ep: 1
      etp: 8                     # tensor parallel ranks of an expert; default: tp
      dp: 128                    # data parallel ranks; default: all that are left
      zero: 1                    # ZeRO stage 0 to 3; default: 0, one all-reduce of the gradients
      fsdp: false                # the same as zero: 3
      microbatches: 16           # per pipeline and step
      micro_batch_size: 1        # sequences per microbatch
      interleave: 1              # virtual stages per pipeline rank
      sequence_parallel: true    # default: where tp is more than 1
      ends_as_layers: true       # embedding and output take the place of a layer each; default: false
      layers_per_stage: [7, 8]   # or the layers of each (virtual) stage, one by one
      rank_order: tp-cp-dp-pp    # neighbours first; or tp-cp-pp-dp
      exchange: collective       # or slices: each data parallel rank adds up a slice for all, as CaffeOnSpark does
      context: p2p               # how context parallel ranks share keys and values: p2p or all_gather
      recompute: none            # activations computed again backward: none, selective (attention's scores), full
    sequence_length: 8192        # default: that of the preset
    precision: bf16              # fp32, fp16, bf16, fp8, or {parameters: bf16, gradients: fp32, activations: bf16, dispatch: fp8,
                                 #  compute: tf32}
    overlap: [dp]                # kinds that hide behind compute: dp, tp, cp, ep, pp, embedding; or all, none
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from fabctl.traffic.model_presets import read_model
from fabctl.traffic.model_shape import ModelShape
from fabctl.yamlspec import Node, suggestion

KEYS = ("model", "parallelism", "sequence_length", "precision", "overlap")
RANK_ORDERS = ("tp-cp-dp-pp", "tp-cp-pp-dp")
EXCHANGES = ("collective", "slices")
CONTEXTS = ("p2p", "all_gather")
RECOMPUTE = ("none", "selective", "full")
KINDS = ("dp", "tp", "cp", "ep", "pp", "embedding")
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1}
COMPUTE = ("fp32", "tf32", "bf16", "fp16", "fp8")
MAX_RANKS = 1 << 20
MAX_LENGTH = 1 << 30


@dataclass(frozen=True)
class Parallelism:
    """How a model is cut over ranks.

    Parameters
    ----------
    tp, cp, pp, ep : int
        Tensor, context, pipeline and expert parallel ranks.
    etp : int
        Tensor parallel ranks of an expert.
    dp : int
        Data parallel ranks; 0: all that are left.
    zero : int
        ZeRO stage: 0 reduces gradients whole, 1 and 2 scatter them and gather parameters once a step, 3 (FSDP) gathers the
        parameters of each layer when it runs.
    microbatches, micro_batch_size : int
        Of one pipeline, and sequences in each.
    interleave : int
        Virtual stages per pipeline rank.
    sequence_parallel : bool
    ends_as_layers : bool
        The embedding and the output layer count as a layer each when layers are dealt to stages.
    layers_per_stage : tuple of int
        Of each virtual stage; empty: as even as can be.
    rank_order : str
        One of `RANK_ORDERS`.
    exchange : str
        One of `EXCHANGES`: gradients are added up by a collective, or slice by slice by the rank that owns the slice.
    context : str
        One of `CONTEXTS`.
    recompute : str
        One of `RECOMPUTE`: what backward computes again in place of keeping it.
    places : dict of str to str
        Place of each key in the job file; ``""`` is that of the whole.
    """

    tp: int = 1
    cp: int = 1
    pp: int = 1
    ep: int = 1
    etp: int = 1
    dp: int = 0
    zero: int = 0
    microbatches: int = 1
    micro_batch_size: int = 1
    interleave: int = 1
    sequence_parallel: bool = False
    ends_as_layers: bool = False
    layers_per_stage: tuple[int, ...] = ()
    rank_order: str = RANK_ORDERS[0]
    exchange: str = "collective"
    context: str = "p2p"
    recompute: str = "none"
    places: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def inner(self) -> int:
        """Ranks that hold one replica of the model."""
        return self.tp * self.cp * self.pp

    def where(self, *keys: str) -> str:
        """Return the place of the first of some keys that the file has, else that of the whole."""
        return next((self.places[key] for key in keys if key in self.places), self.places.get("", ""))


PARALLELISM = (*(one.name for one in fields(Parallelism) if one.name != "places"), "fsdp")
"""Keys of ``parallelism`` in a job file."""


@dataclass(frozen=True)
class Precision:
    """Bytes per number of what is sent: parameters, gradients, activations, tokens on their way to experts; and how GPUs compute.

    `compute`, one of `COMPUTE`, is the type of matrix products: it decides a GPU's peak and nothing that is sent.
    """

    parameters: int = 2
    gradients: int = 4
    activations: int = 2
    dispatch: int = 2
    compute: str = "bf16"


@dataclass(frozen=True)
class TrainingSpec:
    """A training job as its file describes it.

    Parameters
    ----------
    model : ModelShape
    parallelism : Parallelism
    sequence_length : int
        Tokens; 0 where the model's kind has none.
    precision : Precision
    overlap : tuple of str
        Kinds of `KINDS` that hide behind compute.
    """

    model: ModelShape
    parallelism: Parallelism = Parallelism()
    sequence_length: int = 0
    precision: Precision = Precision()
    overlap: tuple[str, ...] = ()


def parse_training(values: dict[str, Node]) -> TrainingSpec:
    """Return the training keys of a job file.

    Raises
    ------
    InputError
        For unknown words, a model without a field that the parallelism needs, and degrees that do not divide the model.
    """
    model = read_model(values["model"])
    cut = _parallelism(values["parallelism"], values["model"].where) if "parallelism" in values else Parallelism()
    length = values.get("sequence_length")
    spec = TrainingSpec(
        model=model,
        parallelism=cut,
        sequence_length=length.integer(low=1, high=MAX_LENGTH) if length else model.sequence_length,
        precision=_precision(values["precision"]) if "precision" in values else Precision(),
        overlap=_overlap(values["overlap"]) if "overlap" in values else (),
    )
    _check(spec, values)
    return spec


def _parallelism(node: Node, model_where: str) -> Parallelism:
    values = node.mapping(PARALLELISM)
    places = {"": node.where, "model": model_where, **{key: value.where for key, value in values.items()}}

    def number(key: str, default: int) -> int:
        return values[key].integer(low=1, high=MAX_RANKS) if key in values else default

    def flag(key: str, default: bool) -> bool:
        return values[key].flag() if key in values else default

    zero = values["zero"].integer(low=0, high=3) if "zero" in values else 0
    fsdp = flag("fsdp", zero == 3)
    if "zero" in values and fsdp != (zero == 3):
        raise values["fsdp"].error(f"'fsdp' is ZeRO stage 3, and 'zero' says {zero}", hint="give one of them")
    exchange = values["exchange"].choice(EXCHANGES) if "exchange" in values else "collective"
    if exchange == "slices" and (zero or fsdp):
        raise values["exchange"].error(
            "slices are exchanged by ranks that hold the whole model", hint="leave 'zero' and 'fsdp' out"
        )
    if "layers_per_stage" in values and "ends_as_layers" in values:
        raise values["ends_as_layers"].error("'layers_per_stage' and 'ends_as_layers' exclude each other")
    stages = values["layers_per_stage"].items() if "layers_per_stage" in values else []
    tp = number("tp", 1)
    return Parallelism(
        tp=tp,
        cp=number("cp", 1),
        pp=number("pp", 1),
        ep=number("ep", 1),
        etp=number("etp", tp),
        dp=number("dp", 0),
        zero=3 if fsdp else zero,
        microbatches=number("microbatches", 1),
        micro_batch_size=number("micro_batch_size", 1),
        interleave=number("interleave", 1),
        sequence_parallel=flag("sequence_parallel", tp > 1),
        ends_as_layers=flag("ends_as_layers", False),
        layers_per_stage=tuple(stage.integer(low=0, high=1 << 16) for stage in stages),
        rank_order=values["rank_order"].choice(RANK_ORDERS) if "rank_order" in values else RANK_ORDERS[0],
        exchange=exchange,
        context=values["context"].choice(CONTEXTS) if "context" in values else "p2p",
        recompute=values["recompute"].choice(RECOMPUTE) if "recompute" in values else "none",
        places=places,
    )


def _precision(node: Node) -> Precision:
    """Return the bytes of each number.

    Notes
    -----
    Megatron-LM sums gradients in 32 bits where it computes in bf16 or fp8 (``accumulate_allreduce_grads_in_fp32``), and in
    the type of the parameters else; fp8 computes with parameters that are kept and gathered in bf16.
    """
    if not node.is_mapping:
        word = node.choice(BYTES)
        width = max(BYTES[word], 2)
        return Precision(width, 2 if word == "fp16" else 4, width, width, word)
    values = node.mapping(("parameters", "gradients", "activations", "dispatch", "compute"))
    compute = values.pop("compute", None)
    given = {key: BYTES[value.choice(BYTES)] for key, value in values.items()}
    activations = given.get("activations", Precision.activations)
    products = values["activations"].text() if "activations" in values else Precision.compute
    return Precision(
        parameters=given.get("parameters", Precision.parameters),
        gradients=given.get("gradients", Precision.gradients),
        activations=activations,
        dispatch=given.get("dispatch", activations),
        compute=compute.choice(COMPUTE) if compute else products,
    )


def _overlap(node: Node) -> tuple[str, ...]:
    if not node.is_list:
        word = node.text()
        if word in ("all", "none"):
            return KINDS if word == "all" else ()
    chosen = []
    for item in node.items() if node.is_list else [node]:
        if item.text() not in KINDS:
            raise item.error(f"unknown kind of traffic '{item.text()}'", hint=suggestion(item.text(), (*KINDS, "all", "none")))
        chosen.append(item.text())
    return tuple(kind for kind in KINDS if kind in chosen)


def _check(spec: TrainingSpec, values: dict[str, Node]) -> None:
    cut, model, node = spec.parallelism, spec.model, values["model"]
    cuts = [f"{key}: {getattr(cut, key)}" for key in ("tp", "cp", "pp", "ep") if getattr(cut, key) > 1]
    what = f"'{cuts[0]}'" if cuts else "zero: 3 (FSDP)"
    if cuts or cut.zero == 3:
        model.require("layers", what, node)
    if not model.is_transformer:
        return
    if not spec.sequence_length and cuts:
        place = values.get("parallelism", node)
        raise place.error(f"{what} needs 'sequence_length'", hint="the tokens of a sequence, like sequence_length: 4096")
    if cut.ep > 1:
        model.require("experts", f"'ep: {cut.ep}'", node)
    if model.experts and cut.tp > 1 and not cut.sequence_parallel:
        where = values["parallelism"].find("sequence_parallel") or values["parallelism"]
        raise where.error("experts with 'tp' need sequence parallelism, as in Megatron-LM", hint="sequence_parallel: true")
    faults = (
        (model.heads % cut.tp, "tp", f"{model.heads} heads", cut.tp),
        (model.kv_heads % cut.tp and cut.tp % model.kv_heads, "tp", f"{model.kv_heads} heads of keys", cut.tp),
        (model.ffn_hidden % cut.tp, "tp", f"an MLP of {model.ffn_hidden}", cut.tp),
        (model.expert_ffn_hidden % cut.etp, "etp", f"an expert of {model.expert_ffn_hidden}", cut.etp),
        (model.experts % cut.ep, "ep", f"{model.experts} experts", cut.ep),
        (spec.sequence_length % cut.cp, "cp", f"{spec.sequence_length} tokens", cut.cp),
        (cut.sequence_parallel and spec.sequence_length // cut.cp % cut.tp, "tp", f"{spec.sequence_length} tokens", cut.tp),
        (cut.interleave > 1 and cut.microbatches % cut.pp, "pp", f"{cut.microbatches} interleaved microbatches", cut.pp),
    )
    for fault, key, things, parts in faults:
        if fault:
            where = values["parallelism"].find(key) or values["parallelism"]
            raise where.error(f"{things} do not divide by '{key}', {parts}")
    _check_stages(spec, values)


def _check_stages(spec: TrainingSpec, values: dict[str, Node]) -> None:
    cut, layers = spec.parallelism, spec.model.layers
    stages = cut.pp * cut.interleave
    if cut.layers_per_stage:
        node = values["parallelism"].find("layers_per_stage") or values["parallelism"]
        if len(cut.layers_per_stage) != stages:
            raise node.error(f"{len(cut.layers_per_stage)} stages are here, and pp x interleave is {stages}")
        if sum(cut.layers_per_stage) != layers:
            raise node.error(f"the stages have {sum(cut.layers_per_stage)} layers together, and the model {layers}")
    elif (layers + 2 * cut.ends_as_layers) % stages:
        node = values["parallelism"].find("pp") or values["parallelism"]
        interleaved = f" x {cut.interleave} virtual" if cut.interleave > 1 else ""
        ends = " and its two ends" if cut.ends_as_layers else ""
        hint = "ends_as_layers: true makes them even" if (layers + 2) % stages == 0 else "layers_per_stage says how many each has"
        raise node.error(f"{layers} layers{ends} do not divide by {cut.pp}{interleaved} stages", hint=hint)
    elif cut.ends_as_layers and (layers + 2) // stages < 2 and cut.interleave == 1 and stages > 1:
        node = values["parallelism"].find("ends_as_layers") or values["parallelism"]
        raise node.error("the first and the last stage would have no layer", hint="leave ends_as_layers out")
