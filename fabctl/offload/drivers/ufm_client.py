"""UFM's REST interface: what is asked, what is changed, and every way in which that can fail by its name.

What reads is asked again, with growing pauses, after a 5xx or a dropped connection. What writes is sent once: if nobody knows
whether it was done, UFM is read before anything else.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fabctl.errors import FabctlError, LockedError, RefusedError, SourceError
from fabctl.offload.drivers.ufm_wire import Answer, DroppedError, LateError, Wire
from fabctl.printable import printable

ANSWER_S = 120.0
"""From the first byte of a request to the last of its answer; all ports of a large fabric are tens of megabytes."""

PAUSES_S = (0.5, 1.0, 2.0)
_POLL_S = 1.0
_LONGEST_PAUSE_S = 30.0
_WORDS = 200
_READ = 4096
_TAGS = re.compile(r"<style.*?</style>|<[^>]*>", re.DOTALL)


class AbsentError(RefusedError):
    """UFM has no such thing (404)."""


class ConflictError(LockedError):
    """Something else is changing the same (409)."""


class InDoubtError(SourceError):
    """Nobody knows whether a write was done: read before anything else.

    Parameters
    ----------
    message, hint : str
        As of `SourceError`.
    again : bool
        Whether it may be sent once more if a read shows that it was not done: UFM has ended its work on it.
    """

    def __init__(self, message: str, *, hint: str = "", again: bool) -> None:
        super().__init__(message, hint=hint)
        self.again = again


class _PassingError(SourceError):
    """What may be over in a moment."""

    def __init__(self, message: str, *, hint: str, retry_after: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class UfmClient:
    """Speaks to one UFM.

    Parameters
    ----------
    url, auth, ca, answer_s
        As of `fabctl.offload.drivers.ufm_wire.Wire`.
    pause : callable
        Waits for so many seconds.

    Raises
    ------
    UsageError, InputError, RefusedError
        If one of them cannot be used. Nothing is sent yet.
    """

    def __init__(
        self,
        url: str,
        auth: Path,
        ca: Path | None = None,
        *,
        answer_s: float = ANSWER_S,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._wire = Wire(url, auth, ca, answer_s)
        self._auth = auth
        self._pause = pause
        self.label = self._wire.label

    def get(self, *path: str, **query: str) -> Any:
        """Return what UFM holds at a path, as JSON has it.

        Raises
        ------
        AbsentError
            If there is no such thing.
        SourceError
            If UFM cannot be reached, fails, is too slow, or answers with no JSON or half of it.
        RefusedError
            If its certificate does not verify, or it does not know or let us.
        """
        return self._asked("GET", self._target(path, query), None)

    def query(self, *path: str, body: object) -> Any:
        """As `get`, where UFM wants to read the question from a body."""
        return self._asked("POST", self._target(path, {}), body)

    def send(self, method: str, *path: str, body: object = None, **query: str) -> None:
        """Have something changed; it is sent once.

        Raises
        ------
        InDoubtError
            If it may or may not have been done.
        ConflictError
            If something else is changing the same.
        AbsentError, SourceError, RefusedError
            As `get`; then it was not done.
        """
        target = self._target(path, query)
        words = f"{method} {target}"
        hint = "it may or may not be done: look before it is sent again"
        try:
            answer = self._wire.exchange(method, target, body)
        except LateError as error:
            raise InDoubtError(self._late(words), hint=hint, again=False) from error
        except DroppedError as error:
            raise InDoubtError(f"{self.label} {error} ({words})", hint=hint, again=method != "POST") from error
        failure = self._failure(answer, words)
        if failure is None:
            return
        if answer.status >= 500:
            raise InDoubtError(failure.message, hint=hint, again=True)
        raise failure

    def change(self, holds: Callable[[], bool], method: str, *path: str, body: object = None, **query: str) -> None:
        """Send a change; wherever its fate is unknown, look whether it was done before it is sent again.

        Parameters
        ----------
        holds : callable
            Reads whether it is as wanted.

        Raises
        ------
        SourceError
            If it is not done, and cannot be sent again safely.
        ConflictError, AbsentError, RefusedError
            As `send`.
        """
        for pause_s in (*PAUSES_S, None):
            try:
                self.send(method, *path, body=body, **query)
            except ConflictError:
                if not holds():
                    raise
                return
            except InDoubtError as error:
                if holds():
                    return
                if pause_s is None or not error.again:
                    raise SourceError(
                        f"{error.message}; UFM was asked, and it is not done", hint="UFM's log says why; it may still be at it"
                    ) from error
                self._pause(pause_s)
            else:
                return

    def remove(self, gone: Callable[[], bool], *path: str) -> None:
        """As `change`, with DELETE; what is not there is removed."""
        with suppress(AbsentError):
            self.change(gone, "DELETE", *path)

    def wait(self, holds: Callable[[], bool], times: int) -> bool:
        """Look so many times, a second apart, whether something holds."""
        for _ in range(times):
            if holds():
                return True
            self._pause(_POLL_S)
        return holds()

    def _asked(self, method: str, target: str, body: object) -> Any:
        for pause_s in PAUSES_S:
            try:
                return self._once(method, target, body)
            except _PassingError as error:
                self._pause(_longer(pause_s, error.retry_after))
        return self._once(method, target, body)

    def _once(self, method: str, target: str, body: object) -> Any:
        words = f"{method} {target}"
        try:
            answer = self._wire.exchange(method, target, body)
        except LateError as error:
            raise SourceError(self._late(words), hint="is UFM busy? try again") from error
        except DroppedError as error:
            raise _PassingError(f"{self.label} {error} ({words})", hint="does UFM run? look at its log") from error
        failure = self._failure(answer, words)
        if failure is None:
            return self._json(answer, words)
        if answer.status == 429 or answer.status >= 500:
            raise _PassingError(failure.message, hint=failure.hint, retry_after=answer.retry_after)
        raise failure

    def _target(self, path: tuple[str, ...], query: Mapping[str, str]) -> str:
        parts = "/".join(quote(part, safe="") for part in path)
        return f"/{parts}" + (f"?{urlencode(query, safe=',')}" if query else "")

    def _failure(self, answer: Answer, words: str) -> FabctlError | None:
        """Return what an answer's status says went wrong."""
        status = answer.status
        if 200 <= status < 300:
            return None
        said = f"{self._said(answer)} ({words})"
        if status == 401:
            return RefusedError(f"{self.label} does not know who is asking (401)", hint=f"token or USER:PASSWORD in {self._auth}")
        if status == 403:
            return RefusedError(f"{self.label} does not let this account do that (403){said}", hint="ask UFM's administrator")
        if status == 404:
            return AbsentError(f"{self.label} has no such thing (404){said}", hint="does this release of UFM have it?")
        if status == 409:
            return ConflictError(f"{self.label} is changing the same already (409){said}", hint="wait for it, then try again")
        if 300 <= status < 400:
            return SourceError(f"{self.label} sends us elsewhere ({status}), and credentials go nowhere else", hint="mend url=")
        if status == 429 or status >= 500:
            return SourceError(f"{self.label} fails ({status}){said}", hint="UFM's log says why")
        return RefusedError(f"{self.label} refuses ({status}){said}")

    def _said(self, answer: Answer) -> str:
        """Return UFM's own words of a failure, short and safe to show."""
        text = self._wire.credentials.hide(answer.data.decode("utf-8", "replace"))[:_READ]
        text = printable(" ".join(_TAGS.sub(" ", text).split()).strip('"'))
        return f": {text[:_WORDS]}{'...' if len(text) > _WORDS else ''}" if text else ""

    def _json(self, answer: Answer, words: str) -> Any:
        try:
            return json.loads(answer.data)
        except (ValueError, RecursionError) as error:
            raise SourceError(
                f"{self.label} answers with {len(answer.data)} bytes of {printable(answer.kind)} that are no JSON ({words})",
                hint="is this UFM's REST interface, or a page for people?",
            ) from error

    def _late(self, words: str) -> str:
        return f"{self.label} gives no whole answer in {self._wire.answer_s:g} s ({words})"


def _longer(pause_s: float, retry_after: str) -> float:
    """Return how long to wait: at least as long as UFM asks for, within reason."""
    return max(pause_s, min(float(retry_after), _LONGEST_PAUSE_S)) if re.fullmatch("[0-9]{1,9}", retry_after) else pause_s
