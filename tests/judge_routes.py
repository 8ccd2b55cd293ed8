"""One engine's routes before the real judges: exported, installed by OpenSM, read back from the switches, walked by ibdmchk.

`benchmarks/judge.py` does on large fabrics what the tests do on small ones.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from realstack import Ibsim, Verdict, ibdmchk

from fabctl.errors import RefusedError, SourceError
from fabctl.install.wanted import difference
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.routes import Assessment
from fabctl.model.tables import RoutingTables
from fabctl.routing.compute import compute_tables
from fabctl.routing.exports.ibdm import ibdm
from fabctl.routing.exports.opensm import opensm, settings
from fabctl.routing.options import DEFAULTS, Options
from fabctl.routing.verify import verify
from fabctl.sources.live import LEVEL
from fabctl.sources.reading import load_tables
from fabctl.twin.opensm import OpenSM, Settings

GIVEN = ("routing_engine", "lfts_file", "qos_policy_file", "qos ")
"""Settings that the twin's OpenSM gets on its command line."""

ANSWER_S = 20


@dataclass(frozen=True)
class Judged:
    """What became of an engine's routes.

    Parameters
    ----------
    engine : str
    refusal : str
        Why the engine, or the export, refused; empty if neither did.
    lanes : int
    expected_paths : int
        Pairs of channel adapters.
    verdict : Verdict, optional
        ibdmchk's, on what OpenSM dumped and with the SLs of the export; None after a refusal.
    differing : int
        Entries that the switches hold, or that OpenSM dumped, otherwise than computed. A highest LID that ``dump_fts`` leaves
        out is compared in the dump alone.
    wrong_levels : int
        Of the paths sampled, those to which OpenSM gives another SL.
    """

    engine: str
    refusal: str = ""
    lanes: int = 0
    expected_paths: int = 0
    verdict: Verdict | None = None
    differing: int = 0
    wrong_levels: int = 0

    @property
    def good(self) -> bool:
        """Whether the routes were installed as computed, and lose nothing and cannot deadlock."""
        return (self.verdict, self.differing, self.wrong_levels) == (Verdict(self.expected_paths, 0, 0, ()), 0, 0)


def judge(sim: Ibsim, fabric: Fabric, engine: str, folder: Path, *, options: Options = DEFAULTS, samples: int = 4) -> Judged:
    """Route a fabric, hand the routes to OpenSM on a running ibsim of that fabric, and have them judged.

    Parameters
    ----------
    samples : int
        Paths whose SL OpenSM is asked for, if there are several lanes.
    """
    try:
        tables = compute_tables(fabric, engine, options)
        found = Assessment(tables, verify(tables), None, (), fabric.endpoints, tables.notes)
        opensm(found, str(folder / "opensm"), options)
        ibdm(found, str(folder / "ibdm"), options)
    except RefusedError as error:
        return Judged(engine, refusal=error.message)
    policy, psl = folder / "opensm/qos-policy.conf", folder / "ibdm/psl"
    lines = settings(tables.fabric, tables.n_vls, policy=policy.exists())
    told = Settings(
        "file",
        folder / "opensm/opensm-lfts.dump",
        policy if policy.exists() else None,
        config=tuple(line for line in lines if not line.startswith(GIVEN)),
    )
    with OpenSM(sim, folder / "run", told, once=True, dump=True):
        (folder / "held.txt").write_text(sim.dump_fts())
    wrong = 0
    if policy.exists():
        with OpenSM(sim, folder / "daemon", told):
            wrong = wrong_levels(sim, tables, samples)
    held, dumped = (load_tables(str(folder / name), tables.fabric) for name in ("held.txt", "run/opensm-lfts.dump"))
    differing = difference(held, tables).entries + int(np.count_nonzero(dumped.lft != tables.lft))
    dumps = folder / "run/opensm-subnet.lst", folder / "run/opensm.fdbs"
    verdict = ibdmchk(*dumps, folder, psl if psl.exists() else None)
    adapters = np.count_nonzero((fabric.node_kind[fabric.port_node] == NodeKind.CA) & (fabric.port_peer >= 0))
    return Judged(engine, "", tables.n_vls, int(adapters * (adapters - 1)), verdict, differing, wrong)


def wrong_levels(sim: Ibsim, tables: RoutingTables, samples: int) -> int:
    """Return for how many of a few paths, to HCAs and to switches, OpenSM answers another SL."""
    fabric, level = tables.fabric, tables.service_level
    if level is None:
        return 0
    rng, wrong = np.random.default_rng(1), 0
    odd = np.argwhere(level[fabric.port_node[fabric.port_peer[fabric.endpoints]]] > 0)
    for number in range(samples):
        port, lid = int(rng.choice(fabric.endpoints)), int(rng.choice(np.flatnonzero(fabric.port_of_lid >= 0)))
        if number % 2 and len(odd):
            row, lid = (int(index) for index in rng.choice(odd))
            port = int(fabric.endpoints[row])
        if lid == fabric.port_lid[port] or fabric.port_of_lid[lid] < 0:
            continue
        wanted = int(level[fabric.port_node[fabric.port_peer[port]], lid])
        wrong += path_level(sim, int(fabric.port_lid[port]), lid) != wanted
    return wrong


def path_level(sim: Ibsim, source_lid: int, lid: int) -> int:
    """Ask OpenSM for a path's SL; the first questions after a sweep may get no answer."""
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline:
        with suppress(SourceError):
            answer = LEVEL.search(sim.run("saquery", "-p", "--slid", str(source_lid), "--dlid", str(lid)))
            assert answer, f"OpenSM knows no path from LID {source_lid} to LID {lid}"
            return int(answer[1], 0)
        time.sleep(0.1)
    raise AssertionError("OpenSM answers no question for a path")
