"""An exported folder, read again: it must be what `fabctl.routing.exports` wrote, to the byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabctl.atomic import write_atomic
from fabctl.errors import InputError, RefusedError
from fabctl.model.loading import RawTables
from fabctl.routing.exports.bundle import FORMAT, MANIFEST, sha256
from fabctl.routing.exports.opensm import LFTS, POLICY
from fabctl.sources import lft_dump, qos_policy
from fabctl.sources.reading import decode, read_bytes

_PIECE = 1 << 20
_AGAIN = "make a new export: fabctl route ... --export opensm DIR"


@dataclass(frozen=True)
class Bundle:
    """A folder whose files match its manifest.

    Parameters
    ----------
    folder : Path
    engine : str
        Which engine made the routes.
    checksums : dict of str to str
        SHA-256 by file name.
    """

    folder: Path
    engine: str
    checksums: dict[str, str]

    @property
    def files(self) -> list[str]:
        """Names of the files that OpenSM reads."""
        return [name for name in (LFTS, POLICY) if name in self.checksums]

    def tables(self) -> RawTables:
        """Return the forwarding tables."""
        path = str(self.folder / LFTS)
        return lft_dump.SOURCE.parse(decode(self._read(LFTS), path), path)

    def policy(self) -> qos_policy.QosPolicy | None:
        """Return the QoS policy; None if the routes use SL 0 alone."""
        if POLICY not in self.checksums:
            return None
        path = str(self.folder / POLICY)
        return qos_policy.parse(decode(self._read(POLICY), path), path)

    def copy(self, name: str, target: Path) -> None:
        """Copy a file over `target`, whole or not at all.

        Raises
        ------
        RefusedError
            If it has been changed by now.
        InputError
            If it cannot be written.
        """
        write_atomic(target, self._pieces(name))

    def _read(self, name: str) -> bytes:
        data = read_bytes(str(self.folder / name))
        if hashlib.sha256(data).hexdigest() != self.checksums[name]:
            raise _edited(self.folder / name)
        return data

    def _pieces(self, name: str) -> Iterator[bytes]:
        state = hashlib.sha256()
        with (self.folder / name).open("rb") as stream:
            while piece := stream.read(_PIECE):
                state.update(piece)
                yield piece
        if state.hexdigest() != self.checksums[name]:
            raise _edited(self.folder / name)


def read_bundle(folder: str) -> Bundle:
    """Read a manifest and check every file that it lists.

    Raises
    ------
    InputError
        If the folder or its manifest cannot be read.
    RefusedError
        If it is an export for another program, or a file is missing or was changed since the export.
    """
    home = Path(folder)
    manifest = _manifest(home)
    if manifest["export"] != "opensm":
        raise RefusedError(f"this is an export for {manifest['export']}, not for OpenSM", where=folder, hint=_AGAIN)
    checksums = {name: entry["sha256"] for name, entry in manifest["files"].items()}
    for name, checksum in checksums.items():
        path = home / name
        if not path.is_file():
            raise RefusedError("this file of the export is missing", where=str(path), hint=_AGAIN)
        try:
            found = sha256(path)
        except OSError as error:
            raise InputError(f"cannot read: {error.strerror}", where=str(path)) from error
        if found != checksum:
            raise _edited(path)
    return Bundle(home, str(manifest["engine"]), checksums)


def _manifest(home: Path) -> dict[str, Any]:
    path = home / MANIFEST
    if home.is_dir() and not path.exists():
        raise InputError(f"this folder holds no export: it has no {MANIFEST}", where=str(home), hint=_AGAIN)
    try:
        manifest = json.loads(read_bytes(str(path)))
        known = manifest["format"] == FORMAT and isinstance(manifest["engine"], str) and isinstance(manifest["export"], str)
        names = [
            name for name, entry in manifest["files"].items() if name == Path(name).name and isinstance(entry["sha256"], str)
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError("this is no manifest of an export", where=str(path), hint=_AGAIN) from error
    if not known or len(names) != len(manifest["files"]) or (manifest["export"] == "opensm" and LFTS not in names):
        raise InputError("this is no manifest that this fabctl understands", where=str(path), hint=_AGAIN)
    return dict(manifest)


def _edited(path: Path) -> RefusedError:
    return RefusedError("this file was changed after the export", where=str(path), hint=_AGAIN)
