"""What OpenSM needs to install routes as they are: tables for its ``file`` engine, the SL of each path, lines for its settings.

There is no lid matrix: OpenSM 3.3.23 counts hops for multicast itself in the time that it needs to read such a file, and its own
count follows the fabric.
"""

from __future__ import annotations

import numpy as np

from fabctl.model.fabric import Fabric
from fabctl.model.routes import Assessment
from fabctl.routing.exports.bundle import Pieces, refuse_unsafe, write_bundle
from fabctl.routing.exports.lfts import lft_dump
from fabctl.routing.exports.qos import qos_policy
from fabctl.routing.options import Options

LFTS = "opensm-lfts.dump"
POLICY = "qos-policy.conf"
SETTINGS = "opensm.conf"
ROOTS = "root-guids.txt"

HOME = "/etc/opensm"
"""Where OpenSM's settings live on Debian."""

OPERATIONAL = {1: 1, 2: 2, 4: 3, 8: 4, 15: 5}
"""PortInfo's code of operational virtual lanes, by their number (InfiniBand Architecture Specification volume 1, 14.2.5.6)."""


def opensm(assessment: Assessment, folder: str, options: Options) -> None:
    """Write the folder.

    Raises
    ------
    RefusedError
        If the tables are not safe: OpenSM would install them as they are; or if its QoS policy cannot say their SLs.
    InputError
        If the folder cannot be made or written.
    """
    refuse_unsafe(assessment, folder)
    tables = assessment.tables
    roots = _roots(tables.fabric, options)
    files: dict[str, Pieces] = {LFTS: lft_dump(tables)}
    arguments = f"-R file,no_fallback -U {LFTS}"
    if tables.service_level is not None:
        files[POLICY] = qos_policy(tables)
        arguments += f" -Q -Y {POLICY}"
    if roots:
        files[ROOTS] = "".join(f"{tables.fabric.guid_text(switch)}\n" for switch in roots)
    lines = [f"# for opensm.conf; the files belong into {HOME}", *settings(tables.fabric, tables.n_vls, policy=POLICY in files)]
    files[SETTINGS] = "".join(f"{line}\n" for line in lines)
    files["README"] = _README.format(
        origin=tables.origin,
        switches=tables.fabric.n_switches,
        lanes="1 virtual lane" if tables.n_vls == 1 else f"{tables.n_vls} virtual lanes",
        home=HOME,
        arguments=arguments,
        contents="".join(f"{name:<18}{_CONTENTS[name]}\n" for name in files),
    )
    write_bundle(folder, "opensm", assessment, files)


def settings(fabric: Fabric, n_vls: int, *, policy: bool, home: str = HOME) -> list[str]:
    """Return the lines of ``opensm.conf`` that make OpenSM use the files in `home`."""
    lines = ["routing_engine file,no_fallback", f"lfts_file {home}/{LFTS}"]
    lmc = int(fabric.port_lmc.max(initial=0))
    if lmc:
        on_switches = fabric.port_lmc[fabric.port_node < fabric.n_switches].any()
        lines += [f"lmc {lmc}", f"lmc_esp0 {'TRUE' if on_switches else 'FALSE'}"]
    if policy:
        lanes = range(n_vls)
        lines += [
            "qos TRUE",
            f"qos_policy_file {home}/{POLICY}",
            f"qos_max_vls {n_vls}",
            f"max_op_vls {next(code for most, code in OPERATIONAL.items() if most >= n_vls)}",
            "qos_high_limit 0",
            "qos_vlarb_high 0:0",
            f"qos_vlarb_low {','.join(f'{lane}:64' for lane in lanes)}",
            f"qos_sl2vl {','.join(str(level % n_vls) for level in range(16))}",
        ]
    return lines


def _roots(fabric: Fabric, options: Options) -> list[int]:
    """Return the switches that OpenSM's own tree engines should take as roots; none where there is no top tier."""
    if options.roots:
        return sorted(options.roots)
    tiers = fabric.tiers
    top = np.flatnonzero(tiers == tiers.max(initial=0))
    between = np.isin(fabric.channel_src, top) & np.isin(fabric.channel_dst, top)
    return [] if tiers.max(initial=0) < 1 or between.any() else top.tolist()


_CONTENTS = {
    LFTS: "forwarding tables of all switches",
    POLICY: "service level of each path; SL n travels on VL n",
    ROOTS: "GUIDs of the roots, for OpenSM's own updn, dnup and ftree (root_guid_file)",
    SETTINGS: "lines to add to opensm.conf",
}

_README = """\
Routes by engine {origin} for {switches} switches and {lanes}, computed by fabctl.

{contents}manifest.json     checksums, by which fabctl route install sees whether a file was changed

Try them once:        opensm -o {arguments}
Keep them installed:  add the lines of opensm.conf to {home}/opensm.conf, copy the other files to {home}, restart opensm
After a new export:   fabctl route install THIS_FOLDER --opensm-pid PID --conf-dir {home}
Read them back:       dump_fts > installed.txt; fabctl route fabric.txt --tables installed.txt
Ask for a path's SL:  saquery -p --slid 1 --dlid 14

OpenSM checks nothing but port numbers. It says on its log, not with its exit code, whether it took the tables: look for
"file tables configured on all switches". With no_fallback it tries again and again rather than route otherwise.
Its file engine does not react to the fabric: make a new export whenever a cable, switch or host comes or goes.
With several virtual lanes every port must have as many (VLCap of smpquery portinfo); SLs that no path has share the lanes.
There is no lid matrix (opensm -M): OpenSM counts hops for multicast itself, as fast as it reads them, and its count follows the
fabric where a file would not.
"""
