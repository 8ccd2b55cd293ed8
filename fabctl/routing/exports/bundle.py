"""A folder of exported files that is written whole or not at all, with a manifest that tells whether it still is.

All files are written and flushed beside their places first; only then are they moved there, the manifest last. So a full disk
changes nothing, and a folder that was caught in the middle, or edited afterwards, does not match its manifest.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fabctl import __version__
from fabctl.atomic import write_atomic
from fabctl.errors import InputError, RefusedError
from fabctl.model.routes import Assessment

MANIFEST = "manifest.json"
FORMAT = 1

Pieces = str | Iterable[str]


def refuse_unsafe(assessment: Assessment, folder: str) -> None:
    """Raise `RefusedError` if the tables are not safe: subnet managers install them as they are."""
    found, fabric = assessment.verification, assessment.tables.fabric
    if found.safe:
        return
    if found.lost_hca:
        first = found.examples[0]
        what = f"they lose traffic: {fabric.labels[first.switch]} does not reach {fabric.port_label(first.port)}"
    elif found.loop:
        what = f"traffic loops over {len(found.loop)} cables, as over {fabric.cable_label(found.loop[0])}"
    else:
        cable = fabric.cable_label(found.credit_loop[0])
        what = f"they may deadlock: a credit loop over {len(found.credit_loop)} cables on VL {found.loop_vl}, as over {cable}"
    raise RefusedError(
        f"these routes are not exported: {what}", where=folder, hint="--engine updn is free of credit loops on any fabric"
    )


def write_bundle(folder: str, form: str, assessment: Assessment, files: Mapping[str, Pieces]) -> None:
    """Write `files` and their manifest to a folder, which is made if need be.

    Files of an earlier export that this one does not have are removed; what fabctl did not write stays.

    Raises
    ------
    InputError
        If the folder cannot be made or written; what stood there before still does.
    """
    target = Path(folder)
    made = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".export-", dir=target))
    except OSError as error:
        raise InputError(f"cannot make this folder: {error.strerror}", where=folder) from error
    try:
        for name, pieces in files.items():
            _stage(staging / name, pieces, target)
        _stage(staging / MANIFEST, json.dumps(_manifest(form, assessment, staging, files), indent=2) + "\n", target)
        _move(staging, target, files)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        if made and not any(target.iterdir()):
            target.rmdir()
        raise
    staging.rmdir()


def _stage(path: Path, pieces: Pieces, target: Path) -> None:
    try:
        write_atomic(path, pieces)
    except InputError as error:
        raise InputError(error.message, where=str(target / path.name)) from error


def _move(staging: Path, target: Path, files: Iterable[str]) -> None:
    stale = set(_files_of(target)) - set(files)
    try:
        for name in [*files, MANIFEST]:
            (staging / name).replace(target / name)
        for name in stale:
            (target / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", where=str(error.filename or target)) from error


def _files_of(target: Path) -> list[str]:
    """Return what the manifest of an earlier export lists; nothing where there is none."""
    try:
        listed = json.loads((target / MANIFEST).read_bytes())["files"]
        return [name for name in listed if isinstance(name, str) and name == Path(name).name]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _manifest(form: str, assessment: Assessment, staging: Path, files: Iterable[str]) -> dict[str, Any]:
    tables = assessment.tables
    return {
        "format": FORMAT,
        "export": form,
        "fabctl_version": __version__,
        "engine": tables.origin,
        "fabric_digest": tables.fabric.digest,
        "switches": tables.fabric.n_switches,
        "virtual_lanes": tables.n_vls,
        "files": {name: {"sha256": sha256(staging / name), "size_bytes": (staging / name).stat().st_size} for name in files},
    }


def sha256(path: Path) -> str:
    """Return a file's SHA-256 as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
