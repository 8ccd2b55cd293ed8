"""The live source against a simulated subnet with a real subnet manager on it; and where nothing answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from realstack import Ibsim, tool

from fabctl.errors import ExitCode, SourceError
from fabctl.sources.ibsim_net import SOURCE as IBSIM
from fabctl.sources.live import discover_live, read_live_tables
from fabctl.sources.reading import load_fabric, load_tables

SCRIPT = """
import json
from fabctl.sources.live import discover_live, read_live_tables
loaded = discover_live()
tables = read_live_tables(loaded.fabric)
report = loaded.report
print(json.dumps({
    "source": report.source, "path": report.path, "notes": report.notes, "unknown": len(report.unknown),
    "tool_messages": [remark.text for remark in report.tool_messages], "digest": loaded.fabric.digest,
    "sm_lid": loaded.fabric.sm_lid, "lft": tables.lft.tolist(), "origin": tables.origin,
}))
"""


def live(sim: Ibsim, project: Path) -> dict[str, object]:
    """Run the live source in a process of its own, under the preload that stands for the kernel."""
    environment = {**sim.environment, "PYTHONPATH": str(project)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        cwd=sim.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.fixture
def sim(fixtures: Path, tmp_path: Path) -> Iterator[Ibsim]:
    with Ibsim(fixtures / "tool-output/ibsim-small.net", tmp_path) as running:
        yield running


def test_fabric_and_tables(sim: Ibsim, project: Path, fixtures: Path) -> None:
    sim.opensm("minhop")
    found = live(sim, project)
    recorded = load_fabric(str(fixtures / "tool-output/ibnetdiscover.txt")).fabric
    assert found["digest"] == recorded.digest
    assert found["lft"] == load_tables(str(fixtures / "tool-output/dump_fts.txt"), recorded).lft.tolist()
    assert (found["source"], found["path"], found["origin"]) == ("ibnetdiscover", "live", "live")
    assert found["unknown"] == 0
    assert found["tool_messages"] == []
    # the manager has swept once and gone: that it does not answer is said
    assert found["sm_lid"] == 0
    (note,) = found["notes"]
    assert note.startswith("the subnet manager's LID is unknown: sminfo failed with exit code 255: ")


def test_the_manager_is_found_while_it_runs(sim: Ibsim, project: Path, tmp_path: Path) -> None:
    sim.opensm("minhop")  # LIDs and tables are there from the start
    environment = {**sim.environment, "OSM_TMP_DIR": str(tmp_path), "OSM_CACHE_DIR": str(tmp_path)}
    manager = subprocess.Popen(
        [tool("opensm"), "-f", str(tmp_path / "running.log")],
        env=environment,
        cwd=sim.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while (found := live(sim, project))["sm_lid"] == 0:
            assert time.monotonic() < deadline
            assert manager.poll() is None
    finally:
        manager.kill()
        manager.wait()
    assert found["sm_lid"] == 1
    assert found["notes"] == []


def test_a_switch_that_does_not_answer(fixtures: Path, tmp_path: Path) -> None:
    """What the tool complains of on stderr is in the report, without process ids."""
    complaint = "./libibnetdisc/query_smp.c:197; umad (DR path slid 0; dlid 0; 0,1) bad status 110; Connection timed out"
    tool_folder = tmp_path / "bin"
    tool_folder.mkdir()
    dump = fixtures / "tool-output/ibnetdiscover.txt"
    _script(tool_folder / "ibnetdiscover", f"cat {dump}; echo '{complaint}' >&2; echo hello >&2")
    _script(tool_folder / "sminfo", "echo 'sminfo: sm lid 9 sm guid 0x1, activity count 4 priority 0 state 2 SMINFO_STANDBY'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tool_folder}:{os.environ['PATH']}")
        loaded = discover_live()
    assert [remark.text for remark in loaded.report.tool_messages] == [complaint]
    assert loaded.fabric.sm_lid == 0


def test_tables_that_could_not_all_be_read(fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dump = fixtures / "tool-output/dump_fts-n.txt"
    _script(tmp_path / "dump_fts", f"cat {dump}; echo \"SubnGet(LFT) failed on switch 'leaf-3' ... MAD status 0x6e AM 0x0\" >&2")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SourceError, match=r"could not read all tables: SubnGet\(LFT\) failed on switch 'leaf-3'"):
        read_live_tables(load_fabric(str(fixtures / "tool-output/ibnetdiscover.txt")).fabric)


def _script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_no_subnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real tool on a machine without InfiniBand."""
    tool("ibnetdiscover")
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    if list(Path("/sys/class/infiniband").glob("*")):
        pytest.skip("this machine has InfiniBand")
    with pytest.raises(SourceError, match=r"ibnetdiscover failed with exit code \d+: .*can't open") as caught:
        discover_live()
    assert caught.value.exit_code == ExitCode.SOURCE == 4
    assert "[" not in caught.value.message


def test_no_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("fabctl.sources.live._SYSTEM_FOLDERS", str(tmp_path))
    with pytest.raises(SourceError, match="ibnetdiscover is not installed") as caught:
        discover_live()
    assert caught.value.hint == "install the package infiniband-diags"


# ---- ibsim's own reading of its files --------------------------------------------------------------------------------

NETS = {
    "GUIDs in file order": 'Hca 1 "b"\n[1] "s"[2]\n\nHca 2 "a"\n[2] "s"[1]\n\nSwitch 4 "s"\n[1] "a"[2]\n[2] "b"\n[3] "t"[4]\n\n'
    'Switch 8 "t"\n[4] "s"[3]\n[7] "c"\n\nHca 1 "c"\n[1] "t"[7]\n',
    "GUIDs that the file sets": 'switchguid=0x2c90300000100\nSwitch 4 "s"\n[1] "a"[1]\n[2] "t"[1]\n\nswitchguid+0x10\nSwitch 4 "t"\n'
    '[1] "s"[2]\n[2] "b"[1]\n\ncaguid=0x2c90300000200\nHca 1 "a"\n[1] "s"[1]\n\nhcaguids+0x20\nHca 1 "b"\n[1] "t"[2]\n',
    "widths and speeds": 'width=3\nspeed=7\nHca 1 "h"\n[1] "a"[4]\n\nSwitch 4 "a"\n[1] "b"[1]\n[2] "b"[2] w=8 s=1\n[3] "b"[3] w=1\n[4] "h"[1]\n\n'
    'width=10\nspeed=3\nSwitch 4 "b"\n[1] "a"[1]\n[2] "a"[2] s=7\n[3] "a"[3] w=15\n',
    "descriptions and LIDs": 'devid=0xd2f0\nSwitch 4 "s" # "MF0;leaf-1:MQM8700/U1" base port 0 lid 40 lmc 0\n[1] "a"[1]\n[2] "t"[1]\n\n'
    'Switch 2 "t" # other leaf enhanced port 0 lid 41 lmc 0\n[1] "s"[2]\n\ndevid=4123\nCa 1 "a" # "node-1 HCA-1"\n[1] "s"[1] # lid 7 lmc 2\n',
    "self cable and parallel cables": 'Hca 1 "a"\n[1] "s"[1]\n\nSwitch 8 "s"\n[1] "a"[1]\n[2] "s"[3]\n[3] "s"[2]\n[4] "t"[1]\n[5] "t"[2]\n\n'
    'Switch 2 "t"\n[1] "s"[4]\n[2] "s"[5]\n',
}


@pytest.mark.parametrize("net", NETS)
def test_ibsim_reads_its_files_the_same_way(tmp_path: Path, net: str) -> None:
    path = tmp_path / "simulated.net"
    path.write_text(NETS[net])
    with Ibsim(path, tmp_path) as sim:
        (tmp_path / "dump").write_text(sim.ibnetdiscover())
    simulated = load_fabric(str(tmp_path / "dump"))
    fabric, report = IBSIM.parse(NETS[net], net)
    assert not report.unknown
    assert not simulated.report.unknown
    assert fabric.digest == simulated.fabric.digest
