"""`Site`: the fabric before a feature, with what is known of it and who can reach it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.node_graph import NodeGraph
from fabctl.model.tables import RoutingTables
from fabctl.offload.driver import Driver
from fabctl.traffic.placement import Job


@dataclass(frozen=True, eq=False)
class Site:
    """What a feature is assessed and planned on.

    Parameters
    ----------
    fabric : Fabric
    drivers : mapping of str to Driver
        Those that can be reached; none when a dump is all there is.
    tables : RoutingTables, optional
        What the switches hold.
    jobs : tuple of Job
        Placed on `fabric`.
    node : NodeGraph, optional
        What the hosts are; None: unknown.
    captured : mapping of str to str
        Texts captured on hosts (``lspci``, sysfs, ``nvidia-smi``), by file name.
    source : str
        ``live``, or the absolute path of the file that `fabric` was read from.
    """

    fabric: Fabric
    drivers: Mapping[str, Driver] = field(default_factory=dict)
    tables: RoutingTables | None = None
    jobs: tuple[Job, ...] = ()
    node: NodeGraph | None = None
    captured: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    def driver(self, *names: str) -> Driver:
        """Return the first of some drivers that is there.

        Raises
        ------
        RefusedError
            If none is, with the options that bring one.
        """
        for name in names:
            if name in self.drivers:
                return self.drivers[name]
        *others, last = names
        wanted = f"{', '.join(others)} or {last}" if others else last
        raise RefusedError(f"this needs --driver {wanted}", hint="fabctl help drivers")
