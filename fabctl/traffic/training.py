"""What one step of a training sends: the collectives of each kind of parallelism, their groups and their bytes.

Symbols: b sequences of s tokens in a microbatch, m microbatches, h the model's width, L its layers; t, c, p, d, e the tensor,
context, pipeline, data and expert parallel ranks. Activations cost a bytes each, parameters and gradients w and g.

Not counted, because they are small: the three all-reduces of the loss over the vocabulary, the norms' gradients over tensor
parallel ranks, and the norm of all gradients.

References
----------
.. [1] Narayanan et al., Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM, SC 2021.
.. [2] Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models, MLSys 2023.
.. [3] Rajbhandari et al., ZeRO: Memory Optimizations Toward Training Trillion Parameter Models, SC 2020.
.. [4] Zhao et al., PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel, VLDB 2023.
.. [5] Liu et al., Ring Attention with Blockwise Transformers for Near-Infinite Context, 2023 (arXiv 2310.01889).
.. [6] Grattafiori et al., The Llama 3 Herd of Models, 2024 (arXiv 2407.21783), section 3.3.2.
.. [7] Lepikhin et al., GShard, ICLR 2021, section 3; DeepSeek-AI, DeepSeek-V3, 2024 (arXiv 2412.19437), section 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fabctl.traffic.call import Call
from fabctl.traffic.parallelism import Grid, stage_layers
from fabctl.traffic.training_spec import TrainingSpec

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]


def training_calls(spec: TrainingSpec, grid: Grid) -> list[Call]:
    """Return the collectives of one step, in the order in which a microbatch meets them; groups of one rank are left out."""
    step = _Step(spec, grid)
    made = [*step.tensor(), *step.context(), *step.experts(), *step.pipeline(), *step.embedding(), *step.data()]
    return [_of_senders(call, call.kind in spec.overlap) for call in made if call.size_bytes.any()]


def _of_senders(call: Call, overlapped: bool) -> Call:
    """Return a call without the groups that send nothing."""
    sends = call.size_bytes > 0
    return replace(call, ranks=call.ranks[sends], size_bytes=call.size_bytes[sends], overlapped=overlapped)


def stage_parameters(spec: TrainingSpec, grid: Grid) -> tuple[Float64, Float64]:
    """Return the parameters that one rank of each stage holds: those that dp ranks share, and those that edp ranks share.

    Matrices are cut by t, and by e and t of the experts; norms, routers and learned positions are held whole. With tied
    embeddings the last of several stages holds a copy of the matrix.

    Returns
    -------
    two float64 arrays of shape (pp,)
    """
    model, t = spec.model, grid.tp
    if not model.is_transformer:
        return np.array([float(model.parameters)]), np.zeros(1)
    virtual, moe = layers_of_stages(spec, grid)
    dense = virtual - moe
    table = model.vocabulary * model.hidden / t
    router = model.experts * model.hidden
    shared = virtual * (model.attention_parameters / t + 2 * model.norm_parameters) + dense * model.mlp_parameters / t
    shared += moe * (router + (model.shared_parameters - router) / t)
    shared[0] += table + model.positions * model.hidden
    shared[-1] += model.norm_parameters + model.extra_parameters
    if not model.tied_embeddings or grid.pp > 1:
        shared[-1] += table
    routed = moe * model.routed_parameters / (grid.ep * grid.etp)
    if grid.ep == 1 and grid.etp == t:
        return shared + routed, np.zeros(grid.pp)
    return shared, routed


def layers_of_stages(spec: TrainingSpec, grid: Grid) -> tuple[Float64, Float64]:
    """Return the layers of each pipeline rank, and how many of them have experts; two float64 arrays of shape (pp,)."""
    virtual = stage_layers(spec.parallelism, spec.model.layers)
    begin = np.concatenate([[0], np.cumsum(virtual)])
    first_moe = spec.model.dense_layers if spec.model.experts else spec.model.layers
    moe = np.diff(np.maximum(begin, first_moe))
    every, sparse = np.zeros(grid.pp), np.zeros(grid.pp)
    ranks = np.arange(len(virtual)) % grid.pp
    np.add.at(every, ranks, virtual)
    np.add.at(sparse, ranks, moe)
    return every, sparse


@dataclass(frozen=True)
class _Step:
    spec: TrainingSpec
    grid: Grid

    @cached_property
    def _tokens(self) -> float:
        """Tokens of a microbatch on one context parallel rank: b s / c."""
        return self.spec.parallelism.micro_batch_size * self.spec.sequence_length / self.grid.cp

    @cached_property
    def _layers(self) -> tuple[Float64, Float64]:
        return layers_of_stages(self.spec, self.grid)

    @property
    def _microbatches(self) -> int:
        return self.spec.parallelism.microbatches

    @property
    def _again(self) -> int:
        """How often backward repeats what forward sends: once where it computes all activations again."""
        return int(self.spec.parallelism.recompute == "full")

    def _per_layer(
        self, kind: str, name: str, operation: str, ranks: Int32, size: float, runs: Float64, algorithm: str = ""
    ) -> Call:
        """Return a collective that runs `runs` times per microbatch on each stage.

        Stages with fewer runs than the busiest carry the message in proportion, so that the bytes of a step are right.
        """
        most = float(runs.max(initial=0.0))
        share = runs[self.grid.stage(ranks[:, 0])] / most if most else np.zeros(len(ranks))
        return Call(kind, name, operation, ranks, size * share, round(most) * self._microbatches, algorithm)

    def tensor(self) -> Iterator[Call]:
        """Tensor parallelism: one exchange of b s h activations behind attention and one behind the MLP of each layer.

        Without sequence parallelism these are all-reduces, two forward and two backward per layer and microbatch: each rank
        sends 8 b s h (t - 1) / t numbers ([1]_ section 3.2). With it each is an all-gather and a reduce-scatter, of the same
        bytes together ([2]_ section 4.2.2); backward gathers the input once more, because only a slice of it is kept (the same
        section). MoE layers exchange behind attention and shared experts. The ranks of an expert that is cut gather each other's
        tokens, once for each of k experts (Megatron-LM, ``MoEAlltoAllTokenDispatcher``). Full recomputation exchanges all that
        forward does once more.
        """
        grid, spec, again = self.grid, self.spec, self._again
        size = self._tokens * spec.model.hidden * spec.precision.activations
        layers, moe = self._layers if spec.model.is_transformer else (np.zeros(1), np.zeros(1))
        if grid.tp > 1:
            ranks, runs = grid.groups("tp"), 2 * layers - (0 if spec.model.shared_experts else moe)
            if spec.parallelism.sequence_parallel:
                yield self._per_layer("tp", "tp activations, forward", "all_gather", ranks, size, runs)
                yield self._per_layer("tp", "tp activations, forward", "reduce_scatter", ranks, size, runs)
                yield self._per_layer("tp", "tp activations, backward", "all_gather", ranks, size, (2 + again) * runs)
                yield self._per_layer("tp", "tp activations, backward", "reduce_scatter", ranks, size, (1 + again) * runs)
            else:
                yield self._per_layer("tp", "tp activations, forward", "all_reduce", ranks, size, runs)
                yield self._per_layer("tp", "tp activations, backward", "all_reduce", ranks, size, (1 + again) * runs)
            yield from self._vocabulary(ranks, size)
        if grid.etp > 1 and moe.any():
            routed = self._tokens / grid.tp * spec.model.experts_per_token * grid.etp * spec.model.hidden
            size = routed * spec.precision.activations
            yield self._per_layer("tp", "expert tp tokens", "all_gather", grid.groups("etp"), size, (2 + again) * moe)
            yield self._per_layer("tp", "expert tp tokens", "reduce_scatter", grid.groups("etp"), size, (2 + again) * moe)

    def _vocabulary(self, ranks: Int32, size: float) -> Iterator[Call]:
        """Return the exchanges of the embedding (first stage, forward) and of the output layer (last stage, backward)."""
        name, ends, output = "tp embedding and output", np.zeros(self.grid.pp), np.zeros(self.grid.pp)
        ends[0] += 1
        ends[-1] += 1
        output[-1] = 1
        if not self.spec.parallelism.sequence_parallel:
            yield self._per_layer("tp", name, "all_reduce", ranks, size, ends)
            return
        yield self._per_layer("tp", name, "all_gather", ranks, size, ends + output)
        yield self._per_layer("tp", name, "reduce_scatter", ranks, size, ends)

    def context(self) -> Iterator[Call]:
        """Context parallelism: every rank sees the keys and values of all tokens, in every layer.

        They go round a ring forward, and once more backward with their gradients ([5]_; Megatron-LM's ``cp_comm_type: p2p``), or
        are gathered, and their gradients reduced ([6]_): (c - 1) times b s / c keys and values per layer and pass either way.
        """
        grid, spec = self.grid, self.spec
        if grid.cp == 1:
            return
        model = spec.model
        width = model.kv_width / (grid.tp if model.kv_lora_rank else min(grid.tp, model.kv_heads))
        size = grid.cp * self._tokens * width * spec.precision.activations
        algorithm = "ring" if spec.parallelism.context == "p2p" else ""
        layers, ranks = self._layers[0], grid.groups("cp")
        passes = (2 + self._again) * layers
        yield self._per_layer("cp", "cp keys and values, forward and backward", "all_gather", ranks, size, passes, algorithm)
        yield self._per_layer("cp", "cp gradients of keys and values", "reduce_scatter", ranks, size, layers, algorithm)

    def experts(self) -> Iterator[Call]:
        """Expert parallelism: tokens go to their k experts and come back, forward and backward in each MoE layer.

        Each rank sends b s / (c t) tokens to k experts each, of h numbers, evenly to all e ranks ([7]_). Limits on the nodes that
        a token may reach are not counted.
        """
        grid, spec = self.grid, self.spec
        if grid.ep == 1:
            return
        tokens = self._tokens / grid.tp * spec.model.experts_per_token * spec.model.hidden
        ranks, runs = grid.groups("ep"), (2 + self._again) * self._layers[1]
        yield self._per_layer("ep", "ep dispatch", "alltoall", ranks, tokens * spec.precision.dispatch, runs)
        yield self._per_layer("ep", "ep combine", "alltoall", ranks, tokens * spec.precision.activations, runs)

    def pipeline(self) -> Iterator[Call]:
        """Pipeline parallelism: b s h activations to the next stage, their gradients back, for each microbatch.

        Interleaving v virtual stages sends v times as often, and from the last rank to the first v - 1 times ([1]_ section
        2.2.2). Every tensor parallel rank sends the whole, or its slice with sequence parallelism ([1]_ section 4.1 says that
        the whole is the same on all).
        """
        grid, spec = self.grid, self.spec
        if grid.pp == 1:
            return
        v = spec.parallelism.interleave
        size = self._tokens * spec.model.hidden * spec.precision.activations
        size /= grid.tp if spec.parallelism.sequence_parallel else 1
        lines = grid.groups("pp")
        pairs = np.stack([lines[:, :-1].ravel(), lines[:, 1:].ravel()], axis=1)
        weight = np.full(len(pairs), size)
        if v > 1:
            pairs = np.concatenate([pairs, lines[:, [-1, 0]]])
            weight = np.concatenate([weight, np.full(len(lines), size * (v - 1) / v)])
        times, extent = v * self._microbatches, (len(lines), grid.pp)
        yield Call("pp", "pp activations, forward", "sendrecv", pairs, weight, times, extent=extent)
        yield Call("pp", "pp gradients, backward", "sendrecv", pairs[:, ::-1], weight, times, extent=extent)

    def embedding(self) -> Iterator[Call]:
        """Tied embeddings: the first and the last stage add up their gradients of the shared matrix, once a step.

        Source: Megatron-LM's embedding groups (``megatron/core/parallel_state.py``).
        """
        grid, model = self.grid, self.spec.model
        if grid.pp > 1 and model.tied_embeddings:
            ranks = grid.groups("pp")[:, [0, -1]]
            size = model.vocabulary * model.hidden / grid.tp * self.spec.precision.gradients
            yield Call("embedding", "tied embeddings", "all_reduce", ranks, np.full(len(ranks), size))

    def data(self) -> Iterator[Call]:
        """Gradients of data parallelism: the d c ranks that hold the same parameters add them up.

        Psi parameters: one all-reduce, 2 Psi sent; with ZeRO 1 and 2 a reduce-scatter of gradients and an all-gather of
        parameters, 2 Psi together ([3]_ section 7); with ZeRO 3 and FSDP each layer's parameters are gathered forward and
        backward and its gradients scattered, 3 Psi ([3]_ section 7, [4]_), for each microbatch. ZeRO 2 keeps
        no whole gradients, so it scatters them for each microbatch (DeepSpeed, issue 2252).

        Slices: every rank sends each other one that one's slice of its gradients, and its own slice of the new parameters
        (CaffeOnSpark, ``SocketSync`` and ``RDMASync`` in ``caffe-distri/src/main/cpp/util``): 2 Psi, between all pairs.
        """
        shared, routed = stage_parameters(self.spec, self.grid)
        yield from self._replicas("dp", self.grid.groups("cp", "dp"), shared)
        if routed.any():
            yield from self._replicas("expert dp", self.grid.groups("edp"), routed)

    def _replicas(self, name: str, ranks: Int32, parameters: Float64) -> Iterator[Call]:
        if ranks.shape[1] == 1:
            return
        zero, precision = self.spec.parallelism.zero, self.spec.precision
        held = parameters[self.grid.stage(ranks[:, 0])]
        gradients, weights = held * precision.gradients, held * precision.parameters
        if self.spec.parallelism.exchange == "slices":
            yield Call("dp", f"{name} gradients, to their owners", "alltoall", ranks, gradients)
            yield Call("dp", f"{name} parameters, from their owners", "alltoall", ranks, weights)
        elif zero == 0:
            yield Call("dp", f"{name} gradients", "all_reduce", ranks, gradients)
        elif zero < 3:
            yield Call("dp", f"{name} gradients", "reduce_scatter", ranks, gradients, self._microbatches if zero == 2 else 1)
            yield Call("dp", f"{name} parameters", "all_gather", ranks, weights)
        else:
            layers = max(round(float(self._layers[0].max())), 1)
            times = layers * self._microbatches
            yield Call("dp", f"{name} parameters, forward", "all_gather", ranks, weights / layers, times)
            yield Call("dp", f"{name} parameters, backward", "all_gather", ranks, weights / layers, times)
            yield Call("dp", f"{name} gradients", "reduce_scatter", ranks, gradients / layers, times)
