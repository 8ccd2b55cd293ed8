"""The socket in a twin's folder through which fabctl, run inside it, reaches the fabctl that owns it.

A request and its reply are one line of JSON each: faults or a restart of OpenSM, and nothing or the error.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self

from fabctl.errors import FabctlError, InputError, RefusedError, SourceError, UsageError
from fabctl.twin.faults import VERBS, Fault

VARIABLE = "FABCTL_TWIN"
"""Environment variable that names the twin's folder to what runs inside."""

REQUEST_S = 10.0
_NAME = "control"
_ERRORS = {kind.__name__: kind for kind in (UsageError, InputError, SourceError, RefusedError)}
_RUN_ONE = "inside a twin only: fabctl twin run SOURCE -- bash runbook.sh"

_NOT_UNDERSTOOD = UsageError("the twin did not understand this request", hint="do both fabctl have the same version?")

Inject = Callable[[Sequence[Fault], bool], None]


class ControlServer:
    """Takes faults and restarts while the context lasts, one request after the other.

    Parameters
    ----------
    folder : Path
        Of the twin.
    inject : callable
        Makes the faults; its second argument says whether to wait for OpenSM.
    restart : callable
        Restarts OpenSM.
    """

    def __init__(self, folder: Path, inject: Inject, restart: Callable[[], None]) -> None:
        self._folder = folder
        self._inject = inject
        self._restart = restart
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self) -> Self:
        with _short_path(self._folder) as path:
            self._listener.bind(path)
        self._listener.listen()
        Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(REQUEST_S)
                with connection.makefile("rb") as stream:
                    request = stream.readline()
                if request:
                    connection.sendall(json.dumps(self._answer(request)).encode() + b"\n")

    def _answer(self, request: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(request)
            if asked.get("restart") is True:
                self._restart()
                return {}
            faults = [
                Fault(
                    row["verb"], row["target"], tuple((name, int(value)) for name, value in row["counters"]), int(row["percent"])
                )
                for row in asked["faults"]
            ]
            if any(fault.verb not in VERBS for fault in faults):
                return _told(_NOT_UNDERSTOOD)
            self._inject(faults, bool(asked["wait"]))
        except FabctlError as error:
            return _told(error)
        except (ValueError, KeyError, TypeError):
            return _told(_NOT_UNDERSTOOD)
        return {}


def _told(error: FabctlError) -> dict[str, Any]:
    kind = type(error).__name__
    return {"error": {"kind": kind, "message": error.message, "where": error.where, "hint": error.hint}}


def send_faults(faults: Sequence[Fault], *, wait: bool) -> None:
    """Have the twin that this program runs in make faults.

    Raises
    ------
    UsageError
        Outside any twin.
    SourceError
        If the twin has ended.
    FabctlError
        As of `Twin.inject`, which runs in the other process.
    """
    _ask({"faults": [asdict(fault) for fault in faults], "wait": wait})


def restart_manager() -> None:
    """Have the twin that this program runs in restart its OpenSM, with what ``opensm.conf`` says by now.

    Raises
    ------
    UsageError
        Outside any twin.
    FabctlError
        As of `OpenSM.restart`, which runs in the other process.
    """
    _ask({"restart": True})


def _ask(wanted: dict[str, Any]) -> None:
    folder = os.environ.get(VARIABLE, "")
    if not folder:
        raise UsageError(f"there is no twin here: {VARIABLE} is not set", hint=_RUN_ONE)
    request = json.dumps(wanted).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, _short_path(Path(folder)) as path:
            connection.connect(path)
            connection.sendall(request)
            with connection.makefile("rb") as stream:
                reply = stream.readline()
    except OSError as error:
        raise SourceError(f"the twin in {folder} does not answer: {error.strerror}", hint=_RUN_ONE) from error
    if not reply:
        raise SourceError(f"the twin in {folder} ended before it answered")
    told = json.loads(reply).get("error")
    if told:
        raise _ERRORS.get(told["kind"], SourceError)(told["message"], where=told["where"], hint=told["hint"])


@contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """Give the socket's path in a form that fits the 107 bytes that an address has, however deep the folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{_NAME}"
    finally:
        os.close(handle)
