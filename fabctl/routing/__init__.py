"""Routes: engines, the proof that they are safe, and OpenSM's file formats."""

from fabctl.registry import Entry, Registry

ENGINES = Registry(
    "engine",
    {
        "minhop": Entry("fabctl.routing.engines.minhop:minhop", "shortest paths, balanced by destination"),
        "updn": Entry("fabctl.routing.engines.updn:updn", "up*/down*: deadlock-free on any fabric"),
        "ftree": Entry(
            "fabctl.routing.engines.ftree:ftree", "D-mod-k for fat trees: contention-free shifts where the tree is whole"
        ),
    },
    group="fabctl.engines",
)
