"""How a UFM is reached: its address, who is asking, and whose certificates are believed.

Secrets come from a file that nobody else may read. They are in no repr, no error and no log; what UFM itself sends back is
shown with them struck out.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
import stat
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from fabctl.errors import InputError, RefusedError, UsageError

_LONGEST = 4096
_HIDDEN = "***"
_HOST = re.compile(r"[\w.:%-]{1,253}", re.ASCII)


@dataclass(frozen=True)
class Credentials:
    """Who is asking.

    Parameters
    ----------
    prefix : str
        First part of every path: UFM keeps one for passwords (``/ufmRest``) and one for tokens (``/ufmRestV3``).
    header : str
        Value of ``Authorization``.
    secrets : tuple of str
        All that must never be shown.
    """

    prefix: str
    header: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)

    def hide(self, text: str) -> str:
        """Return a text with all secrets struck out."""
        for secret in self.secrets:
            for form in (secret, secret.replace("/", "\\/")):  # as some write JSON
                text = text.replace(form, _HIDDEN)
        return text


def read_credentials(path: Path) -> Credentials:
    """Read one line, a token or ``USER:PASSWORD``, from a file with mode 0600.

    Raises
    ------
    InputError
        If the file cannot be read, or holds something else.
    RefusedError
        If it is a symlink or no file, or belongs to others, or others may use it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise RefusedError("this is a symlink, and a secret is read from a file itself", where=str(path)) from error
        raise InputError(
            f"cannot read the credentials: {error.strerror}", where=str(path), hint="one line: TOKEN, or USER:PASSWORD; mode 600"
        ) from error
    try:
        _refuse_unsafe(path, os.fstat(descriptor))
        return _credentials(os.read(descriptor, _LONGEST + 1), path)
    finally:
        os.close(descriptor)


def _refuse_unsafe(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise RefusedError("this is no file", where=str(path))
    if found.st_uid not in {os.geteuid(), 0}:
        raise RefusedError(f"this secret belongs to user {found.st_uid}, and you are {os.geteuid()}", where=str(path))
    if found.st_mode & 0o077:
        raise RefusedError(
            f"others may use this secret (mode {stat.S_IMODE(found.st_mode):03o})", where=str(path), hint=f"chmod 600 {path}"
        )


def _credentials(data: bytes, path: Path) -> Credentials:
    wrong = InputError("this is not one line with a TOKEN, or USER:PASSWORD", where=str(path))
    try:
        line = data.decode().strip("\r\n")
    except UnicodeDecodeError:
        raise wrong from None
    if not line or len(data) > _LONGEST or not line.isprintable():
        raise wrong
    user, colon, password = line.partition(":")
    if not colon:
        if not line.isascii() or " " in line:
            raise wrong
        return Credentials("/ufmRestV3", f"Basic {line}", (line,))
    if not user or not password:
        raise wrong
    encoded = base64.b64encode(line.encode()).decode()
    return Credentials("/ufmRest", f"Basic {encoded}", (line, encoded, password))


def read_address(url: str) -> tuple[str, int]:
    """Return host and port of ``https://HOST[:PORT]``.

    Raises
    ------
    UsageError
        For anything else; a password in it is not repeated.
    """
    hint = "--driver ufm:url=https://HOST,auth=FILE"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError("url= is no address", hint=hint) from None
    if parts.username is not None or parts.password is not None:
        raise UsageError("a secret does not belong into a url", hint=f"{hint}; FILE holds USER:PASSWORD, mode 600")
    if parts.scheme != "https":
        raise UsageError("UFM is asked over https, and nothing else", hint=hint)
    if not _HOST.fullmatch(parts.hostname or "") or parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError("url= is https://HOST[:PORT] and nothing more", hint=hint)
    return parts.hostname or "", port or 443


def trust(ca: Path | None) -> ssl.SSLContext:
    """Return a context that believes the system's authorities, or those in a file alone; it always verifies.

    Raises
    ------
    InputError
        If the file holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:  # ssl.SSLError is one
        reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise InputError(f"cannot read certificates: {reason}", where=str(ca), hint="PEM: -----BEGIN CERTIFICATE-----") from error
