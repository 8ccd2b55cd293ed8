"""Where the subnet manager runs: on a node on which ibsim lets programs run, or nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fabctl.errors import RefusedError, SourceError
from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.twin.faults import Fault
from fabctl.twin.netfile import ibsim_net
from fabctl.twin.opensm import OpenSM
from fabctl.twin.twin import Twin
from fabctl.units import Speed


def hosts(*ports: tuple[int, ...]) -> Fabric:
    """Return hosts whose ports of these numbers hang from one switch; the first is cabled by all of its own."""
    builder = FabricBuilder()
    builder.node(NodeKind.SWITCH, 0x1000, "switch", ports=8)
    at = 0
    for index, numbers in enumerate(ports):
        guid = 0x100000 + 16 * index
        builder.node(NodeKind.CA, guid, f"host-{index}", ports=2)
        for number in numbers:
            at += 1
            builder.link(0x1000, at, guid, number, lanes=4, speed=Speed.QDR)
            builder.link(guid, number, 0x1000, at, lanes=4, speed=Speed.QDR)
    return builder.build()


@pytest.mark.parametrize(("ports", "host"), [(((2,), (1,)), "host-1"), (((1, 2), (1,)), "host-0"), (((2,), (2,)), "switch")])
def test_a_port_that_programs_can_use_is_found(ports: tuple[tuple[int, ...], ...], host: str) -> None:
    fabric = hosts(*ports)
    with Twin(fabric) as twin:
        assert twin.sim.host == host
        assert twin.discover().n_cables == fabric.n_cables


def test_a_host_without_such_a_port_is_refused(run: Any, tmp_path: Path) -> None:
    net = tmp_path / "hosts.net"
    net.write_text(ibsim_net(hosts((2,), (1,))))
    done = run("twin", "run", net, "--host", "host-0", "--", "true")
    assert (done.code, done.out) == (2, "")
    assert done.err == "fabctl: no program can run on host-0: it has no cable at P1\n"


def test_the_managers_own_cable_stays_in() -> None:
    """Of a host with two cables OpenSM has one; the other may go."""
    with Twin(hosts((1, 2), (1,))) as twin:
        for fault in (Fault("cut", "host-0/P1"), Fault("cut", "switch/P1"), Fault("lose", "host-0"), Fault("lose", "switch")):
            with pytest.raises(RefusedError, match="would take them off the fabric"):
                twin.inject([fault])
        twin.inject([Fault("cut", "host-0/P2")])
        assert twin.discover().n_cables == 2


def test_a_manager_on_a_switch_keeps_its_switch() -> None:
    with Twin(hosts((1,), (1,)), host="switch") as twin:
        with pytest.raises(RefusedError, match="run on switch: this fault"):
            twin.inject([Fault("lose", "switch")])
        twin.inject([Fault("cut", "switch/P2")])
        assert twin.discover().n_cables == 1


def test_a_manager_whose_port_is_down_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unplug_first(manager: OpenSM) -> OpenSM:
        manager.sim.tell(f'Unlink "{manager.sim.host}"[1]')
        return enter(manager)

    enter = OpenSM.__enter__
    monkeypatch.setattr(OpenSM, "__enter__", unplug_first)
    with pytest.raises(SourceError, match="OpenSM's own port on host-0 is down"), Twin(hosts((1,), (1,))):
        pass
