"""Topology specs (a few lines of YAML) to `Fabric`, one file per family of topologies."""

from fabctl.registry import Entry, Registry

FAMILIES = Registry(
    "family",
    {
        "xgft": Entry("fabctl.generate.xgft:FAMILY", "fat trees of any height by the papers' m, w and p"),
        "fat-tree": Entry("fabctl.generate.fat_tree:FAMILY", "the full fat tree of switches of one radix"),
        "leaf-spine": Entry("fabctl.generate.leaf_spine:FAMILY", "two levels by counts, with oversubscription"),
        "rail-optimised": Entry("fabctl.generate.rail_optimised:FAMILY", "a leaf per rail and scalable unit: SuperPODs"),
        "director": Entry("fabctl.generate.director:FAMILY", "director chassis of line and fabric cards, with or without leaves"),
        "torus": Entry("fabctl.generate.torus:TORUS", "grids of one to four dimensions, each of them a ring"),
        "mesh": Entry("fabctl.generate.torus:MESH", "grids of one to four dimensions with open ends"),
        "hypercube": Entry("fabctl.generate.hyperx:HYPERCUBE", "2^n switches, one link in each of n dimensions"),
        "hyperx": Entry("fabctl.generate.hyperx:HYPERX", "grids whose lines are joined all to all"),
        "dragonfly": Entry("fabctl.generate.dragonfly:FAMILY", "groups joined all to all, of switches joined all to all"),
        "dragonfly-plus": Entry(
            "fabctl.generate.dragonfly_plus:FAMILY", "groups joined all to all by the spines of leaf-spine trees"
        ),
        "slim-fly": Entry("fabctl.generate.slim_fly:FAMILY", "the McKay-Miller-Siran graphs of diameter two"),
        "random-regular": Entry("fabctl.generate.random_regular:FAMILY", "Jellyfish: a random graph of switches of one degree"),
    },
    group="fabctl.families",
)
