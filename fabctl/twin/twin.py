"""`Twin`: ibsim and OpenSM on a fabric, in a folder of their own that goes when they go."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from fabctl.errors import InputError, UsageError
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.lids import with_lids
from fabctl.twin.faults import REROUTED, Fault, Injector
from fabctl.twin.ibsim import Ibsim
from fabctl.twin.netfile import ibsim_net, node_ids
from fabctl.twin.opensm import OpenSM, Settings
from fabctl.yamlspec import suggestion

VARIABLE = "FABCTL_TWIN"
"""Environment variable that names the twin's folder to what runs inside."""


def simulated(fabric: Fabric, folder: Path, host: str = "") -> tuple[Fabric, Ibsim]:
    """Write a fabric's network file; return the fabric as simulated, and ibsim on it, not yet started.

    Parameters
    ----------
    host : str, optional
        Label of the node that subnet manager and tools run on; the first compute HCA by default.

    Raises
    ------
    UsageError
        If the fabric has no such node.
    InputError
        If a LID is claimed twice, or the fabric has no cables.
    """
    addressed, _ = with_lids(fabric)
    ids = node_ids(addressed)
    net = folder / "fabric.net"
    net.write_text(ibsim_net(addressed))
    return addressed, Ibsim(net, folder, ids[_host(addressed, host)])


def lid_mask(fabric: Fabric) -> int:
    """Return the LID mask control that OpenSM must use for all ports, so that each keeps the LIDs that it has."""
    return int(fabric.port_lmc[fabric.node_kind[fabric.port_node] != NodeKind.SWITCH].max(initial=0))


def _host(fabric: Fabric, host: str) -> int:
    if host:
        if host not in fabric.labels:
            raise UsageError(f"this fabric has no node '{host}'", hint=suggestion(host, fabric.labels))
        return fabric.labels.index(host)
    for ports in (fabric.endpoints, fabric.channel_port):
        if len(ports):
            return int(fabric.port_node[ports[0]])
    raise InputError("this fabric has no cables: there is nothing for a subnet manager to do")


class Twin:
    """A fabric brought to life: ibsim with OpenSM as a daemon, as a context manager.

    Parameters
    ----------
    fabric : Fabric
        Ports without a LID get one first.
    settings : Settings
        Of OpenSM.
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

    def __init__(self, fabric: Fabric, settings: Settings, *, host: str = "") -> None:
        self._given = fabric
        self._settings = settings
        self._host = host
        self._stack = ExitStack()
        self._lock = Lock()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="fabctl-twin-", ignore_cleanup_errors=True))
            )
            self.fabric, sim = simulated(self._given, self.folder, self._host)
            self.sim = stack.enter_context(sim)
            self.manager = stack.enter_context(OpenSM(self.sim, self.folder / "opensm", self._settings))
            (self.folder / "opensm.pid").write_text(f"{self.manager.child.pid}\n")
            self._injector = Injector(self.sim, self.fabric)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which programs see this fabric, and ``fabctl twin faults`` finds this twin."""
        return {**self.sim.environment, VARIABLE: str(self.folder)}

    def inject(self, faults: Sequence[Fault], *, wait: bool = True) -> None:
        """Make faults, all or none where they are misnamed, and wait until OpenSM has routed around them.

        Raises
        ------
        UsageError, RefusedError, SourceError
            As of `Injector.inject` and `OpenSM.await_sweep`.
        """
        with self._lock:
            self._injector.inject(faults)
            if wait and any(fault.verb in REROUTED for fault in faults):
                self.manager.await_sweep(self.manager.log.size)

    def check(self) -> None:
        """Raise `SourceError` if ibsim or OpenSM has ended."""
        self.sim.child.check()
        self.manager.child.check()
