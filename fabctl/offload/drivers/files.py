"""The driver that renders: every value is a file in a folder, for people to look at and carry over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from fabctl.atomic import write_atomic
from fabctl.errors import InputError, RefusedError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import Place, Risk
from fabctl.offload.driver import Manager, Observed
from fabctl.offload.secrets import mask, unmask


class FilesDriver:
    """Renders into a folder.

    Parameters
    ----------
    folder : Path
    """

    name = "files"
    keys: ClassVar[Mapping[str, str]] = {"folder": "where the files are rendered; made if it is missing"}

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.options: Mapping[str, str] = {"folder": str(folder.absolute())}

    @classmethod
    def make(cls, options: Mapping[str, str], fabric: Fabric) -> Self:
        """Return a driver that renders into ``folder``.

        Raises
        ------
        UsageError
            If none is named.
        InputError
            If it is something else.
        """
        if not options.get("folder") or options.keys() != {"folder"}:
            raise UsageError("the driver 'files' takes a folder and nothing else", hint="--driver files:folder=DIR")
        folder = Path(options["folder"])
        if folder.exists() and not folder.is_dir():
            raise InputError("this is no folder", where=str(folder), hint="--driver files:folder=DIR")
        return cls(folder)

    def manager(self) -> Manager | None:
        """Return None: nobody reads these files yet."""
        return None

    def read(self, place: Place) -> str | None:
        """Return a file's bytes as latin-1 text, secrets masked; None if there is none."""
        path = self._path(place)
        return mask(path.read_bytes().decode("latin-1")) if path.exists() else None

    def write(self, place: Place, value: str | None) -> None:
        """Write a file whole, or remove it."""
        path = self._path(place)
        if value is None:
            path.unlink(missing_ok=True)
        else:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"cannot make {self.folder}: {error.strerror}") from error
            current = path.read_bytes().decode("latin-1") if path.exists() else ""
            write_atomic(path, unmask(value, current).encode("latin-1"))

    def settle(self, risk: Risk) -> None:
        """Do nothing: nobody reads these files yet."""

    def observe(self, place: Place) -> Observed:
        """Return the file itself."""
        return Observed(self.read(place), f"read {self._path(place).name}")

    def _path(self, place: Place) -> Path:
        name = place.key.removeprefix("file:")
        if not name or name != Path(name).name or name.startswith("."):
            raise RefusedError(f"'{name}' is no name of a configuration file")
        return self.folder / name
