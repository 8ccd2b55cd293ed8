"""Every family of topologies at three sizes, small enough that all engines can meet all of them.

Two families more hold faults: ``xgft-faults`` trees that miss cables and switches, ``torus-faults`` tori that miss a cable, a
switch, and both.
"""

from __future__ import annotations

from functools import cache

from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric

SIZES = ("small", "middle", "large")

SPECS: dict[str, tuple[str, str, str]] = {
    "xgft": (
        "family: xgft\nm: [4, 4]\nw: [1, 2]\np: [1, 2]\nspeed: EDR\n",
        "family: xgft\nm: [4, 4, 4]\nw: [1, 4, 4]\nspeed: EDR\n",
        "family: xgft\nm: [8, 6, 6]\nw: [1, 4, 4]\nspeed: EDR\n",
    ),
    "xgft-faults": (
        "family: xgft\nm: [4, 4]\nw: [1, 4]\nspeed: EDR\nremove: {cables: 3}\n",
        "family: xgft\nm: [4, 4, 4]\nw: [1, 4, 4]\nspeed: EDR\nremove: {seed: 1, switches: 2, cables: 0.1}\n",
        "family: xgft\nm: [8, 6, 6]\nw: [1, 4, 4]\nspeed: EDR\nremove: {seed: 2, switches: 4, cables: 0.05, names: [leaf-02, node-0008]}\n",
    ),
    "fat-tree": (
        "family: fat-tree\nradix: 4\nlevels: 2\nspeed: EDR\n",
        "family: fat-tree\nradix: 6\nlevels: 3\nspeed: EDR\n",
        "family: fat-tree\nradix: 10\nlevels: 3\nspeed: EDR\n",
    ),
    "leaf-spine": (
        "family: leaf-spine\nhosts_per_leaf: 3\nleaves: 3\nspines: 2\nspeed: EDR\n",
        "family: leaf-spine\nhosts_per_leaf: 8\nleaves: 8\nspines: 2\noversubscription: 2\nspeed: EDR\n",
        "family: leaf-spine\nhosts_per_leaf: 12\nleaves: 24\nspines: 12\nspeed: EDR\n",
    ),
    "rail-optimised": (
        "family: rail-optimised\nrails: 2\nnodes_per_unit: 4\nunits: 2\nspeed: HDR\n",
        "family: rail-optimised\nnode_type: dgx-1\nnodes_per_unit: 8\nunits: 2\naggregation_nodes: true\n",
        "family: rail-optimised\nrails: 4\nnodes_per_unit: 8\nunits: 8\nradix: 16\nspeed: HDR\n",
    ),
    "director": (
        "family: director\nradix: 8\nline_cards: 4\nfabric_cards: 2\nspeed: EDR\n",
        "family: director\nradix: 16\nline_cards: 16\nfabric_cards: 8\nspeed: EDR\n",
        "family: director\nradix: 12\nspeed: EDR\nline_cards: 12\nfabric_cards: 6\nchassis: 2\nleaves: 36\nhosts_per_leaf: 8\ncables: 2",
    ),
    "torus": (
        "family: torus\ndims: [4, 4]\nhosts_per_switch: 2\nspeed: EDR\n",
        "family: torus\ndims: [3, 4, 5]\nhosts_per_switch: 1\nspeed: EDR\n",
        "family: torus\ndims: [5, 5, 5]\nhosts_per_switch: 2\nspeed: EDR\n",
    ),
    "torus-faults": (
        "family: torus\ndims: [4, 4]\nhosts_per_switch: 2\nspeed: EDR\nremove: {names: [sw-0-0 - sw-0-1]}\n",
        "family: torus\ndims: [4, 4, 4]\nhosts_per_switch: 1\nspeed: EDR\nremove: {names: [sw-1-2-3]}\n",
        "family: torus\ndims: [5, 5, 5]\nhosts_per_switch: 2\nspeed: EDR\nremove: {names: [sw-1-2-3, sw-4-0-0 - sw-0-0-0]}\n",
    ),
    "mesh": (
        "family: mesh\ndims: [3, 3]\nhosts_per_switch: 2\nspeed: EDR\n",
        "family: mesh\ndims: [4, 4, 3]\nhosts_per_switch: 1\nspeed: EDR\n",
        "family: mesh\ndims: [12, 12]\nhosts_per_switch: 2\nspeed: EDR\n",
    ),
    "hypercube": (
        "family: hypercube\ndimensions: 3\nhosts_per_switch: 2\nspeed: EDR\n",
        "family: hypercube\ndimensions: 5\nhosts_per_switch: 2\nspeed: EDR\n",
        "family: hypercube\ndimensions: 7\nhosts_per_switch: 2\nspeed: EDR\n",
    ),
    "hyperx": (
        "family: hyperx\ndims: [3, 4]\nhosts_per_switch: 2\nspeed: EDR\n",
        "family: hyperx\ndims: [6, 6]\nhosts_per_switch: 3\nspeed: EDR\n",
        "family: hyperx\ndims: [5, 5, 4]\nhosts_per_switch: 3\nspeed: EDR\n",
    ),
    "dragonfly": (
        "family: dragonfly\nhosts_per_switch: 1\nswitches_per_group: 2\nglobal_links: 1\nspeed: EDR\n",
        "family: dragonfly\nhosts_per_switch: 2\nswitches_per_group: 4\nglobal_links: 2\nspeed: EDR\n",
        "family: dragonfly\nhosts_per_switch: 3\nswitches_per_group: 6\nglobal_links: 3\nspeed: EDR\n",
    ),
    "dragonfly-plus": (
        "family: dragonfly-plus\nhosts_per_leaf: 2\nleaves: 2\nspines: 2\nglobal_links: 1\nspeed: EDR\n",
        "family: dragonfly-plus\nhosts_per_leaf: 4\nleaves: 4\nspines: 4\nglobal_links: 2\ngroups: 4\nspeed: EDR\n",
        "family: dragonfly-plus\nhosts_per_leaf: 5\nleaves: 5\nspines: 5\nglobal_links: 2\nspeed: EDR\n",
    ),
    "slim-fly": (
        "family: slim-fly\nq: 3\nhosts_per_switch: 2\nspeed: EDR\n",
        "family: slim-fly\nq: 5\nhosts_per_switch: 3\nspeed: EDR\n",
        "family: slim-fly\nq: 7\nhosts_per_switch: 3\nspeed: EDR\n",
    ),
    "random-regular": (
        "family: random-regular\nswitches: 10\ndegree: 3\nhosts_per_switch: 2\nspeed: EDR\n",
        "family: random-regular\nswitches: 40\ndegree: 5\nhosts_per_switch: 2\nseed: 1\nspeed: EDR\n",
        "family: random-regular\nswitches: 120\ndegree: 7\nhosts_per_switch: 3\nseed: 2\nspeed: EDR\n",
    ),
}
"""Specs by family, small to large: at most 150 switches and 400 HCAs."""


@cache
def build(family: str, size: str) -> Fabric:
    """Return a fabric of `SPECS`, built once: ``build("torus", "middle")``."""
    return parse(SPECS[family][SIZES.index(size)], f"{family}-{size}.yaml")[0]
