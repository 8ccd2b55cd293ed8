"""Topology specs (a few lines of YAML) to `Fabric`, one file per family of topologies."""

from fabctl.registry import Entry, Registry

FAMILIES = Registry(
    "family",
    {
        "xgft": Entry("fabctl.generate.xgft:FAMILY", "fat trees of any height by the papers' m, w and p"),
        "fat-tree": Entry("fabctl.generate.fat_tree:FAMILY", "the full fat tree of switches of one radix"),
        "leaf-spine": Entry("fabctl.generate.leaf_spine:FAMILY", "two levels by counts, with oversubscription"),
        "rail-optimised": Entry("fabctl.generate.rail_optimised:FAMILY", "a leaf per rail and scalable unit: SuperPODs"),
    },
    group="fabctl.families",
)
