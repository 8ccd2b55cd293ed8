"""OpenSM on a running ibsim: one run, or a daemon that sweeps again when links change.

OpenSM says with its log alone what it did: it exits 0 and reports SUBNET UP after falling back to minhop. So every run is judged
by `SweepLog`, and an engine that gave up is a `RefusedError` with OpenSM's own reason.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from fabctl.errors import SourceError
from fabctl.twin.child import POLL_S, Child
from fabctl.twin.ibsim import Ibsim
from fabctl.twin.sweeplog import RoutingClock, SweepLog
from fabctl.twin.tools import find_tool

TIMEOUT_S = 1800.0
"""Longest wait for the subnet to come up: dfsssp needs 800 s for 11,664 hosts."""

NUDGE_S = 1.0
"""How long to wait for OpenSM to learn of a fault by trap, before it is told to sweep."""

SHORT_S = 0.2
"""Routings faster than this are measured by the log: the process's clock is read every 20 ms."""

LAYERED = ("lash", "dfsssp", "nue", "torus-2QoS")
"""Engines that use several VLs; they need QoS switched on, and their SLs come from path queries alone."""

_MILESTONES = "osm_ucast_mgr.c 0x07\nosm_state_mgr.c 0x07\n"
_CONFIG = """\
force_log_flush TRUE
per_module_logging_file {modules}
max_wire_smps 32
transaction_timeout 2000
long_transaction_timeout 2000
partition_config_file {folder}/partitions.conf
"""


@dataclass(frozen=True)
class Settings:
    """What OpenSM is started with.

    Parameters
    ----------
    engine : str
        Routing engine under OpenSM's name.
    tables : Path, optional
        Tables for engine ``file`` to install (``-U``).
    qos_policy : Path, optional
        Policy that gives paths their SL (``-Y``); switches QoS on.
    roots : Path, optional
        File of root GUIDs for updn, dnup and ftree (``-a``).
    hop_weights : Path, optional
        File of switch GUIDs, port numbers and lengths in hops (``-w``).
    lmc : int
        LID mask control of all ports.
    config : tuple of str
        Further lines of ``opensm.conf``.
    """

    engine: str = "minhop"
    tables: Path | None = None
    qos_policy: Path | None = None
    roots: Path | None = None
    hop_weights: Path | None = None
    lmc: int = 0
    config: tuple[str, ...] = ()

    def lines(self, folder: Path) -> list[str]:
        """Return the lines of ``opensm.conf``; files that are not given may be put into `folder` later."""
        qos = self.qos_policy is not None or self.engine in LAYERED
        files = {
            "lfts_file": self.tables,
            "qos_policy_file": self.qos_policy or folder / "qos-policy.conf",
            "root_guid_file": self.roots,
            "hop_weights_file": self.hop_weights,
        }
        named = [f"{key} {path.resolve()}" for key, path in files.items() if path is not None]
        lmc = [f"lmc {self.lmc}"] if self.lmc else []
        return [f"routing_engine {self.engine}", *lmc, *(["qos TRUE"] if qos else []), *named, *self.config]


class OpenSM:
    """OpenSM on ibsim, as a context manager that returns once the subnet is up.

    Parameters
    ----------
    sim : Ibsim
        Running.
    folder : Path
        Where it runs, logs and dumps; made if need be.
    settings : Settings
    once : bool
        Route once and end; else keep sweeping until the context ends.
    dump : bool
        Whether OpenSM writes its tables to `folder` at each sweep; they are long for large fabrics.

    Raises
    ------
    RefusedError
        On entering: if another engine than the one asked for made the routes.
    SourceError
        On entering: if opensm is not installed, ends early, or does not bring the subnet up in time.
    """

    def __init__(
        self,
        sim: Ibsim,
        folder: Path,
        settings: Settings,
        *,
        once: bool = False,
        dump: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.sim = sim
        self.folder = folder
        self.settings = settings
        self.once = once
        self.timeout_s = timeout_s
        self.log = SweepLog(folder / "opensm.log")
        self._config = folder / "opensm.conf"
        self._level = "0x43" if dump else "0x03"  # errors and milestones; 0x40 writes the tables
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        """The process."""
        if self._child is None:
            raise ValueError("opensm is not started")
        return self._child

    @property
    def routing_s(self) -> float:
        """CPU seconds of the latest routing, without discovery and without writing tables to the switches.

        Short routings are measured by the times in the log: it is one thread that routes, and nothing else runs meanwhile.
        """
        wall_s, cpu_s = self.log.routing_wall_s() or 0.0, self._clock.spent_s
        return wall_s if cpu_s is None or wall_s < SHORT_S else cpu_s

    def __enter__(self) -> Self:
        find_tool("opensm")
        self.folder.mkdir(parents=True, exist_ok=True)
        modules = self.folder / "modules.conf"
        modules.write_text(_MILESTONES)
        lines = [_CONFIG.format(modules=modules, folder=self.folder), *(f"{line}\n" for line in self.settings.lines(self.folder))]
        self._config.write_text("".join(lines))
        self._start(0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.child.stop()

    def restart(self) -> None:
        """End OpenSM and start it again, with what its ``opensm.conf`` says by now; errors as of entering."""
        self.child.stop()
        self._start(self.log.size)

    def _start(self, mark: int) -> None:
        command = [find_tool("opensm"), "-F", str(self._config), "-f", str(self.log.path), "-D", self._level]
        folders = {"OSM_TMP_DIR": str(self.folder), "OSM_CACHE_DIR": str(self.folder)}
        self._child = Child([*command, *(["-o"] if self.once else [])], self.folder, {**self.sim.environment, **folders})
        self._clock = RoutingClock(self.log, self._child.pid)
        try:
            if self.once:
                self._await_end()
            else:
                self._await_up(mark)
            self.log.refuse_fall_back(self.engine)
        except BaseException:
            self.child.stop()
            raise

    @property
    def engine(self) -> str:
        """Routing engine that ``opensm.conf`` names by now."""
        words = [line.split() for line in self._config.read_text().splitlines()]
        return next(word[1] for word in reversed(words) if word[:1] == ["routing_engine"]).partition(",")[0]

    def sweep(self) -> None:
        """Have OpenSM read its files again, discover and route (``kill -HUP``), and wait until the subnet is up.

        Raises
        ------
        RefusedError
            If it fell back to another engine.
        SourceError
            If OpenSM or ibsim ends, or the subnet does not come up in time.
        """
        mark = self.log.size
        self.child.signal(signal.SIGHUP)
        self._settle(mark)

    def await_sweep(self, mark: int) -> None:
        """Wait until OpenSM has routed around what happened before its log had `mark` bytes.

        OpenSM learns of a fault by trap; where the trap itself was lost, it is told to sweep. Errors as of `sweep`.
        """
        deadline = time.monotonic() + NUDGE_S
        while not self.log.sweeps_since(mark):
            self._check()
            if time.monotonic() > deadline and not self.log.sweeping():
                self.child.signal(signal.SIGHUP)
                break
            time.sleep(POLL_S)
        self._settle(mark)

    def _settle(self, mark: int) -> None:
        self._await_up(mark)
        self.log.refuse_fall_back(self.engine)

    def _await_up(self, mark: int) -> None:
        deadline = time.monotonic() + self.timeout_s
        while not self.log.up_since(mark):
            self._check()
            if self.log.port_down_since(mark):
                raise SourceError(f"OpenSM's own port on {self.sim.host} is down: it manages no subnet")
            if time.monotonic() > deadline:
                raise SourceError(f"OpenSM does not bring the subnet up within {self.timeout_s:.0f} s: {self.log.last_error()}")
            time.sleep(POLL_S)

    def _await_end(self) -> None:
        deadline = time.monotonic() + self.timeout_s
        while self.child.exit_code is None:
            self._check_sim()
            if time.monotonic() > deadline:
                raise SourceError(f"opensm does not end within {self.timeout_s:.0f} s: {self.log.last_error()}")
            time.sleep(POLL_S)
        self.sim.child.check()
        if self.child.exit_code or not self.log.up_since(0):
            raise SourceError(
                f"opensm ended with exit code {self.child.exit_code}, the subnet is not up: {self.log.last_error()}"
            )

    def _check_sim(self) -> None:
        self._clock.look()
        self.sim.child.check()

    def _check(self) -> None:
        self._check_sim()
        self.child.check()
