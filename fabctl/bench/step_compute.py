"""Floating-point operations of a training's step, and the time that they take on each stage.

A matrix product of m x k with k x n takes 2 m n k operations; backward takes twice those of forward ([1]_ appendix). Attention
counts all s^2 scores of a sequence, as the published utilisations do ([1]_, [2]_, [3]_), although kernels that skip the masked
half do half of them. Norms, softmax, activation functions and the optimizer are left out, as they are there.

References
----------
.. [1] Narayanan et al., Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM, SC 2021.
.. [2] Chowdhery et al., PaLM, 2022 (arXiv 2204.02311), appendix B: 6 N + 12 L H Q T operations per token.
.. [3] Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models, MLSys 2023, equation 7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError, UsageError
from fabctl.model.catalog import gpu
from fabctl.model.node_graph import NodeGraph
from fabctl.model.step_view import Compute
from fabctl.traffic.model_shape import ModelShape
from fabctl.traffic.parallelism import Grid
from fabctl.traffic.training import layers_of_stages
from fabctl.traffic.training_spec import TrainingSpec

Float64 = NDArray[np.float64]

BACKWARD = 2
"""Operations of backward per operation of forward: gradients of inputs, and of weights."""


@dataclass(frozen=True, eq=False)
class StageTimes:
    """Seconds that computing one microbatch takes on a rank of each stage, arrays of shape (pp,).

    Parameters
    ----------
    forward, backward : float64 arrays
        Backward with what it computes again.
    """

    forward: Float64
    backward: Float64

    @property
    def both(self) -> Float64:
        """Forward and backward."""
        return self.forward + self.backward


def model_flops(spec: TrainingSpec, n_sequences: int) -> float:
    """Return the operations of a step over a number of sequences, forward and backward, without recomputation.

    0 for a model whose layers are not known.
    """
    model = spec.model
    if not model.is_transformer:
        return 0.0
    layers, moe = np.array([float(model.layers)]), np.array([float(model.moe_layers)])
    token = _layer_flops(model, spec.sequence_length, layers, moe)[0] + 2 * model.vocabulary * model.hidden
    return float(token) * (1 + BACKWARD) * n_sequences * spec.sequence_length


def rank_flops(spec: TrainingSpec, cut: Grid) -> tuple[Float64, Float64]:
    """Return the operations that one rank of each stage does for a microbatch, forward and backward; two arrays of shape (pp,).

    Backward holds what is computed again: attention's scores with ``recompute: selective``, all layers with ``full``.
    """
    model, length, recompute = spec.model, spec.sequence_length, spec.parallelism.recompute
    layers, moe = layers_of_stages(spec, cut)
    tokens = spec.parallelism.micro_batch_size * length / (cut.tp * cut.cp)
    in_layers = _layer_flops(model, length, layers, moe)
    output = np.zeros(cut.pp)
    output[-1] = 2 * model.vocabulary * model.hidden
    again = {"none": np.zeros(cut.pp), "selective": layers * _score_flops(model, length), "full": in_layers}[recompute]
    return tokens * (in_layers + output), tokens * (BACKWARD * (in_layers + output) + again)


def stage_times(spec: TrainingSpec, cut: Grid, node: NodeGraph | None, compute: Compute) -> StageTimes | None:
    """Return how long a microbatch computes on each stage; None if neither an efficiency nor a time is given.

    Raises
    ------
    UsageError
        If an efficiency is given and the model's operations or the GPU are not known.
    RefusedError
        If the GPU does not compute in the training's precision.
    """
    if compute.ms:
        return _given(spec, cut, compute.ms * 1e-3)
    if not compute.efficiency:
        return None
    if not spec.model.is_transformer:
        raise UsageError(
            f"the floating-point operations of {spec.model.title or spec.model.name} are not known, only its parameters",
            hint="--compute-ms says how long a rank computes in a step",
        )
    known = gpu(node.gpu_model) if node and node.gpu_model else None
    if known is None:
        raise UsageError(
            f"an efficiency is a share of the GPU's peak, and the {'GPU' if node else 'node'} is not known",
            hint="--node NODE says what is inside the hosts, --compute-ms how long a rank computes in a step",
        )
    peak = peak_flops(spec, node)
    if not peak:
        others = ", ".join(name for name in known.tflops if name != "fp64")
        raise RefusedError(
            f"a {known.name} has no {spec.precision.compute}", hint=f"precision: {{compute: NAME}} with one of {others}"
        )
    forward, backward = rank_flops(spec, cut)
    return StageTimes(forward / (peak * compute.efficiency), backward / (peak * compute.efficiency))


def peak_flops(spec: TrainingSpec, node: NodeGraph | None) -> float:
    """Return the dense peak of the node's GPU in the training's precision, operations per second; 0 if it is not known."""
    known = gpu(node.gpu_model) if node and node.gpu_model else None
    return known.tflops.get(spec.precision.compute, 0.0) * 1e12 if known else 0.0


def _given(spec: TrainingSpec, cut: Grid, seconds: float) -> StageTimes:
    """Return the times of stages of which the fullest computes for `seconds` a step."""
    per_microbatch = seconds / spec.parallelism.microbatches
    if not spec.model.is_transformer:
        return StageTimes(np.array([per_microbatch / (1 + BACKWARD)]), np.array([per_microbatch * BACKWARD / (1 + BACKWARD)]))
    forward, backward = rank_flops(spec, cut)
    scale = per_microbatch / (forward + backward).max()
    return StageTimes(forward * scale, backward * scale)


def _layer_flops(model: ModelShape, length: int, layers: Float64, moe: Float64) -> Float64:
    """Return the operations of some layers per token, forward, shape of `layers`; `moe` of them have experts."""
    attention = 2 * model.attention_parameters + _score_flops(model, length)
    one_expert = model.routed_parameters / model.experts if model.experts else 0.0
    sparse = 2 * (model.experts_per_token * one_expert + model.shared_parameters)
    return layers * attention + (layers - moe) * 2 * model.mlp_parameters + moe * sparse


def _score_flops(model: ModelShape, length: int) -> float:
    """Return the operations of attention's scores and of their product with the values, per token and layer."""
    query = model.head_dim + model.rope_head_dim
    value = model.v_head_dim or model.head_dim
    return 2.0 * length * model.heads * (query + value)
