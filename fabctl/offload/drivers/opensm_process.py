"""The OpenSM that reads a folder's settings: found among the processes, whose it is, and how it can be restarted.

Upstream and NVIDIA's OpenSM carry the same name and ignore each other's keys in silence, so which one runs is asked of the
program itself, of its log and of what it holds.
"""

from __future__ import annotations

import mmap
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from fabctl.errors import FabctlError, RefusedError, SourceError
from fabctl.install.manager import NAME
from fabctl.install.manager import Manager as Handle
from fabctl.install.settings import CONFIG

UPSTREAM = "upstream"
NVIDIA = "nvidia"
UNKNOWN = "unknown"

_NVIDIA_OPTION = "sharp_enabled"
"""An option that only NVIDIA's OpenSM has (SHARP manual; upstream's sources hold no such word)."""

_VERSION = re.compile(r"OpenSM (\d+(?:\.\w+)+)")
_ASK_S = 10
_LOG_TAIL = 1 << 20
_UNIT = re.compile(r"/([\w@.:-]*opensm[\w@.:-]*\.service)$", re.MULTILINE)


@dataclass(frozen=True)
class Flavour:
    """Which OpenSM runs.

    Parameters
    ----------
    name : str
        `UPSTREAM`, `NVIDIA` or `UNKNOWN`.
    version : str
    evidence : str
        What it was told by.
    """

    name: str
    version: str
    evidence: str


def running(conf_dir: Path) -> Handle:
    """Return a handle, not yet entered, on the OpenSM that reads the ``opensm.conf`` of a folder.

    Raises
    ------
    SourceError
        If none runs; those that read other settings are not meant.
    RefusedError
        If several read these settings.
    """
    found, others = [], []
    for comm in sorted(Path("/proc").glob("[0-9]*/comm")):
        try:
            if comm.read_text().strip() != NAME or comm.stat().st_uid not in (0, os.geteuid()):
                continue  # another user's process may call itself what it likes
        except OSError:
            continue
        pid = int(comm.parent.name)
        try:
            with Handle(pid, conf_dir):
                found.append(pid)
        except FabctlError as error:
            others.append(error)
    if len(found) > 1:
        processes = ", ".join(map(str, found))
        raise RefusedError(f"{len(found)} OpenSMs read these settings: processes {processes}", where=str(conf_dir))
    if found:
        return Handle(found[0], conf_dir)
    other = f"; {others[0].message}" if others else ""
    raise SourceError(
        f"no OpenSM runs with {conf_dir / CONFIG}{other}",
        hint="has it ended? start it, then fabctl offload recover; --driver opensm:conf=DIR names another folder",
    )


def identify(handle: Handle) -> Flavour:
    """Return which OpenSM a process is, by its program, its version and its log."""
    program = Path(f"/proc/{handle.pid}/exe")
    name = program.readlink()
    said = _asked(program)
    logged = _logged(handle.settings.log)
    return judge(str(name), said, logged, _holds(program, _NVIDIA_OPTION))


def judge(program: str, said: str, logged: str, knows_sharp: bool | None) -> Flavour:
    """Return which OpenSM it is.

    NVIDIA's calls itself 5.x, as ``5.21.12.MLNX20250617.f74e01b8``, upstream 3.3.x.

    Parameters
    ----------
    program : str
        Path of the running program.
    said, logged : str
        Version by the program itself, and by its log; empty: it does not say.
    knows_sharp : bool, optional
        Whether the program holds the name of NVIDIA's option ``sharp_enabled``; None: it could not be read.
    """
    version = said or logged
    evidence = [f"{program} calls itself OpenSM {said}" if said else f"{program} does not say its version"]
    if logged:
        evidence.append(f"its log says {logged}")
    if knows_sharp is not None:
        evidence.append(f"it {'knows' if knows_sharp else 'does not know'} the option {_NVIDIA_OPTION}")
    major = version.partition(".")[0]
    by_version = NVIDIA if "MLNX" in version or (major.isdigit() and int(major) >= 4) else UPSTREAM if major == "3" else UNKNOWN
    contradicted = by_version == UPSTREAM and knows_sharp is True
    return Flavour(UNKNOWN if contradicted else by_version, version, "; ".join(evidence))


def unit_of(pid: int) -> str:
    """Return the systemd unit that a process belongs to; empty if it is none of OpenSM's own."""
    try:
        return unit_in(Path(f"/proc/{pid}/cgroup").read_text())
    except OSError:
        return ""


def unit_in(cgroup: str) -> str:
    r"""Return OpenSM's unit in the text of ``/proc/PID/cgroup``.

    Examples
    --------
    >>> unit_in("0::/system.slice/opensmd.service\n"), unit_in("0::/user.slice/session-3.scope\n")
    ('opensmd.service', '')
    """
    found = _UNIT.search(cgroup)
    return found[1] if found else ""


def _asked(program: Path) -> str:
    try:
        done = subprocess.run(
            [str(program), "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_ASK_S, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = _VERSION.search(done.stdout.decode("utf-8", "replace"))
    return found[1] if found else ""


def _logged(log: Path) -> str:
    try:
        with log.open("rb") as stream:
            stream.seek(max(log.stat().st_size - _LOG_TAIL, 0))
            found = _VERSION.findall(stream.read().decode("utf-8", "replace"))
    except OSError:
        return ""
    return found[-1] if found else ""


def _holds(program: Path, word: str) -> bool | None:
    try:
        with program.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(word.encode()) >= 0
    except (OSError, ValueError):
        return None
