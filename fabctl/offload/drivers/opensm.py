"""The driver of the OpenSM that runs on this machine: its ``opensm.conf`` and files, its sweeps, and what the fabric answers."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from fabctl.atomic import write_atomic
from fabctl.errors import InputError, RefusedError, SourceError, UsageError
from fabctl.install.settings import CONFIG, DEFAULT_CONFIG, Settings, read_settings
from fabctl.install.swap import lock
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import FABRIC, Place, Risk
from fabctl.offload.driver import Manager, Observed
from fabctl.offload.drivers import opensm_conf, opensm_log, opensm_observe
from fabctl.offload.drivers.opensm_files import PARTITIONS, path_of
from fabctl.offload.drivers.opensm_process import Flavour, identify, running, unit_of
from fabctl.offload.partitions_conf import definitions
from fabctl.offload.secrets import mask, unmask
from fabctl.sources.live import discover_live, run_tool
from fabctl.twin.control import VARIABLE as TWIN

if TYPE_CHECKING:
    from fabctl.install.manager import Manager as Handle

_MASTER = re.compile(r"sm guid (0x[0-9a-fA-F]+).*SMINFO_MASTER")
_GUID = re.compile(r"^0x[0-9a-fA-F]+$", re.MULTILINE)
_RESTART_S = 120.0


class OpensmDriver:
    """OpenSM, found by its settings; a process that has been restarted is found again.

    Parameters
    ----------
    conf_dir : Path
        Folder of its ``opensm.conf``.
    """

    name = "opensm"
    keys: ClassVar[Mapping[str, str]] = {"conf": "folder of opensm.conf [default: /etc/opensm; in a twin its own]"}

    def __init__(self, conf_dir: Path) -> None:
        self.conf_dir = conf_dir.absolute()
        self.options: Mapping[str, str] = {"conf": str(self.conf_dir)}
        self.timeout_s = opensm_log.TIMEOUT_S
        self._fabric: Fabric | None = None
        self._discovers = threading.Lock()
        self._flavour: tuple[int, Flavour] | None = None
        self._unit = ""
        self._log: Path | None = None

    @classmethod
    def make(cls, options: Mapping[str, str], fabric: Fabric) -> Self:
        """Return a driver; ``conf`` is the folder of ``opensm.conf``: by default that of the twin if there is one.

        OpenSM itself may have ended: its files can be put back nevertheless.
        """
        if options.keys() - {"conf"}:
            unknown = min(options.keys() - {"conf"})
            raise UsageError(f"the driver '{cls.name}' has no option '{unknown}'", hint=f"--driver {cls.name}:conf=DIR")
        conf_dir = Path(options.get("conf") or _home())
        if not conf_dir.is_dir():
            raise InputError("no such folder", where=str(conf_dir), hint=f"--driver {cls.name}:conf=DIR: where {CONFIG} lies")
        return cls(conf_dir)

    def manager(self) -> Manager:
        """Return which OpenSM runs.

        Raises
        ------
        SourceError
            If it has ended, or the subnet has no master.
        RefusedError
            If another subnet manager is the master.
        """
        with running(self.conf_dir) as handle:
            if self._flavour is None or self._flavour[0] != handle.pid:
                self._flavour = handle.pid, identify(handle)
            flavour = self._flavour[1]
            return Manager(flavour.name, flavour.version, _refuse_not_master(handle), f"process {handle.pid}: {flavour.evidence}")

    @property
    def settings(self) -> Settings:
        """What OpenSM goes by: its command line too, while it runs."""
        try:
            with running(self.conf_dir) as handle:
                return handle.settings
        except SourceError:
            return read_settings(["opensm", "-F", str(self.conf_dir / CONFIG)], self.conf_dir, self.conf_dir)

    @property
    def restarts(self) -> str:
        """How fabctl would restart it, for people; empty: it cannot."""
        with running(self.conf_dir) as handle:
            unit = unit_of(handle.pid)
        return f"systemctl restart {unit}" if unit else ""

    def read(self, place: Place) -> str | None:
        """Return the value of a key of ``opensm.conf`` as OpenSM reads it, or a whole file with its secrets masked."""
        kind, _, name = place.key.partition(":")
        if kind == "conf":
            return opensm_conf.value_of(mask(_content(self.settings.config) or ""), name)
        if kind == "file":
            text = _content(path_of(self.settings, name))
            return None if text is None else mask(text)
        raise RefusedError(f"OpenSM's driver has no {place.key!r} to read")

    def write(self, place: Place, value: str | None) -> None:
        """Write a value; every byte around it stays.

        Raises
        ------
        LockedError
            If ``fabctl route install`` is exchanging these files.
        """
        kind, _, name = place.key.partition(":")
        settings = self.settings
        with lock(settings.config.parent):
            if kind == "conf":
                text = _content(settings.config)
                new = opensm_conf.with_value(text or "", name, value)
                _write(settings.config, new or None)  # Debian's OpenSM starts without the file
            elif kind == "file":
                path = path_of(settings, name)
                _write(path, None if value is None else unmask(value, _content(path) or ""))
            else:
                raise RefusedError(f"OpenSM's driver has no {place.key!r} to write")

    def settle(self, risk: Risk) -> None:
        """Have OpenSM sweep, or restart it, and wait until the subnet is up by its log."""
        self._fabric = None
        if risk >= Risk.RESTART:
            self._restart()
            return
        with running(self.conf_dir) as handle:
            _refuse_not_master(handle)
            opensm_log.flush(handle)
            mark = opensm_log.size(handle.settings.log)
            handle.reload()
            opensm_log.await_up(handle, mark, self.timeout_s)

    def observe(self, place: Place) -> Observed:
        """Read back what a switch or an HCA holds, or what OpenSM says.

        Of nodes: ``sl2vl``, ``vlarb``, ``pkeys``, ``lft``. Of OpenSM: ``routing-engine``, ``path-sl:SLID:DLID``,
        ``mcast:MGID`` (a group that its files ask for), and the files that it reads.
        """
        if place.target != FABRIC:
            with self._discovers:
                fabric = self._fabric = self._fabric or discover_live().fabric
            return opensm_observe.observe_node(fabric, place.target.partition("/")[0], place.key)
        kind, _, words = place.key.partition(":")
        if kind == "path-sl":
            source, _, destination = words.partition(":")
            return opensm_observe.observe_level(int(source), int(destination))
        if kind == "mcast":
            seen = opensm_observe.observe_group(opensm_observe.effective_group(words))
            text = _content(path_of(self.settings, PARTITIONS)) or ""
            if any(one.asks_for(words) for one in definitions(text)):
                return seen
            return Observed(None, f"{PARTITIONS} does not ask for it; {seen.evidence}")
        if kind == "routing-engine":
            with running(self.conf_dir) as handle:
                found = opensm_log.engine(handle)
                return Observed(found, f"{handle.settings.log}: {found or 'no'} tables configured on all switches")
        return Observed(self.read(place), f"read from {self.conf_dir}")

    def _restart(self) -> None:
        pid, mark = self.before_restart()
        if not self._unit:
            what = f"process {pid}: it belongs to no unit of systemd" if pid else "which has ended: start it"
            raise RefusedError(f"fabctl cannot restart OpenSM, {what}")
        command = ["systemctl", "restart", self._unit]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_RESTART_S, check=False, process_group=0
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SourceError(f"{' '.join(command)} failed: {error}") from error
        if done.returncode:
            raise SourceError(f"{' '.join(command)} failed: {done.stderr.decode('utf-8', 'replace').strip()[-500:]}")
        self.await_started(pid, mark)

    def before_restart(self) -> tuple[int, int]:
        """Return the process that is to go, 0 if it has ended, and the length of its log; its unit is remembered."""
        try:
            with running(self.conf_dir) as handle:
                self._unit, self._log = unit_of(handle.pid), handle.settings.log
                opensm_log.flush(handle)
                return handle.pid, opensm_log.size(self._log)
        except SourceError:
            return 0, opensm_log.size(self._log) if self._log else 0

    def await_started(self, old: int, mark: int) -> None:
        """Wait until another process than `old` has brought the subnet up since the log had `mark` bytes."""

        def started() -> Handle | None:
            try:
                handle = running(self.conf_dir)
            except SourceError:
                return None
            return handle if handle.pid != old else None

        with opensm_log.wait_for(started, _RESTART_S, "OpenSM has not started again") as handle:
            opensm_log.await_up(handle, mark, self.timeout_s)


def _home() -> Path:
    """Return where ``opensm.conf`` lies by default: nothing that runs in a twin touches the machine's own."""
    twin = os.environ.get(TWIN, "")
    return Path(twin) / "opensm" if twin else DEFAULT_CONFIG.parent


def _refuse_not_master(handle: Handle) -> str:
    """Return the port GUID of the master, which must be on this machine."""
    opensm_log.refuse_stopped(handle.pid)
    answer = _MASTER.search(run_tool("sminfo")[0].decode("utf-8", "replace"))
    if answer is None:
        raise SourceError("the subnet has no master subnet manager", hint="sminfo")
    guid = f"0x{int(answer[1], 16):016x}"
    own = {int(word, 16) for word in _GUID.findall(run_tool("ibstat", "-p")[0].decode("utf-8", "replace"))}
    if int(guid, 16) not in own:
        raise RefusedError(
            f"OpenSM here, process {handle.pid}, is not the master: {guid} is", hint="run fabctl on the machine of the master"
        )
    return guid


def _content(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("latin-1")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=str(path)) from error


def _write(path: Path, text: str | None) -> None:
    if text is not None:
        write_atomic(path, text.encode("latin-1"))
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot remove: {error.strerror}", where=str(path)) from error
