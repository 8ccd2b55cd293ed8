"""One request to UFM over HTTPS, and its whole answer within a time; or why there is none.

Redirections are not followed and proxies not used, so credentials go to one place alone.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPSConnection, IncompleteRead
from pathlib import Path

from fabctl.errors import RefusedError, SourceError
from fabctl.offload.drivers.ufm_access import read_address, read_credentials, trust

CONNECT_S = 10.0


class DroppedError(Exception):
    """The connection ended before a whole answer; how, in words."""


class LateError(Exception):
    """No whole answer in time."""


@dataclass(frozen=True)
class Answer:
    """What UFM answered.

    Parameters
    ----------
    status : int
    kind : str
        Its content type.
    data : bytes
    retry_after : str
        How long UFM asks us to wait; empty if it does not.
    """

    status: int
    kind: str
    data: bytes = field(repr=False)
    retry_after: str


class Wire:
    """The way to one UFM.

    Parameters
    ----------
    url : str
        ``https://HOST[:PORT]``.
    auth : Path
        File with a token or ``USER:PASSWORD``; it is read once.
    ca : Path, optional
        Certificates of the authorities that are believed; the system's without one.
    answer_s : float
        How long it may take from the first byte of a request to the last of its answer, in seconds.

    Raises
    ------
    UsageError, InputError, RefusedError
        If one of them cannot be used. Nothing is sent yet.
    """

    def __init__(self, url: str, auth: Path, ca: Path | None, answer_s: float) -> None:
        self._host, self._port = read_address(url)
        self.credentials = read_credentials(auth)
        self._tls = trust(ca)
        self.answer_s = answer_s
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.label = f"UFM at {host}" + (f":{self._port}" if self._port != 443 else "")

    def exchange(self, method: str, target: str, body: object) -> Answer:
        """Send one request and read its answer, whatever its status.

        Raises
        ------
        SourceError, RefusedError
            If nothing could be sent.
        DroppedError, LateError
            If it was sent, and there is no whole answer.
        """
        with closing(HTTPSConnection(self._host, self._port, timeout=CONNECT_S, context=self._tls)) as connection:
            self._connect(connection)
            return self._answered(connection, method, target, body)

    def _answered(self, connection: HTTPSConnection, method: str, target: str, body: object) -> Answer:
        line = connection.sock
        late = threading.Event()

        def give_up() -> None:
            late.set()
            with suppress(OSError):
                socket.socket.shutdown(line, socket.SHUT_RDWR)

        line.settimeout(self.answer_s)
        timer = threading.Timer(self.answer_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            connection.request(
                method,
                self.credentials.prefix + target,
                None if body is None else json.dumps(body).encode(),
                {"Authorization": self.credentials.header, "Content-Type": "application/json", "Connection": "close"},
            )
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, HTTPException) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                raise LateError from None
            raise DroppedError(_ended(error)) from None
        finally:
            timer.cancel()
        if late.is_set():
            raise LateError
        return Answer(answer.status, answer.headers.get_content_type(), data, answer.getheader("Retry-After", ""))

    def _connect(self, connection: HTTPSConnection) -> None:
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise RefusedError(
                f"{self.label} shows a certificate that does not verify: {error.verify_message or 'unknown reason'}",
                hint="--driver ufm:ca=FILE with the certificate of the authority that signed it; it is never taken unverified",
            ) from error
        except ssl.SSLError as error:
            raise SourceError(f"{self.label} does not speak TLS as fabctl does: {error.reason or 'handshake failed'}") from error
        except TimeoutError as error:
            raise SourceError(f"{self.label} does not answer: no connection in {CONNECT_S:g} s") from error
        except OSError as error:
            raise SourceError(
                f"{self.label} cannot be reached: {error.strerror or type(error).__name__}", hint="does UFM run there?"
            ) from error
        except UnicodeError as error:  # of a name that DNS cannot hold
            raise SourceError(f"{self.label} cannot be reached: this is no host name", hint="mend url=") from error


def _ended(error: Exception) -> str:
    if isinstance(error, IncompleteRead):
        whole = f" of {len(error.partial) + error.expected}" if error.expected else ""
        return f"ends in the middle of its answer: {len(error.partial)}{whole} bytes"
    if isinstance(error, ConnectionError):  # http.client's RemoteDisconnected is one
        return "drops the connection without an answer"
    if isinstance(error, HTTPException):
        return "answers with what is no HTTP"
    return "drops the connection"
