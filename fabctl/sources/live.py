"""The running subnet: infiniband-diags' own tools are run, and what they print is read like a file.

The tools inherit the environment, so under libumad2sim's preload they see an ibsim fabric instead of the local port.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import threading
from dataclasses import replace

from fabctl.errors import SourceError
from fabctl.model.binding import bind_tables
from fabctl.model.fabric import Fabric
from fabctl.model.results import Remark
from fabctl.model.tables import RoutingTables
from fabctl.sources import ibnetdiscover, lft_dump
from fabctl.sources.reading import LoadedFabric, decode
from fabctl.sources.scan import is_tool_message

PATH = "live"
"""What stands for the file name in reports and messages."""

TIMEOUT_S = 900
"""A tool that takes longer hangs: discovering 11,664 hosts takes 22 s."""

TOOLS_AT_ONCE = 6
"""As many as ibsim lets in beside a subnet manager and a few of the user's own."""

_FREE = threading.BoundedSemaphore(TOOLS_AT_ONCE)
_SYSTEM_FOLDERS = "/usr/sbin:/sbin"
_PROCESS_ID = re.compile(r"\[\d+\] ")
_NODE = re.compile(r'^(?:Switch|Ca|Rt)\s+\d+\s+"[^"]*"\s+# "(.*?)"')
_LANES = re.compile(r"^\[(\d+)\].*\sv=(\d+)\s*$")
_VL_CAP = {"1": 1, "2": 2, "3": 4, "4": 8, "5": 15}
LEVEL = re.compile(r"\bsl\.+(0x[0-9a-fA-F]+|\d+)")
_SM_LID = re.compile(r"sm lid (\d+) .*SMINFO_MASTER")


def discover_live() -> LoadedFabric:
    """Discover the subnet of the local port with ``ibnetdiscover``, and the subnet manager's LID with ``sminfo``.

    Raises
    ------
    SourceError
        If ``ibnetdiscover`` is not installed or fails; the message holds what it printed.
    """
    data, complaints = run_tool("ibnetdiscover")
    fabric, report = ibnetdiscover.parse(decode(data, PATH), PATH)
    messages = tuple(Remark(0, line) for line in complaints if is_tool_message(line))
    report = replace(report, tool_messages=report.tool_messages + messages)
    try:
        answer = _SM_LID.search(decode(run_tool("sminfo")[0], PATH))
        fabric = replace(fabric, sm_lid=int(answer[1]) if answer else 0)
    except SourceError as error:
        report = replace(report, notes=(*report.notes, f"the subnet manager's LID is unknown: {error.message}"))
    return LoadedFabric(fabric, report, hashlib.sha256(data).hexdigest())


def read_live_tables(fabric: Fabric) -> RoutingTables:
    """Read the forwarding tables of all switches with ``dump_fts -n`` and bind them to `fabric`.

    Raises
    ------
    SourceError
        If ``dump_fts`` is not installed, fails, or cannot read a switch.
    InputError
        If the subnet is not the one that `fabric` describes.
    """
    data, complaints = run_tool("dump_fts", "-n")
    failed = [line for line in complaints if "failed" in line]
    if failed:
        raise SourceError(f"dump_fts could not read all tables: {failed[0]}", hint="try again; ibqueryerrors shows bad links")
    return bind_tables(fabric, lft_dump.SOURCE.parse(decode(data, PATH), PATH), PATH)


def read_path_level(source_lid: int, destination_lid: int) -> int:
    """Ask the subnet manager with ``saquery`` for the SL of a path.

    Raises
    ------
    SourceError
        If ``saquery`` is not installed, fails, or no path is known.
    """
    answer = LEVEL.search(decode(run_tool("saquery", "-p", "--slid", str(source_lid), "--dlid", str(destination_lid))[0], PATH))
    if answer is None:
        raise SourceError(f"the subnet manager knows no path from LID {source_lid} to LID {destination_lid}")
    return int(answer[1], 0)


def fewest_virtual_lanes() -> tuple[int, str]:
    """Return the fewest data virtual lanes that a connected port has (``ibnetdiscover --full``), and the first such port.

    Raises
    ------
    SourceError
        If ``ibnetdiscover`` is not installed or fails, or shows no lanes.
    """
    name, fewest = "", (0, "")
    for line in decode(run_tool("ibnetdiscover", "--full")[0], PATH).splitlines():
        node, port = _NODE.match(line), _LANES.match(line)
        if node:
            name = node[1]
        elif port and (not fewest[0] or _VL_CAP.get(port[2], 0) < fewest[0]):
            fewest = _VL_CAP.get(port[2], 1), f"{name}/P{port[1]}"
    if not fewest[0]:
        raise SourceError("ibnetdiscover --full shows no virtual lanes")
    return fewest


def run_tool(tool: str, *arguments: str) -> tuple[bytes, list[str]]:
    """Run one of infiniband-diags' tools; return its stdout, and its stderr as lines. Threads run `TOOLS_AT_ONCE` together.

    A Ctrl-C, or the end of the terminal, meets fabctl and not the tool, which is in a process group of its own: fabctl may be
    putting values back, and goes on.

    Raises
    ------
    SourceError
        If it is not installed, fails, or does not end.
    """
    program = shutil.which(tool, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_FOLDERS}")
    if program is None:
        raise SourceError(f"{tool} is not installed", hint="install the package infiniband-diags")
    try:
        with _FREE:
            done = subprocess.run(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
                process_group=0,
            )
    except OSError as error:
        raise SourceError(f"cannot run {program}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{tool} did not end within {TIMEOUT_S} s", hint="do all switches answer? ibswitches tells") from error
    stderr = _PROCESS_ID.sub("", done.stderr.decode("utf-8", "replace"))
    complaints = [line.strip() for line in stderr.splitlines() if line.strip()]
    if done.returncode:
        raise SourceError(
            f"{tool} failed with exit code {done.returncode}: {' | '.join(complaints[-4:]) or 'it printed nothing'}",
            hint="is a port active (ibstat), and may you open /dev/infiniband/umad*?",
        )
    return done.stdout, complaints
