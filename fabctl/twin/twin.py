"""`Twin`: ibsim and OpenSM on a fabric, in a folder of their own that goes when they go."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from difflib import get_close_matches
from threading import Lock
from types import TracebackType
from typing import Self

from fabctl.atomic import write_atomic
from fabctl.errors import InputError, UsageError
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.lids import with_lids
from fabctl.model.tables import RoutingTables
from fabctl.routing.exports.lfts import lft_dump
from fabctl.sources import ibnetdiscover
from fabctl.twin.control import VARIABLE, ControlServer
from fabctl.twin.faults import REROUTED, Fault, Injector, manager_port
from fabctl.twin.ibsim import Ibsim
from fabctl.twin.netfile import ibsim_net, node_ids, simulated_guids
from fabctl.twin.opensm import OpenSM, Settings
from fabctl.twin.readback import read_tables, refuse_moved_lids
from fabctl.twin.scratch import Scratch


def simulated(fabric: Fabric, scratch: Scratch, host: str = "") -> tuple[Fabric, Ibsim]:
    """Write a fabric's network file; return the fabric as simulated, and ibsim on it, not yet started.

    Parameters
    ----------
    fabric : Fabric
    scratch : Scratch
        Entered.
    host : str, optional
        Label of the node that subnet manager and tools run on; the first HCA with a cable at P1 by default, or a switch.

    Raises
    ------
    UsageError
        If the fabric has no such node, or none on which a program can run.
    InputError
        If a LID is claimed twice, or the fabric has no cables.
    """
    addressed, _ = with_lids(fabric)
    ids = node_ids(addressed)
    net = scratch.folder / "fabric.net"
    net.write_text(ibsim_net(addressed))
    return addressed, Ibsim(net, scratch.folder, ids[_host(addressed, host)], scratch.socket)


def lid_mask(fabric: Fabric) -> int:
    """Return the LID mask control that OpenSM must use for all ports, so that each keeps the LIDs that it has."""
    return int(fabric.port_lmc[fabric.node_kind[fabric.port_node] != NodeKind.SWITCH].max(initial=0))


def _host(fabric: Fabric, host: str) -> int:
    if host:
        if host not in fabric.labels:
            near = get_close_matches(host, fabric.labels, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "fabctl discover --hosts lists them"
            raise UsageError(f"this fabric has no node '{host}'", hint=hint)
        node = fabric.labels.index(host)
        if manager_port(fabric, node) < 0:
            raise UsageError(f"no program can run on {host}: it has no cable" + ("" if node < fabric.n_switches else " at P1"))
        return node
    for ports in (fabric.endpoints, fabric.channel_port):
        for node in fabric.port_node[ports].tolist():
            if manager_port(fabric, node) >= 0:
                return int(node)
    raise InputError("this fabric has no cables: there is nothing for a subnet manager to do")


DEFAULTS = Settings()


class Twin:
    """A fabric brought to life: ibsim with OpenSM as a daemon, as a context manager.

    Parameters
    ----------
    fabric : Fabric
        Ports without a LID get one first.
    settings : Settings
        Of OpenSM.
    tables : RoutingTables, optional
        Of this fabric, for OpenSM's engine ``file`` to install in place of what `settings` say.
    host : str, optional
        Label of the node that subnet manager and tools run on.

    Raises
    ------
    RefusedError, SourceError
        On entering, as of `OpenSM` and `Ibsim`.

    Notes
    -----
    Ports keep the LIDs of the fabric: ibsim starts with them, and OpenSM leaves a port the LID that it has.
    """

    def __init__(
        self, fabric: Fabric, settings: Settings = DEFAULTS, *, tables: RoutingTables | None = None, host: str = ""
    ) -> None:
        self._given = fabric
        self._settings = settings if tables is None else replace(settings, engine="file")
        self._tables = tables
        self._host = host
        self._stack = ExitStack()
        self._lock = Lock()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            scratch = stack.enter_context(Scratch())
            self.folder = scratch.folder
            self.fabric, sim = simulated(self._given, scratch, self._host)
            self.sim = stack.enter_context(sim)
            self.manager = stack.enter_context(OpenSM(self.sim, self.folder / "opensm", self._installed(self._settings)))
            refuse_moved_lids(self.fabric, self.manager.folder / "guid2lid")
            self._note_processes()
            self._injector = Injector(self.sim, self.fabric)
            stack.enter_context(ControlServer(self.folder, self.inject, self.restart))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()

    def _note_processes(self) -> None:
        for child in (self.sim.child, self.manager.child):
            (self.folder / f"{child.name}.pid").write_text(f"{child.pid}\n")

    def restart(self) -> None:
        """Restart OpenSM, with what its ``opensm.conf`` says by now.

        Raises
        ------
        RefusedError, SourceError
            As of `OpenSM.restart`.
        """
        with self._lock:
            self.manager.restart()
            self._note_processes()

    def _installed(self, settings: Settings) -> Settings:
        settings = replace(settings, lmc=lid_mask(self.fabric))
        if self._tables is None:
            return settings
        path = self.folder / "tables.lft"
        fabric = self._tables.fabric  # OpenSM finds LIDs by the port GUIDs in the file
        write_atomic(path, lft_dump(replace(self._tables, fabric=replace(fabric, port_guid=simulated_guids(fabric)))))
        return replace(settings, tables=path)

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which programs see this fabric, and ``fabctl twin faults`` finds this twin."""
        return {**self.sim.environment, VARIABLE: str(self.folder)}

    def inject(self, faults: Sequence[Fault], wait: bool = True) -> None:
        """Make faults, all or none where they are misnamed, and wait until OpenSM has routed around them.

        Parameters
        ----------
        faults : sequence of Fault
        wait : bool
            Whether to wait; OpenSM learns of the faults in any case.

        Raises
        ------
        UsageError, RefusedError, SourceError
            As of `Injector.inject` and `OpenSM.await_sweep`.
        """
        with self._lock:
            self._injector.inject(faults)
            if wait and any(fault.verb in REROUTED for fault in faults):
                self.manager.await_sweep(self.manager.log.size)

    def tables(self) -> RoutingTables:
        """Return the tables that the switches hold now, bound to the fabric as it was before any fault.

        Raises
        ------
        SourceError
            As of `read_tables`.
        """
        return read_tables(self.sim, self.fabric, f"opensm:{self._settings.engine}")

    def discover(self) -> Fabric:
        """Return the fabric as ``ibnetdiscover`` sees it now: without what is cut, at the rates that ibsim knows.

        Raises
        ------
        SourceError
            If ``ibnetdiscover`` is not installed or fails.
        """
        return ibnetdiscover.parse(self.sim.run("ibnetdiscover"), "ibnetdiscover")[0]

    def check(self) -> None:
        """Raise `SourceError` if ibsim or OpenSM has ended, other than by a restart."""
        if self._lock.acquire(blocking=False):
            try:
                self.sim.child.check()
                self.manager.child.check()
            finally:
                self._lock.release()
