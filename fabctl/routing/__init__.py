"""Routes: engines, the proof that they are safe, and OpenSM's file formats."""

from dataclasses import dataclass

from fabctl.registry import Entry, Registry


@dataclass(frozen=True)
class EngineEntry(Entry):
    """An engine: what it promises about deadlock, and which options it honours."""

    deadlock: str
    options: tuple[str, ...] = ()


def _entry(name: str, summary: str, deadlock: str, *options: str) -> EngineEntry:
    module = name.lower().replace("-", "_")
    return EngineEntry(f"fabctl.routing.engines.{module}:{module}", summary, deadlock, options)


ENGINES = Registry(
    "engine",
    {
        "minhop": _entry(
            "minhop",
            "shortest paths, balanced by destination",
            "free on trees; proved or named per fabric",
            "ignore-port",
            "hop-weights",
        ),
        "updn": _entry("updn", "up*/down*: deadlock-free on any fabric", "always free", "root", "ignore-port"),
        "dnup": _entry(
            "dnup",
            "away from the hosts, then back: for hosts on switches of several levels",
            "free, or refused for want of lanes",
            "root",
            "ignore-port",
            "vls",
        ),
        "ftree": _entry(
            "ftree", "D-mod-k for fat trees: contention-free shifts where the tree is whole", "always free", "root", "ignore-port"
        ),
        "dor": _entry(
            "dor",
            "dimension order on meshes, tori, hypercubes and HyperX; elsewhere shortest paths",
            "free on grids without rings; proved or named per fabric",
            "ignore-port",
        ),
        "torus-2QoS": _entry(
            "torus-2QoS",
            "dimension order on tori and meshes, on virtual lanes",
            "free, or refused for want of lanes",
            "ignore-port",
            "vls",
        ),
        "sssp": _entry(
            "sssp",
            "shortest paths, each destination around what those before it have loaded",
            "free on trees; proved or named per fabric",
            "ignore-port",
            "hop-weights",
        ),
        "dfsssp": _entry(
            "dfsssp", "sssp on virtual lanes", "free, or refused for want of lanes", "ignore-port", "hop-weights", "vls"
        ),
        "lash": _entry(
            "lash", "shortest paths on virtual lanes", "free, or refused for want of lanes", "ignore-port", "hop-weights", "vls"
        ),
        "nue": _entry(
            "nue",
            "shortest paths within an acyclic dependency graph, any number of VLs",
            "always free",
            "vls",
            "root",
            "ignore-port",
        ),
        "dfp": _entry(
            "dfp", "minimal paths of Dragonfly+: up, over, down", "free, or refused for want of lanes", "ignore-port", "vls"
        ),
        "jobs": _entry(
            "jobs",
            "cool channels for the jobs that run (--job), all other pairs balanced",
            "always free",
            "job",
            "root",
            "ignore-port",
            "vls",
        ),
        "auto": _entry(
            "auto", "the engine that fits the structure, and why", "always free", "root", "ignore-port", "hop-weights", "vls"
        ),
    },
    group="fabctl.engines",
)
"""Routing engines under OpenSM's names, one file each."""
