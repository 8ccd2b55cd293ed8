"""The OpenSM that runs on this machine: found, asked to read its files again, and watched."""

from __future__ import annotations

import os
import re
import select
import signal
from pathlib import Path
from types import TracebackType
from typing import Self

from fabctl.errors import InputError, RefusedError, SourceError, UsageError
from fabctl.install.settings import Settings, read_settings

NAME = "opensm"
_REFUSAL = re.compile(r" 0x01 -> (do_ucast_file_load: .*|ucast_mgr_route: file: .*|osm_qos_\w+: ERR .*|yyerror: ERR .*)")
"""What OpenSM 3.3.23 logs, at once, of a file that it does not take."""


class Manager:
    """A running OpenSM, as a context manager; it is held by a handle, so no other process is ever meant by its id.

    Parameters
    ----------
    pid : int, optional
        Its process id; without one, the only OpenSM on this machine.
    conf_dir : Path
        Folder of its ``opensm.conf``.

    Raises
    ------
    SourceError
        On entering: if no such process runs.
    UsageError
        If several OpenSMs run and none is named.
    RefusedError
        If the process is no OpenSM, or reads other settings.
    """

    def __init__(self, pid: int | None, conf_dir: Path) -> None:
        self.pid = only_manager() if pid is None else pid
        self._conf_dir = conf_dir

    def __enter__(self) -> Self:
        if not self._conf_dir.is_dir():
            raise InputError("no such folder", where=str(self._conf_dir), hint="--conf-dir is where opensm.conf lies")
        try:
            self._handle = os.pidfd_open(self.pid)
        except OSError as error:
            raise SourceError(f"no process has the id {self.pid}: has OpenSM ended?", hint="pidof opensm") from error
        try:
            self.settings = self._settings()
        except BaseException:
            os.close(self._handle)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        os.close(self._handle)

    @property
    def runs(self) -> bool:
        """Whether it still runs."""
        return not select.select([self._handle], [], [], 0)[0]

    def reload(self) -> None:
        """Have it read its files again and route.

        Raises
        ------
        SourceError
            If it has ended, or belongs to somebody else.
        """
        self.signal(signal.SIGHUP)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; errors as of `reload`."""
        try:
            signal.pidfd_send_signal(self._handle, number)
        except OSError as error:
            raise SourceError(f"cannot signal OpenSM, process {self.pid}: {error.strerror}") from error

    @property
    def mark(self) -> int:
        """Length of its log: what it says later stands after it."""
        log = self.settings.log
        return log.stat().st_size if log.is_file() and os.access(log, os.R_OK) else 0

    def refusal(self, mark: int) -> str:
        """Return what it has said against its files since `mark`, if anything; its log may be out of reach."""
        log = self.settings.log
        if not log.is_file() or not os.access(log, os.R_OK):
            return ""
        with log.open("rb") as stream:
            stream.seek(mark)
            found = _REFUSAL.search(stream.read().decode("utf-8", "replace"))
        return found[1].strip() if found else ""

    def _settings(self) -> Settings:
        process = Path(f"/proc/{self.pid}")
        try:
            name = (process / "comm").read_text().strip()
            if name != NAME:
                raise RefusedError(f"process {self.pid} is '{name}', not {NAME}", hint="pidof opensm")
            arguments = (process / "cmdline").read_bytes().decode("utf-8", "surrogateescape").split("\0")[:-1]
            folder = (process / "cwd").readlink()
        except FileNotFoundError as error:
            raise SourceError(f"process {self.pid} has ended", hint="pidof opensm") from error
        except PermissionError as error:
            raise SourceError(f"process {self.pid} belongs to somebody else", hint="run fabctl as the user of OpenSM") from error
        return read_settings(arguments, folder, self._conf_dir)


def only_manager() -> int:
    """Return the process id of the one OpenSM on this machine.

    Raises
    ------
    SourceError
        If there is none.
    UsageError
        If there are several.
    """
    found = []
    for comm in sorted(Path("/proc").glob("[0-9]*/comm")):
        try:
            if comm.read_text().strip() == NAME:
                found.append(int(comm.parent.name))
        except OSError:
            continue
    if not found:
        raise SourceError("no OpenSM runs on this machine", hint="run fabctl route install where the subnet manager runs")
    if len(found) > 1:
        raise UsageError(f"{len(found)} OpenSMs run here: {', '.join(map(str, found))}", hint="choose one with --opensm-pid")
    return found[0]
