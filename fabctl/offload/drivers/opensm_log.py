"""What OpenSM did, by its log: it reports success by nothing else.

Read from OpenSM 3.3.23 at its default log level. Unless ``force_log_flush`` is set it keeps all but errors in its buffer; a
SIGUSR1, meant for logrotate, has it write them.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from fabctl.errors import RefusedError, SourceError
from fabctl.install.manager import Manager as Handle

TIMEOUT_S = 1800.0
"""Longest wait for a sweep: dfsssp on 11,664 hosts takes 800 s, minhop 164 s."""

IDLE_S = 60.0
"""An OpenSM that has neither swept nor computed for so long does not sweep any more."""

QUIET_S = 0.4
"""How long OpenSM must rest after a sweep."""

LOADED_S = 20.0
"""Longest wait for that rest: on a large fabric OpenSM answers path queries all the time."""

_REST_TICKS = 1

RECOVER = "start it, then fabctl offload recover"
_TAIL = 64 << 20
"""Bytes of the log in which the latest routing is sought."""

_LAST_SWEEP = 1 << 20
"""Bytes of the log in which the last sweep is sought."""

_SWEPT = "-> SUBNET UP"
_POLL_S = 0.1
_FLUSH_S = 0.3
_UP = re.compile(r"-> (?:state_mgr_up_msg: )?\**\s*SUBNET UP")
_ENGINE = re.compile(r"(\S+) tables configured on all switches")
_REFUSED = re.compile(
    r" 0x01 -> (parse_part_conf: .*|osm_prtn_make_partitions: .*|do_ucast_file_load: .*|ucast_mgr_route: .*"
    r"|osm_qos_\w+: ERR (?!AC01:).*|yyerror: .*|qos_\w+: ERR .*)"
)
"""AC01 is a QoS policy file that is not there: OpenSM does without."""

_FAILED = "ERRORS DURING INITIALIZATION"


def text_since(log: Path, mark: int) -> str:
    """Return what a log holds after its first `mark` bytes; all of it if it was begun anew.

    Raises
    ------
    SourceError
        If it cannot be read.
    """
    try:
        with log.open("rb") as stream:
            stream.seek(mark if mark <= log.stat().st_size else 0)
            return stream.read().decode("utf-8", "replace")
    except OSError as error:
        raise SourceError(f"cannot read OpenSM's log: {error.strerror}", where=str(log)) from error


def size(log: Path) -> int:
    """Return a log's length, 0 if there is none."""
    return log.stat().st_size if log.exists() else 0


def flush(handle: Handle) -> None:
    """Have OpenSM write what its log's buffer holds.

    Raises
    ------
    RefusedError
        If that would cut the log, or end OpenSM.
    """
    values = handle.settings.values
    if values.get("force_log_flush") == "TRUE":
        return
    if values.get("accum_log_file", "TRUE") != "TRUE" or not _catches(handle.pid, signal.SIGUSR1):
        raise RefusedError(
            "OpenSM keeps its log in a buffer, so what it does cannot be seen",
            where=str(handle.settings.config),
            hint="set force_log_flush TRUE there, and kill -HUP OpenSM",
        )
    handle.signal(signal.SIGUSR1)
    time.sleep(_FLUSH_S)


def await_up(handle: Handle, mark: int, timeout_s: float = TIMEOUT_S) -> None:
    """Wait until a sweep has brought the subnet up since `mark`, and OpenSM rests.

    A sweep that was under way when OpenSM was told to sweep says SUBNET UP too, and is followed by the one that was meant; what
    OpenSM does meanwhile is seen by the CPU time that it takes. What it refused in the sweep before that, it may go on to refuse:
    the files of before are no better for being put back.

    Raises
    ------
    SourceError
        If OpenSM ends, is stopped, does not sweep in time, or refuses a file.
    """
    log, now = handle.settings.log, time.monotonic()
    deadline, changed_at, busy_at, up_at = now + timeout_s, now, now, 0.0
    seen, spent = "", _cpu_ticks(handle.pid)
    known = _refused_before(log, mark)
    while True:
        flush(handle)
        text, ticks, now = text_since(log, mark), _cpu_ticks(handle.pid), time.monotonic()
        refused = next((words for words in _REFUSED.findall(text) if words not in known), "")
        if refused:
            raise SourceError(f"OpenSM refuses its files: {refused.strip()}", where=str(log))
        changed_at, seen = (now, text) if text != seen else (changed_at, seen)
        busy_at, spent = (now if ticks - spent > _REST_TICKS else busy_at), ticks
        if _UP.search(text):
            up_at = up_at or now
            if now - changed_at >= QUIET_S and (now - busy_at >= QUIET_S or now - up_at >= LOADED_S):
                return
        refuse_stopped(handle.pid)
        if not handle.runs:
            raise SourceError(f"OpenSM, process {handle.pid}, has ended", where=str(log), hint=RECOVER)
        if not up_at and (now > deadline or now - max(busy_at, changed_at) > IDLE_S):
            raise _no_sweep(handle, text, now - deadline + timeout_s)
        time.sleep(_POLL_S)


def _refused_before(log: Path, mark: int) -> set[str]:
    """Return what OpenSM said against its files in the last sweep before `mark`."""
    start = max(mark - _LAST_SWEEP, 0)
    before = text_since(log, start)[: mark - start] if log.exists() else ""
    return set(_REFUSED.findall("".join(before.rsplit(_SWEPT, 2)[-2:])))


def _no_sweep(handle: Handle, text: str, waited_s: float) -> SourceError:
    what = "its sweep failed" if _FAILED in text else "its log shows no sweep"
    return SourceError(
        f"OpenSM, process {handle.pid}, was told to sweep, and after {waited_s:.0f} s {what}",
        where=str(handle.settings.log),
        hint="is it the master (sminfo), and does log_flags hold 0x02?",
    )


def _cpu_ticks(pid: int) -> int:
    """Return the CPU time that a process has taken, in ticks of 10 ms; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def engine(handle: Handle) -> str | None:
    """Return the routing engine that made the routes in force; None if the log does not say."""
    flush(handle)
    log = handle.settings.log
    found = _ENGINE.findall(text_since(log, max(size(log) - _TAIL, 0)))
    return found[-1] if found else None


def wait_for(found: Callable[[], Handle | None], timeout_s: float, what: str) -> Handle:
    """Wait until there is a process.

    Raises
    ------
    SourceError
        If there is none in time.
    """
    deadline = time.monotonic() + timeout_s
    while (handle := found()) is None:
        if time.monotonic() > deadline:
            raise SourceError(f"after {timeout_s:.0f} s {what}")
        time.sleep(_POLL_S)
    return handle


def _catches(pid: int, number: signal.Signals) -> bool:
    mask = re.search(r"^SigCgt:\s*([0-9a-f]+)", _status(pid), re.MULTILINE)
    return mask is not None and bool(int(mask[1], 16) >> (number - 1) & 1)


def refuse_stopped(pid: int) -> None:
    """Raise `SourceError` if a process is stopped: it answers nothing."""
    if re.search(r"^State:\s*[tT]\b", _status(pid), re.MULTILINE):
        raise SourceError(f"OpenSM, process {pid}, is stopped", hint=f"kill -CONT {pid}")


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""
