"""OpenSM's log: when it swept, which engine made the routes, and why another did not.

Read from OpenSM 3.3.23 with errors and milestones (``-D 0x03``) and the verbose messages of its state and unicast managers.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from fabctl.errors import RefusedError
from fabctl.twin.child import last_lines

_BEGIN = "* INITIATING HEAVY SWEEP *"
_UP = "* SUBNET UP *"
_FAILED = "* ERRORS DURING INITIALIZATION *"
_PORT_DOWN = "SM port is down"
_DAY_S = 86_400.0
_LINE = re.compile(r"^\w{3} +\d+ (\d\d):(\d\d):(\d\d) (\d{6}) \[\w+\] (0x\w\w) -> (?:(\w+): )?(.*)$", re.MULTILINE)
_BUILDING = re.compile(r"building routing with '([^']+)'")
_CONFIGURED = re.compile(r"(\S+) tables configured on all switches")
_LANES = re.compile(r"(?:Virtual Lanes|Lanes) needed: (\d+)")
_ERROR_CODE = re.compile(r"^ERR \w+: ")


class SweepLog:
    """The log of one OpenSM.

    Parameters
    ----------
    path : Path
        The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def size(self) -> int:
        """Length in bytes: a mark for `sweeps_since` and `up_since`."""
        return self.path.stat().st_size if self.path.exists() else 0

    def text(self, mark: int = 0) -> str:
        """Return what was written after the first `mark` bytes."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as stream:
            stream.seek(mark)
            return stream.read().decode("utf-8", "replace")

    def sweeps_since(self, mark: int) -> int:
        """Return how many heavy sweeps have begun since."""
        return self.text(mark).count(_BEGIN)

    def up_since(self, mark: int) -> bool:
        """Return whether a heavy sweep that began since has brought the subnet up."""
        _, begun, after = self.text(mark).rpartition(_BEGIN)
        return bool(begun) and _UP in after

    def port_down_since(self, mark: int) -> bool:
        """Return whether OpenSM has found its own port down since."""
        return _PORT_DOWN in self.text(mark)

    def sweeping(self) -> bool:
        """Return whether a heavy sweep is under way."""
        _, begun, after = self.text().rpartition(_BEGIN)
        return bool(begun) and _UP not in after and _FAILED not in after

    def routed_with(self) -> list[str]:
        """Return the engine that made the routes, of each heavy sweep."""
        return _CONFIGURED.findall(self.text())

    def refuse_fall_back(self, engine: str) -> None:
        """Raise `RefusedError` with OpenSM's reason if another engine made the latest routes."""
        routed = self.routed_with()
        if routed[-1:] == [engine]:
            return
        by = f"fell back to {routed[-1]}" if routed else "made no routes"
        raise RefusedError(
            f"OpenSM's {engine} cannot route this fabric; OpenSM {by}: {self._reason(engine)}",
            hint="fabctl route computes routes without OpenSM: fabctl route --help",
        )

    def routing_wall_s(self) -> float | None:
        """Return the wall time from the start of the latest routing to its tables; None if the log does not say.

        OpenSM routes in one thread, and sends no table before all are computed.
        """
        began = done = None
        for line in _LINE.finditer(self.text()):
            moment = int(line[1]) * 3600 + int(line[2]) * 60 + int(line[3]) + int(line[4]) / 1e6
            if _BUILDING.search(line[7]):
                began, done = moment, None
            elif _CONFIGURED.search(line[7]):
                done = moment
        return None if began is None or done is None else (done - began) % _DAY_S

    def lanes_needed(self) -> int | None:
        """Return how many VLs the engine said that it needs; None if it does not say."""
        found = _LANES.findall(self.text())
        return int(found[-1]) if found else None

    def version(self) -> str:
        """Return OpenSM's version; empty if the log does not say."""
        found = re.search(r"OpenSM (\d\S*)", self.text())
        return found[1] if found else ""

    def last_error(self) -> str:
        """Return the latest error, or the log's last line."""
        errors = [_message(line) for line in _LINE.finditer(self.text()) if line[5] == "0x01" and line[7]]
        return errors[-1] if errors else next(iter(last_lines(self.path, 1)), "its log is empty")

    def _reason(self, engine: str) -> str:
        """Return the first error after the latest start of `engine`, or the last thing said of it."""
        lines = list(_LINE.finditer(self.text()))
        starts = [index for index, line in enumerate(lines) if line[7].startswith(f"building routing with '{engine}'")]
        if not starts:
            return "it does not know this engine"
        attempt: list[str] = []
        for line in lines[starts[-1] + 1 :]:
            if _BUILDING.search(line[7]) or _CONFIGURED.search(line[7]):
                break
            if line[5] == "0x01":
                return _message(line)
            attempt.append(_message(line))
        return attempt[-1] if attempt else "its log gives no reason"


class RoutingClock:
    """CPU time that OpenSM spends from the start of its latest routing to its tables, read while it runs.

    Parameters
    ----------
    log : SweepLog
    pid : int
        Of the OpenSM that writes it.
    """

    def __init__(self, log: SweepLog, pid: int) -> None:
        self._log = log
        self._clock = ~pid << 3 | 2  # Linux: the clock of another process's CPU time
        self._mark = 0
        self._began: float | None = None
        self.spent_s: float | None = None

    def look(self) -> None:
        """Read log and clock; the closer together the calls, the better the measurement."""
        try:
            now = time.clock_gettime(self._clock)
        except OSError:
            return
        whole, newline, _ = self._log.text(self._mark).rpartition("\n")
        self._mark += len(whole.encode()) + len(newline)
        for line in _LINE.finditer(whole):
            if _BUILDING.search(line[7]):
                self._began, self.spent_s = now, None
            elif _CONFIGURED.search(line[7]) and self._began is not None:
                self.spent_s = now - self._began


def _message(line: re.Match[str]) -> str:
    return _ERROR_CODE.sub("", line[7]).strip().rstrip(":")
