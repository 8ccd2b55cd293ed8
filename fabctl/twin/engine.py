"""``--engine opensm:NAME``: the real OpenSM routes the fabric on the twin, and its tables are read back from the switches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fabctl.errors import RefusedError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.options import DATA_VLS, DEFAULTS, Options
from fabctl.twin.opensm import LAYERED, OpenSM, Settings
from fabctl.twin.readback import read_tables, refuse_moved_lids
from fabctl.twin.scratch import Scratch
from fabctl.twin.twin import lid_mask, simulated
from fabctl.yamlspec import suggestion

PREFIX = "opensm:"

HONOURED = {
    "minhop": ("hop-weights",),
    "updn": ("root", "hop-weights"),
    "dnup": ("root", "hop-weights"),
    "ftree": ("root",),
    "dor": ("hop-weights",),
    "lash": ("vls",),
    "sssp": (),
    "dfsssp": ("vls",),
    "nue": ("vls",),
    "torus-2QoS": (),
}
"""OpenSM's routing engines, and the options that are passed on to each. Its ``-i`` made no difference to minhop when tried."""

_RANDOM = "OpenSM's nue draws at random: another run gives other tables"

_ONE_LANE = "OpenSM keeps the service level of each path to itself: all paths are judged as if on one virtual lane"


@dataclass(frozen=True, eq=False)
class OpenSMRun:
    """What OpenSM made of a fabric.

    Parameters
    ----------
    tables : RoutingTables
        As the switches hold them.
    routing_s : float
        CPU seconds of the routing alone.
    vls_needed : int
        Virtual lanes that the engine's log asks for; those that it was allowed where it does not say.
    version : str
        OpenSM's.
    """

    tables: RoutingTables
    routing_s: float
    vls_needed: int
    version: str


def ask_opensm(fabric: Fabric, engine: str, options: Options = DEFAULTS) -> OpenSMRun:
    """Have OpenSM route a fabric.

    Parameters
    ----------
    fabric : Fabric
        Ports keep their LIDs; those without one get one first.
    engine : str
        OpenSM's name of the engine.

    Raises
    ------
    UsageError
        If OpenSM has no such engine, or the engine does not honour an option given.
    RefusedError
        If OpenSM fell back to another engine, with its reason; or if the engine needs more virtual lanes than are allowed.
    InputError
        If a LID is claimed twice, or there is nothing to route.
    SourceError
        If a Debian package is missing (the hint names it), or ibsim or OpenSM fails.
    """
    _check_request(engine, options)
    with Scratch() as scratch:
        folder = scratch.folder
        addressed, sim = simulated(fabric, scratch)
        with sim, OpenSM(sim, folder / "opensm", _settings(addressed, engine, options, folder), once=True) as manager:
            lanes = manager.log.lanes_needed()
            if lanes is not None and lanes > options.max_vls:
                raise RefusedError(
                    f"OpenSM's {engine} needs {lanes} virtual lanes here, and {options.max_vls} are allowed",
                    hint=f"allow {lanes}; or fabctl's own engines, which need fewer",
                )
            refuse_moved_lids(addressed, manager.folder / "guid2lid")
            tables = read_tables(sim, addressed, PREFIX + engine)
            version = manager.log.version()
            notes = [note for note, says in ((_ONE_LANE, engine in LAYERED), (_RANDOM, engine == "nue")) if says]
            used = options.max_vls if engine == "nue" else 1
            return OpenSMRun(replace(tables, notes=(*tables.notes, *notes)), manager.routing_s, lanes or used, version)


def refuse_unknown_engine(engine: str) -> None:
    """Raise `UsageError` if OpenSM has no routing engine of that name."""
    if engine not in HONOURED:
        raise UsageError(f"OpenSM has no engine '{engine}'", hint=suggestion(engine, HONOURED))


def _check_request(engine: str, options: Options) -> None:
    refuse_unknown_engine(engine)
    for name in options.given():
        if name not in HONOURED[engine]:
            who = ", ".join(PREFIX + other for other, honoured in HONOURED.items() if name in honoured)
            raise UsageError(f"engine {PREFIX}{engine} does not honour --{name}", hint=f"these do: {who}")
    if options.max_vls > DATA_VLS:
        raise UsageError(f"the twin's links have {DATA_VLS} virtual lanes; {options.max_vls} are asked for")


def _settings(fabric: Fabric, engine: str, options: Options, folder: Path) -> Settings:
    """Write what the options say into files that OpenSM reads."""
    roots = [fabric.guid_text(switch) for switch in options.roots]
    return Settings(
        engine=engine,
        roots=_listed(folder / "roots.txt", roots),
        hop_weights=_listed(folder / "hop-weights.txt", _hop_weights(fabric, options)),
        lmc=lid_mask(fabric),
        config=(f"nue_max_num_vls {options.max_vls}",),
    )


def _hop_weights(fabric: Fabric, options: Options) -> list[str]:
    if options.hop_weight is None:
        return []
    channels = np.flatnonzero((options.hop_weight != 1) & (fabric.channel_src < fabric.n_switches))
    sources, ports = fabric.channel_src[channels].tolist(), fabric.channel_port[channels]
    rows = zip(sources, fabric.port_number[ports].tolist(), options.hop_weight[channels].tolist(), strict=True)
    return [f"{fabric.guid_text(switch)} {number} {weight}" for switch, number, weight in rows]


def _listed(path: Path, lines: list[str]) -> Path | None:
    if not lines:
        return None
    path.write_text("".join(f"{line}\n" for line in lines))
    return path
