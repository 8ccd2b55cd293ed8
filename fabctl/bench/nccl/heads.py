"""Channels that begin and end at one GPU each, its head: those of NVLS and of CollNetDirect, in closed form."""

from __future__ import annotations

from dataclasses import replace

from fabctl.bench.nccl.constants import MAX_DIRECT_ARITY, MAX_NVLS_ARITY
from fabctl.bench.nccl.graphs import SLOWER, Graph, doubled, speeds_of
from fabctl.bench.nccl.machine import Machine
from fabctl.nodes.paths import PathType


def nvls_channels(machine: Machine) -> Graph:
    """Return NVLS's channels: one for each GPU that reduces in the NVSwitch, at most one for each HCA.

    Notes
    -----
    The head of a channel sends and receives twice its bandwidth over NVLink, every other GPU once (``ncclTopoSearchTryNvls``);
    more heads are better, then faster ones.
    """
    if not machine.nvswitch or machine.capability < 90:
        return Graph("nvls", 0, 0.0, 0.0)
    most = min(MAX_NVLS_ARITY, len(machine.gpus))
    fewest = 1 if machine.hcas else most
    speeds = speeds_of(machine)
    found = Graph("nvls", 0, 0.0, 0.0, PathType.NVL, _nearest(machine))
    for speed in speeds:
        if found.channels and (speed / found.inter_gb_s <= SLOWER or found.channels == most):
            break
        room = next((k for k in range(most, 0, -1) if (k + 1) * speed <= machine.nvlink_gb_s + 1e-3), 0)
        heads = min(room, _heads(machine, speed)) if machine.hcas else room
        if heads >= fewest and (heads > found.channels or heads * speed > found.channels * found.inter_gb_s):
            found = replace(found, channels=heads, intra_gb_s=speed, inter_gb_s=speed)
    for speed in reversed([s for s in speeds if s > found.inter_gb_s]):
        if found.inter_gb_s < 2 * found.intra_gb_s and (not machine.hcas or _heads(machine, speed) >= found.channels):
            found = replace(found, inter_gb_s=speed)
    return found


def direct_channels(machine: Machine) -> Graph:
    """Return CollNetDirect's channels: one for each GPU that talks to an HCA of its own."""
    most = min(MAX_DIRECT_ARITY + 1, len(machine.gpus))
    others = max(len(machine.gpus) - 1, 1)
    speeds = speeds_of(machine)

    def room(heads: int, speed: float) -> bool:
        return speed * (1 + (heads - 1) / others) <= machine.nvlink_gb_s + 1e-3

    found = Graph("collnet-direct", 0, 0.0, 0.0, PathType.NVL, _nearest(machine))
    for speed in speeds:
        heads = min(most, _heads(machine, speed))
        if heads and room(heads, speed) and heads * speed > found.channels * found.intra_gb_s:
            found = replace(found, channels=heads, intra_gb_s=speed, inter_gb_s=speed)
    found = doubled(machine, found, most) if found.channels else found
    for speed in reversed([s for s in speeds if s > found.inter_gb_s]):
        if found.channels and found.intra_gb_s < 2 * found.inter_gb_s and room(found.channels, speed):
            found = replace(found, intra_gb_s=speed)
    return found


def _nearest(machine: Machine) -> PathType:
    return min((machine.ways[hca, near[0]].type for hca, near in machine.near.items()), default=PathType.PIX)


def _heads(machine: Machine, speed: float) -> int:
    """Return how many GPUs can each talk both ways to an HCA of their own, next to them, at a speed and all at a time."""
    left = dict(machine.capacity)
    heads: set[str] = set()
    for hca in machine.hcas:
        head = next((gpu for gpu in machine.near[hca] if gpu not in heads), "")
        if not head:
            continue
        taken = dict(left)
        for hop, share in machine.ways[hca, head].loads + machine.ways[head, hca].loads:
            taken[hop] -= share * speed
        if min(taken.values()) >= -1e-3:
            heads.add(head)
            left = taken
    return len(heads)
