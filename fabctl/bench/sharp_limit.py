"""What SHARP's streaming trees allow on the real cables and switches of a fabric."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.bench.sharp import SharpPlan
from fabctl.bench.sharp_time import STREAMING_SHARE
from fabctl.model.catalog import switch_asics
from fabctl.model.fabric import Fabric
from fabctl.model.predictions import Limit
from fabctl.model.rates import refuse_unknown_rates

Float64 = NDArray[np.float64]


def streaming_limit(plan: SharpPlan, rates: Float64) -> Limit:
    """Return what binds a large all-reduce by streaming aggregation: a cable of the trees, or a switch that several trees share.

    Each of `k` trees carries a `k`-th of the message up and down each of its edges, at `STREAMING_SHARE` of their rates. Trees
    on one cable share its rate; a switch with one active streaming tree (Quantum) takes its trees one after the other.

    Parameters
    ----------
    rates : float64 array of shape (n_channels,)
        Data rate of each channel in Gb/s.

    Returns
    -------
    Limit
        ``cable`` (an HCA's own one if several are as slow) or ``switch``, in algorithm bandwidth, GB/s.

    Raises
    ------
    RefusedError
        If a cable of a tree has no known rate.

    Complexity
    ----------
    O(edges of all trees).
    """
    fabric = plan.fabric
    us_per_byte = np.zeros(len(fabric.channel_port))
    turns = np.zeros(fabric.n_switches)
    trees = np.zeros(fabric.n_switches, dtype=np.int64)
    for tree in plan.trees:
        edges = np.concatenate([tree.up, fabric.channel_reverse[tree.up]])
        used = np.zeros(len(rates), dtype=bool)
        used[edges] = True
        refuse_unknown_rates(fabric, used, rates)
        edge_us = 8 / (len(plan.trees) * rates[edges] * 1e3 * STREAMING_SHARE)
        us_per_byte[edges] += edge_us
        slowest = np.zeros(fabric.n_nodes)
        np.maximum.at(slowest, fabric.channel_src[edges], edge_us)
        np.maximum.at(slowest, fabric.channel_dst[edges], edge_us)
        turns += slowest[: fabric.n_switches]
        trees += slowest[: fabric.n_switches] > 0
    turns[~_one_tree_at_a_time(fabric)] = 0
    if turns.max(initial=0) > us_per_byte.max() * (1 + 1e-9):
        switch = int(np.argmax(turns))
        name = f"{fabric.labels[switch]}, whose {trees[switch]} streaming trees take turns"
        return Limit("switch", name, 1 / float(turns[switch]) / 1e3)
    slowest_channels = np.flatnonzero(us_per_byte >= us_per_byte.max() * (1 - 1e-9))
    at_host = (fabric.channel_src >= fabric.n_switches) | (fabric.channel_dst >= fabric.n_switches)
    channel = int(slowest_channels[np.argmax(at_host[slowest_channels])])
    return Limit("cable", fabric.cable_label(channel), 1 / float(us_per_byte[channel]) / 1e3)


def _one_tree_at_a_time(fabric: Fabric) -> NDArray[np.bool_]:
    """Return which switches have one active streaming tree, shape (n_switches,)."""
    ids = [device_id for asic in switch_asics() if asic.streaming_trees == "per-switch" for device_id in asic.device_ids]
    return np.isin(fabric.device_id[: fabric.n_switches], ids)
