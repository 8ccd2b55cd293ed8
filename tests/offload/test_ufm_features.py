"""Features through UFM, from the command line, against the UFM of `emulator`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulator.ufm_server import PASSWORD, TOKEN, UfmServer
from small_fabrics import HCA, LEAF, two_levels

from fabctl.model.fabric import Fabric
from fabctl.model.snapshot import dump_snapshot
from fabctl.offload.drivers import ufm_client

RAILS = 2
FABRIC = replace(two_levels(4, 2, 2, rails=RAILS), sm_lid=0x400)


@pytest.fixture
def server(ufm: Callable[[Fabric], UfmServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UfmServer:
    monkeypatch.setattr(ufm_client, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(ufm_client, "_POLL_S", 0.0)
    monkeypatch.setattr("fabctl.offload.work.PATIENCE_S", 0.0)
    monkeypatch.setenv("FABCTL_STATE_DIR", str(tmp_path / "state"))
    return ufm(FABRIC)


@pytest.fixture
def fabctl(run: Callable[..., Any], server: UfmServer, tmp_path: Path) -> Callable[..., Any]:
    """Run ``fabctl offload WORDS`` on the fabric through UFM."""
    source = tmp_path / "fabric.json"
    source.write_text(dump_snapshot(FABRIC))

    def offload(*words: object) -> Any:
        return run("offload", *words, source, "--driver", server.driver_option)

    return offload


def state(server: UfmServer) -> str:
    return json.dumps(vars(server.state), sort_keys=True)


PARTITION = ("partitions", "--set", "key=0x12", "--set", "members=n[0000-0001]", "--set", "limited=n0002", "--set", "ipoib=yes")


def test_a_partition_is_enabled_seen_and_rolled_back(fabctl, run, server):
    before = state(server)
    shown = fabctl("plan", *PARTITION)
    assert (shown.code, server.written()) == (1, [])
    assert "partition 0x0012 for 6 ports" in shown.out
    assert "UFM's own view" in shown.out
    done = fabctl("enable", *PARTITION, "--yes")
    assert done.code == 0, done.err
    members = server.state.pkeys["0x12"]["guids"]
    assert [(int(member["guid"], 16), member["membership"]) for member in members] == [
        (HCA + 256 * host + rail, "limited" if host == 2 else "full") for host in range(3) for rail in range(RAILS)
    ]
    assert server.state.pkeys["0x12"]["ip_over_ib"] is True
    assert "0 to change" in fabctl("plan", *PARTITION).out
    listed = fabctl("list", "--feature", "partitions")
    assert listed.code == 0, listed.err
    assert "1 partitions beside the default one" in listed.out
    assert run("offload", "rollback", 1).code == 0
    assert state(server) == before


def test_a_partition_that_goes_comes_back_with_its_qos(fabctl, run, server):
    server.state.pkeys["0x12"] = {
        "partition": "mine",
        "ip_over_ib": False,
        "guids": [{"guid": f"{HCA:016x}", "membership": "full", "index0": True}],
        "qos_conf": {"mtu_limit": 4, "rate_limit": 100, "service_level": 3},
    }
    before = state(server).replace('"mine"', '"api_pkey_0x12"')
    assert fabctl("disable", "partitions", "--set", "key=0x12", "--yes").code == 0
    assert "0x12" not in server.state.pkeys
    assert run("offload", "rollback", 1).code == 0
    assert json.loads(state(server)) == json.loads(before)


def test_a_taken_key_and_words_that_ufm_does_not_have_are_refused(fabctl, server):
    assert fabctl("enable", *PARTITION, "--yes").code == 0
    written = len(server.written())
    taken = fabctl("enable", "partitions", "--set", "key=0x12", "--set", "members=n0003", "--yes")
    assert taken.code == 6
    assert "P_Key 0x0012 is taken by a partition with 6 members" in taken.err
    assert fabctl("enable", *PARTITION, "--set", "name=mine", "--yes").code == 2
    assert fabctl("enable", "partitions", "--set", "key=0x7fff", "--set", "members=n0003", "--yes").code == 2
    assert len(server.written()) == written


def test_a_port_is_isolated_and_let_in_again(fabctl, run, server):
    ports = ("ports", "--set", "ports=leaf-0/P3")
    done = fabctl("disable", *ports, "--yes")
    assert done.code == 0, done.err
    assert server.state.unhealthy == {f"{LEAF:016x}_3": "MANUAL"}
    assert run("offload", "verify", 1).code == 0
    server.state.unhealthy.clear()
    assert run("offload", "verify", 1).code == 1
    assert run("offload", "drift").code == 1
    server.state.unhealthy[f"{LEAF:016x}_3"] = "MANUAL"
    assert run("offload", "rollback", 1).code == 0
    assert server.state.unhealthy == {}
    cut = fabctl("disable", "ports", "--set", "ports=leaf-0/P[3-4]", "--yes")
    assert (cut.code, server.state.unhealthy) == (6, {})
    speed = fabctl("enable", *ports, "--set", "speed=HDR", "--yes")
    assert speed.code == 6
    assert "this needs --driver mad" in speed.err


def test_sharp_that_goes_says_for_whom_it_is_reserved(run, ufm, tmp_path, monkeypatch):
    monkeypatch.setenv("FABCTL_STATE_DIR", str(tmp_path / "state"))
    fabric = two_levels(4, 2, 2)
    quantum = replace(fabric, device_id=np.where(fabric.is_hca, 0x101B, 0xD2F0).astype(np.uint32))
    source = tmp_path / "fabric.json"
    source.write_text(dump_snapshot(quantum))
    server = ufm(quantum)
    server.state.smconf |= {"sharp_enabled": 2, "routing_engine": "ar_updn"}
    server.state.reservations = {f"job-{number}": {"pkey": "0x12", "guids": []} for number in range(5)}
    planned = run("offload", "plan", "sharp", source, "--disable", "--driver", server.driver_option)
    assert planned.code == 1, planned.err
    assert "SHARP reserved as job-0, job-1, job-2 and 2 more" in " ".join(planned.out.split())


def test_counters_above_their_thresholds_are_found(fabctl, server):
    server.counters[LEAF, 2] = {"Infiniband_SymbolErrors": 4711}
    found = fabctl("plan", "telemetry")
    assert found.code == 0
    assert "leaf-0/P2 SymbolErrorCounter 4711" in found.out


@pytest.mark.parametrize(
    ("word", "code", "words"),
    [
        ("401", 6, "does not know who is asking"),
        ("403", 6, "does not let this account do that"),
        ("404", 6, "has no such thing"),
        ("409", 9, "is changing the same already"),
        ("500", 4, "fails (500)"),
        ("drop", 4, "drops the connection"),
        ("half", 4, "ends in the middle of its answer"),
        ("html", 4, "that are no JSON"),
    ],
)
def test_each_failure_has_its_words_its_code_and_no_secret(fabctl, server, tmp_path, word, code, words):
    server.fault(word, times=99)
    for what in (("list",), ("plan", *PARTITION)):
        done = fabctl(*what)
        assert (done.code, done.out) == (code, "")
        assert words in done.err
        assert "hint: " in done.err
        assert "Traceback" not in done.err
        assert PASSWORD not in done.err
    assert server.written() == []


def test_a_failure_in_the_middle_is_taken_back_and_exits_with_7(fabctl, run, server, tmp_path):
    before = state(server)
    server.fault("deaf", "pkeys", "PUT")
    done = fabctl("enable", *PARTITION, "--yes")
    assert done.code == 7
    assert "UFM took pkey.0x8012 and does not show it" in done.err
    assert state(server) == before
    held = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert b"pkey.0x8012" in held
    assert not any(secret.encode() in held for secret in (PASSWORD, TOKEN))
