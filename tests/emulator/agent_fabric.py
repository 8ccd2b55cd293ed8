"""Test equipment, no part of fabctl: a fabric whose switches and HCAs are the agents of `emulator.agents`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from fabctl.model.fabric import Fabric
from fabctl.units import Speed

NAMES = ("ibccquery", "ibccconfig", "ibportstate", "smpquery", "perfquery", "sminfo", "ibnetdiscover")
SIMULATOR = ("FABCTL_TWIN", "IBSIM_SOCKNAME", "IBSIM_SERVER_NAME", "LD_PRELOAD")

_STUB = "#!{python} -IS\nimport sys\nsys.path.insert(0, {here!r})\nimport agents\nsys.exit(agents.main())\n"
_BASES, _EXTENDEDS, _WIDTHS = 7, {Speed.FDR: 1, Speed.EDR: 3, Speed.HDR: 7, Speed.NDR: 15}, 3
_TABLE_BLOCKS = 2


class Agents:
    """Agents of a fabric in a folder; programs that run with `environment` meet them in place of hardware.

    Parameters
    ----------
    fabric : Fabric
        With LIDs.
    folder : Path
        Where their state is kept.
    local : int, optional
        Node on which the tools run; by default the first HCA, which also has the subnet manager.
    """

    def __init__(self, fabric: Fabric, folder: Path, local: int | None = None) -> None:
        self.fabric = fabric
        self.folder = folder
        (folder / "nodes").mkdir(parents=True)
        (folder / "faults").mkdir()
        (folder / "bin").mkdir()
        for name in NAMES:
            stub = folder / "bin" / name
            stub.write_text(_STUB.format(python=os.path.realpath(sys.executable), here=str(Path(__file__).parent)))
            stub.chmod(0o755)
        for node in range(fabric.n_nodes):
            self._write(node)
        home = int(np.flatnonzero(fabric.is_hca)[0]) if local is None else local
        (folder / "local").write_text(f"{fabric.node_lid(home)}\n")
        (folder / "sminfo").write_text(
            f"sminfo: sm lid {fabric.node_lid(home)} sm guid {fabric.guid_text(home)}, activity count 400 priority 0 state 3 SMINFO_MASTER\n"
        )
        (folder / "ibnetdiscover").write_text(netdiscover(fabric))
        (folder / "log").touch()

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which a program meets the agents."""
        kept = {name: value for name, value in os.environ.items() if name not in SIMULATOR}
        return {**kept, "FABCTL_EMULATOR": str(self.folder), "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}

    def state(self, node: int | str) -> dict[str, str]:
        """Return what a node, by index or label, holds."""
        return dict(line.split(" ", 1) for line in self._path(node).read_text().splitlines())

    def put(self, node: int | str, **values: str) -> None:
        """Change what a node holds, behind everybody's back; ``__`` in a name stands for a dot."""
        state = self.state(node) | {name.replace("__", "."): value for name, value in values.items()}
        self._path(node).write_text("".join(f"{name} {value}\n" for name, value in state.items()))

    def fault(self, node: int | str, *words: str) -> None:
        """Give a node faults (see `emulator.agents`); none makes it well."""
        path = self.folder / "faults" / str(self.lid(node))
        path.write_text(" ".join(words))
        if not words:
            path.unlink()

    def move(self, node: int | str, lid: int) -> None:
        """Give a node another LID, as a subnet manager that starts anew may."""
        self._path(node).replace(self.folder / "nodes" / str(lid))

    @property
    def log(self) -> list[str]:
        """Command lines, oldest first."""
        return (self.folder / "log").read_text().splitlines()

    @property
    def sets(self) -> list[str]:
        """Command lines that would change something."""
        return [line for line in self.log if line.startswith(("ibccconfig", "ibportstate"))]

    def lid(self, node: int | str) -> int:
        """Return the LID of a node, by index or label."""
        return self.fabric.node_lid(node if isinstance(node, int) else self.fabric.labels.index(node))

    def _path(self, node: int | str) -> Path:
        return self.folder / "nodes" / str(self.lid(node))

    def _write(self, node: int) -> None:
        fabric = self.fabric
        mine = np.flatnonzero(fabric.port_node == node)
        lines = {
            "kind": "switch" if node < fabric.n_switches else "ca",
            "guid": fabric.guid_text(node),
            "port_guid": fabric.guid_text(node),
            "ports": str(max(int(fabric.node_port_count[node]), int(fabric.port_number[mine].max(initial=1)))),
            "cc.cap": "0" if node < fabric.n_switches else str(_TABLE_BLOCKS),
        }
        for port in mine.tolist():
            lines |= self._port(port)
        text = "".join(f"{name} {value}\n" for name, value in lines.items())
        lids = {int(fabric.port_lid[port]) for port in mine.tolist()} - {0}
        for lid in lids:
            (self.folder / "nodes" / str(lid)).write_text(text)

    def _port(self, port: int) -> dict[str, str]:
        fabric = self.fabric
        number, peer = int(fabric.port_number[port]), int(fabric.port_peer[port])
        if not number:
            return {}
        speed = Speed(int(fabric.port_speed[port])) if peer >= 0 else Speed.EDR
        extended = _EXTENDEDS.get(speed, 0)
        values = {
            "state": "Active" if peer >= 0 else "Down",
            "physical": "LinkUp" if peer >= 0 else "Polling",
            "base": str(_BASES),
            "bases": str(_BASES),
            "extended": str(extended),
            "extendeds": str(extended),
            "width": str(_WIDTHS),
            "widths": str(_WIDTHS),
        }
        if peer >= 0:
            other = int(fabric.port_node[peer])
            lid = int(fabric.port_lid[peer]) if other >= fabric.n_switches else fabric.node_lid(other)
            values["peer"] = f"{lid}/{fabric.port_number[peer]}"
        return {f"port.{number}.{name}": value for name, value in values.items()}


def netdiscover(fabric: Fabric) -> str:
    """Return a fabric as ``ibnetdiscover`` prints it."""
    lines: list[str] = []
    for node in range(fabric.n_nodes):
        mine = np.flatnonzero(fabric.port_node == node).tolist()
        count = max([int(fabric.node_port_count[node]), *(int(fabric.port_number[port]) for port in mine)])
        guid, name = _guid(fabric, node), fabric.node_name[node]
        lines += ["", "vendid=0x2c9", f"devid=0x{fabric.device_id[node]:x}", f"sysimgguid=0x{guid}"]
        if node < fabric.n_switches:
            lines += [f"switchguid=0x{guid}({guid})"]
            lines += [f'Switch\t{count} "S-{guid}"\t\t# "{name}" base port 0 lid {fabric.node_lid(node)} lmc 0']
        else:
            lines += [f"caguid=0x{guid}", f'Ca\t{count} "H-{guid}"\t\t# "{name}"']
        lines += [_cable(fabric, port) for port in mine if fabric.port_peer[port] >= 0]
    return "\n".join(lines) + "\n"


def _cable(fabric: Fabric, port: int) -> str:
    peer = int(fabric.port_peer[port])
    _, here, own = _end(fabric, port)
    other, there, _ = _end(fabric, peer)
    kind = "S" if other < fabric.n_switches else "H"
    lid = fabric.node_lid(other) if other < fabric.n_switches else int(fabric.port_lid[peer])
    rate = f"{fabric.port_lanes[port]}x{Speed(int(fabric.port_speed[port])).name}"
    peer_id = f'"{kind}-{_guid(fabric, other)}"[{fabric.port_number[peer]}]{there}'
    return f'[{fabric.port_number[port]}]{here}\t{peer_id}\t\t# {own}"{fabric.node_name[other]}" lid {lid} {rate}'


def _end(fabric: Fabric, port: int) -> tuple[int, str, str]:
    """Return a port's node, its GUID in brackets and its LID; the last two for adapters only."""
    node = int(fabric.port_node[port])
    if node < fabric.n_switches:
        return node, "", ""
    return node, f"({int(fabric.port_guid[port]):x}) ", f"lid {fabric.port_lid[port]} lmc 0 "


def _guid(fabric: Fabric, node: int) -> str:
    return f"{int(fabric.node_guid[node]):016x}"
