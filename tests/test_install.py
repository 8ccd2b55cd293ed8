"""``fabctl route install`` against the real OpenSM: what it installs, what it refuses, and what it undoes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import families
import jsonschema
import numpy as np
import pytest
from realstack import Ibsim, tool

from fabctl.errors import ExitCode, SourceError
from fabctl.install.bundle import read_bundle
from fabctl.model.fabric import Fabric
from fabctl.model.routes import Assessment
from fabctl.routing.compute import compute_tables
from fabctl.routing.exports.opensm import opensm, settings
from fabctl.routing.options import DEFAULTS
from fabctl.routing.verify import verify
from fabctl.sources.qos_policy import service_levels
from fabctl.sources.reading import load_fabric, load_tables
from fabctl.twin.netfile import ibsim_net

PROJECT = Path(__file__).resolve().parent.parent
FABCTL = [sys.executable, "-m", "fabctl"]
WAIT_S = 60


class Site:
    """A fabric on ibsim, the OpenSM daemon on it, and its settings in ``etc``."""

    def __init__(self, sim: Ibsim, fabric: Fabric, folder: Path) -> None:
        self.sim = sim
        self.fabric = fabric
        self.folder = folder
        self.etc = folder / "etc"
        self.lfts = self.etc / "opensm-lfts.dump"
        self.policy = self.etc / "qos-policy.conf"
        self.etc.mkdir()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def start(self, *, lanes: int = 1, more: str = "") -> None:
        """Start OpenSM with the lines that an export asks for, and wait until its file is in force."""
        lines = settings(self.fabric, lanes, policy=lanes > 1, home=str(self.etc))
        self.start_with("\n".join(["force_log_flush TRUE", *lines, more]))

    def start_with(self, config: str) -> None:
        (self.etc / "opensm.conf").write_text(config + "\n")
        command = [tool("opensm"), "-F", str(self.etc / "opensm.conf"), "-f", str(self.folder / "opensm.log")]
        environment = {**self.sim.environment, "OSM_TMP_DIR": str(self.folder), "OSM_CACHE_DIR": str(self.folder)}
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        log = self.folder / "opensm.log"
        until(lambda: log.exists() and "SUBNET UP" in log.read_text(errors="replace"))

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def command(self, folder: Path, *more: object) -> list[str]:
        where = ["--opensm-pid", str(self.pid), "--conf-dir", str(self.etc)]
        return [*FABCTL, "route", "install", str(folder), *where, *map(str, more)]

    def install(self, folder: Path, *more: object) -> subprocess.CompletedProcess[str]:
        return self.run(self.command(folder, *more))

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120
        )

    @property
    def environment(self) -> dict[str, str]:
        return {**self.sim.environment, "PYTHONPATH": str(PROJECT)}

    def export(self, run: Any, engine: str, *more: object) -> Path:
        """Export routes; they differ from engine to engine."""
        folder = self.folder / f"export-{engine}"
        arguments = ["--engine", engine, *more, "--bisections", 2, "--export", "opensm", folder]
        assert run("route", self.folder / "fabric.txt", *arguments).code == ExitCode.DONE
        return folder

    def held(self) -> np.ndarray:
        """Return what the switches hold; the highest LID is no multiple of 64, so dump_fts shows all."""
        assert (len(self.fabric.port_of_lid) - 1) % 64
        path = self.folder / "held.txt"
        path.write_text(self._dump())
        return load_tables(str(path), self.fabric).lft

    def _dump(self) -> str:
        """Return what dump_fts prints; it may crash while OpenSM sweeps."""
        for _ in range(20):
            with suppress(SourceError):
                return self.sim.dump_fts()
            time.sleep(0.2)
        return self.sim.dump_fts()

    def exported(self, folder: Path) -> np.ndarray:
        return load_tables(str(folder / "opensm-lfts.dump"), self.fabric).lft


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.01)


@pytest.fixture
def site(tmp_path: Path, run: Any) -> Iterator[Site]:
    """A small random graph, on which every engine routes otherwise; minhop's routes are refused there, updn's are the old ones."""
    tool("ibsim")
    tool("dump_fts")
    net = tmp_path / "fabric.net"
    net.write_text(ibsim_net(families.build("random-regular", "small")))
    with Ibsim(net, tmp_path / "sim") as sim:
        (tmp_path / "fabric.txt").write_text(first_discovery(sim, tmp_path))
        place = Site(sim, load_fabric(str(tmp_path / "fabric.txt")).fabric, tmp_path)
        place.export(run, "updn")
        shutil.copy(tmp_path / "export-updn/opensm-lfts.dump", place.lfts)
        try:
            yield place
        finally:
            place.stop()


def first_discovery(sim: Ibsim, folder: Path) -> str:
    """Return the fabric once a subnet manager has brought it up."""
    subprocess.run(
        [tool("opensm"), "-o", "-f", str(folder / "first.log")],
        env={**sim.environment, "OSM_TMP_DIR": str(folder), "OSM_CACHE_DIR": str(folder)},
        cwd=folder,
        capture_output=True,
        check=True,
        timeout=WAIT_S,
    )
    return sim.run("ibnetdiscover")


def report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the data of an installation's report, checked against its schema."""
    assert done.returncode == ExitCode.DONE, done.stderr
    payload: dict[str, Any] = json.loads(done.stdout)
    for name, document in (("envelope", payload), ("install-report", payload["data"])):
        schema = json.loads((PROJECT / f"fabctl/report/schemas/{name}.json").read_text())
        jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)
        if name == "install-report":
            assert set(document) == set(schema["properties"])
    assert payload["kind"] == "InstallReport"
    data: dict[str, Any] = payload["data"]
    return data


def test_routes_are_installed_and_the_old_file_is_kept(site: Site, run: Any) -> None:
    site.start()
    before, old = site.held(), site.lfts.read_bytes()
    new = site.export(run, "nue", "--vls", "1")
    data = report(site.install(new, "-o", "json"))
    np.testing.assert_array_equal(site.held(), site.exported(new))
    changed = site.exported(new) != before
    switch, lid = np.nonzero(changed)
    assert data["entries_changed"] == len(switch) > 0
    assert data["switches_changed"] == len(set(switch.tolist()))
    assert data["blocks_changed"] == len({(s, x // 64) for s, x in zip(switch.tolist(), lid.tolist(), strict=True)})
    assert data["opensm_pid"] == site.pid
    assert site.lfts.read_bytes() == (new / "opensm-lfts.dump").read_bytes()
    kept = Path(data["files"][0]["kept"])
    assert kept.read_bytes() == old
    again = site.install(new)
    assert again.returncode == ExitCode.DONE
    assert "0 entries to change" in again.stdout
    assert kept.read_bytes() == old
    assert not list(site.etc.glob(".*.json"))


def test_routes_on_several_lanes_get_their_levels(site: Site, run: Any) -> None:
    shutil.copy(site.export(run, "nue", "--vls", "3") / "qos-policy.conf", site.policy)
    site.start(lanes=3)
    new = site.export(run, "dfsssp")
    data = report(site.install(new, "-o", "json"))
    assert data["virtual_lanes"] >= 2
    assert data["paths_asked"] >= 2
    assert {Path(file["path"]).name for file in data["files"]} == {"opensm-lfts.dump", "qos-policy.conf"}
    np.testing.assert_array_equal(site.held(), site.exported(new))
    assert levels_differ(site, new, count=8) == []
    assert "0 entries to change" in site.install(new).stdout


def levels_differ(site: Site, folder: Path, count: int) -> list[tuple[int, int]]:
    """Return sampled paths for which OpenSM answers another SL than the export's policy says."""
    policy = read_bundle(str(folder)).policy()
    fabric = site.fabric
    assert policy
    level = service_levels(policy, fabric, len(fabric.port_of_lid))
    rng = np.random.default_rng(1)
    wrong = []
    for _ in range(count):
        source = int(rng.choice(fabric.endpoints))
        lid = int(rng.choice(np.flatnonzero(fabric.port_of_lid >= 0)))
        if lid == fabric.port_lid[source]:
            continue
        text = site.sim.run("saquery", "-p", "--slid", str(fabric.port_lid[source]), "--dlid", str(lid))
        found = re.search(r"\bsl\.+(\w+)", text)
        assert found, text
        if int(found[1], 0) != level[fabric.port_node[fabric.port_peer[source]], lid]:
            wrong.append((source, lid))
    return wrong


def test_settings_that_would_not_do_are_listed_and_nothing_changes(site: Site, run: Any) -> None:
    shutil.copy(site.export(run, "nue", "--vls", "3") / "qos-policy.conf", site.policy)
    site.start()
    before = snapshot(site.etc)
    done = site.install(site.folder / "export-nue")
    assert done.returncode == ExitCode.REFUSED
    assert f"  qos TRUE\n  qos_policy_file {site.policy}\n" in done.stderr
    assert "restart OpenSM" in done.stderr
    assert snapshot(site.etc) == before


def test_more_lanes_than_ports_have_are_refused(site: Site) -> None:
    """ibsim's ports have eight; OpenSM would put the ninth SL on the first lane."""
    tables = compute_tables(site.fabric, "updn")
    level = np.zeros(tables.lft.shape, dtype=np.uint8)
    level[:, site.fabric.port_lid[site.fabric.endpoints[0]]] = 8
    on_nine = replace(tables, service_level=level)
    folder = site.folder / "export-nine"
    opensm(Assessment(on_nine, verify(on_nine), None, (), site.fabric.endpoints, ()), str(folder), DEFAULTS)
    shutil.copy(folder / "qos-policy.conf", site.policy)
    site.start(lanes=9)
    done = site.install(folder)
    assert done.returncode == ExitCode.REFUSED, done.stderr
    assert re.search(r"these routes use 9 virtual lanes, and \S.*/P\d+ has 8\n  hint: route again with --vls 8", done.stderr)


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        ("", ["routing_engine file,no_fallback", "lfts_file {etc}/opensm-lfts.dump"]),
        ("routing_engine updn\nlfts_file {etc}/x", ["routing_engine file,no_fallback"]),
        ("routing_engine file\n#lfts_file {etc}/x", ["lfts_file {etc}/opensm-lfts.dump"]),
    ],
)
def test_an_opensm_that_reads_no_file_is_told_what_to_read(site: Site, config: str, missing: list[str]) -> None:
    site.start_with("force_log_flush TRUE\n" + config.format(etc=site.etc))
    done = site.install(site.folder / "export-updn")
    assert done.returncode == ExitCode.REFUSED
    assert re.findall(r"^  (?!hint)(\w+ .*)$", done.stderr, re.MULTILINE) == [line.format(etc=site.etc) for line in missing]


def snapshot(folder: Path) -> dict[str, bytes]:
    ignored = (".fabctl-install.lock",)
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name not in ignored}


def test_an_edited_export_is_refused_and_named(site: Site, run: Any) -> None:
    site.start()
    before = snapshot(site.etc)
    new = site.export(run, "nue", "--vls", "1")
    lfts = new / "opensm-lfts.dump"
    lfts.write_text(lfts.read_text().replace(" 001 ", " 002 ", 1))
    done = site.install(new)
    assert done.returncode == ExitCode.REFUSED
    assert f"{lfts}: this file was changed after the export" in done.stderr
    assert snapshot(site.etc) == before


def resign(folder: Path) -> None:
    """Make a manifest fit its files again."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for name, entry in manifest["files"].items():
        entry["sha256"] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    path.write_text(json.dumps(manifest))


def refused_by_opensm(folder: Path) -> None:
    """Put a no-break space after a port: space for fabctl, and for OpenSM a reason to refuse the file as a whole."""
    lfts = folder / "opensm-lfts.dump"
    lfts.write_text(re.sub(r"^(0x0003 \d+) #", "\\1\u00a0#", lfts.read_text(), flags=re.MULTILINE))
    resign(folder)


@pytest.mark.parametrize("fall_back", [False, True])
def test_a_file_that_opensm_does_not_take_is_undone(site: Site, run: Any, fall_back: bool) -> None:
    """Without no_fallback OpenSM has routed with minhop by then."""
    if fall_back:
        site.start_with(f"force_log_flush TRUE\nrouting_engine file\nlfts_file {site.lfts}")
    else:
        site.start()
    before, files = site.held(), snapshot(site.etc)
    new = site.export(run, "nue", "--vls", "1")
    refused_by_opensm(new)
    done = site.install(new)
    assert done.returncode == ExitCode.UNVERIFIED, done.stderr
    assert "OpenSM refused the files: do_ucast_file_load: PARSE ERROR" in done.stderr
    assert "the old tables are back in force" in done.stderr
    np.testing.assert_array_equal(site.held(), before)
    after = snapshot(site.etc)
    assert after.pop("opensm-lfts.dump.before-fabctl") == files["opensm-lfts.dump"]
    assert after == files


def test_an_opensm_that_does_not_answer_is_undone_after_the_timeout(site: Site, run: Any) -> None:
    site.start()
    before, files = site.held(), snapshot(site.etc)
    new = site.export(run, "nue", "--vls", "1")
    os.kill(site.pid, signal.SIGSTOP)
    done = site.install(new, "--timeout", 2)
    os.kill(site.pid, signal.SIGCONT)
    assert done.returncode == ExitCode.UNVERIFIED, done.stderr
    assert "after 2 s the switches do not hold the new tables" in done.stderr
    assert site.lfts.read_bytes() == files["opensm-lfts.dump"]
    np.testing.assert_array_equal(site.held(), before)


def in_the_middle(site: Site, folder: Path) -> subprocess.Popen[str]:
    """Start an installation that cannot end by itself, and return when the files are exchanged."""
    os.kill(site.pid, signal.SIGSTOP)
    old = site.lfts.read_bytes()
    command = site.command(folder, "--timeout", 60)
    process = subprocess.Popen(
        command, env=site.environment, cwd=site.folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    until(lambda: process.poll() is not None or site.lfts.read_bytes() != old)
    assert process.poll() is None
    return process


def test_a_kill_leaves_whole_files_and_the_next_one_puts_them_back(site: Site, run: Any) -> None:
    site.start()
    files = snapshot(site.etc)
    new = site.export(run, "nue", "--vls", "1")
    process = in_the_middle(site, new)
    process.kill()
    process.communicate()
    assert site.lfts.read_bytes() == (new / "opensm-lfts.dump").read_bytes()
    assert (site.etc / "opensm-lfts.dump.before-fabctl").read_bytes() == files["opensm-lfts.dump"]
    os.kill(site.pid, signal.SIGCONT)
    lfts = new / "opensm-lfts.dump"
    lfts.write_text(lfts.read_text() + "# edited\n")
    assert site.install(new).returncode == ExitCode.REFUSED
    data = report(site.install(site.folder / "export-updn", "-o", "json"))
    assert data["entries_changed"] == 0
    assert site.lfts.read_bytes() == files["opensm-lfts.dump"]
    assert not (site.etc / ".fabctl-install.json").exists()


def test_ctrl_c_puts_the_old_files_back(site: Site, run: Any) -> None:
    site.start()
    files, before = snapshot(site.etc), site.held()
    process = in_the_middle(site, site.export(run, "nue", "--vls", "1"))
    os.kill(site.pid, signal.SIGCONT)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == ExitCode.INTERRUPTED, err
    assert site.lfts.read_bytes() == files["opensm-lfts.dump"]
    np.testing.assert_array_equal(site.held(), before)


def test_an_opensm_that_dies_over_it_cannot_be_rolled_back(site: Site, run: Any) -> None:
    site.start()
    files = snapshot(site.etc)
    process = in_the_middle(site, site.export(run, "nue", "--vls", "1"))
    site.stop()
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == ExitCode.ROLLBACK_FAILED, err
    assert "ended while it read the files" in err
    assert site.lfts.read_bytes() == files["opensm-lfts.dump"]


def test_a_fabric_that_has_changed_since_the_export_is_refused(site: Site, run: Any) -> None:
    new = site.export(run, "updn")
    fabric = site.fabric
    used = load_tables(str(new / "opensm-lfts.dump"), fabric).next_channel
    channel = int(used[(used >= 0) & (fabric.channel_dst[used] < fabric.n_switches)][0])
    port = int(fabric.channel_port[channel])
    site.start()
    site.sim.tell(f'Unlink "{fabric.node_name[fabric.port_node[port]]}"[{fabric.port_number[port]}]')
    done = site.install(new)
    assert done.returncode == ExitCode.REFUSED, done.stderr
    assert re.search(r"on the fabric as it is these routes lose \d+ paths", done.stderr)


def test_a_host_that_is_new_since_the_export_is_refused(site: Site) -> None:
    """The export knows nothing of one host."""
    lfts = site.folder / "export-updn/opensm-lfts.dump"
    lid = int(site.fabric.port_lid[site.fabric.endpoints[7]])
    lfts.write_text(re.sub(rf"^0x{lid:04x} .*\n", "", lfts.read_text(), flags=re.MULTILINE))
    lfts.write_text(re.sub(r"\[0-\d+\] |\d+ lids dumped\n", "", lfts.read_text()))
    resign(lfts.parent)
    site.start()
    done = site.install(lfts.parent)
    assert done.returncode == ExitCode.REFUSED, done.stderr
    assert f"the fabric has 1 LIDs that these routes do not know, as LID {lid}" in done.stderr


def test_one_installation_at_a_time(site: Site) -> None:
    site.start()
    with (site.etc / ".fabctl-install.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        done = site.install(site.folder / "export-updn")
    assert done.returncode == ExitCode.LOCKED
    assert "another fabctl route install is at work here" in done.stderr


def test_settings_that_cannot_be_written(site: Site, run: Any) -> None:
    new = site.export(run, "nue", "--vls", "1")
    site.start()
    before = snapshot(site.etc)
    site.etc.chmod(0o555)
    unprivileged = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    done = site.run([*unprivileged, *site.command(new)])
    site.etc.chmod(0o755)
    assert done.returncode == ExitCode.INPUT, done.stderr
    assert "cannot lock these settings: Permission denied" in done.stderr
    assert snapshot(site.etc) == before


def test_a_full_disk_changes_nothing(site: Site, run: Any) -> None:
    new = site.export(run, "nue", "--vls", "1")
    site.start()
    before, files = site.held(), snapshot(site.etc)
    done = site.run(["bash", "-c", 'ulimit -f 2; exec "$@"', "-", *site.command(new)])
    assert done.returncode == ExitCode.INPUT, done.stderr
    assert f"{site.lfts}: cannot write" in done.stderr
    after = snapshot(site.etc)
    after.pop("opensm-lfts.dump.before-fabctl")
    assert after == files
    np.testing.assert_array_equal(site.held(), before)


def test_processes_that_are_no_opensm(site: Site) -> None:
    site.start()
    stale = subprocess.Popen(["true"])
    stale.wait()
    for pid, code, message in (
        (stale.pid, ExitCode.SOURCE, "no process has the id"),
        (os.getpid(), ExitCode.REFUSED, "not opensm"),
    ):
        command = [*FABCTL, "route", "install", str(site.folder / "export-updn"), "--opensm-pid", str(pid)]
        done = site.run([*command, "--conf-dir", str(site.etc)])
        assert done.returncode == code
        assert message in done.stderr


def test_the_only_opensm_is_found(site: Site) -> None:
    """Other tests' OpenSMs may run at the same time; then all are named."""
    site.start()
    done = site.run([*FABCTL, "route", "install", str(site.folder / "export-updn"), "--conf-dir", str(site.etc)])
    assert done.returncode in (ExitCode.DONE, ExitCode.USAGE), done.stderr
    if done.returncode == ExitCode.USAGE:
        assert re.search(rf"OpenSMs run here: .*\b{site.pid}\b", done.stderr)
        assert "--opensm-pid" in done.stderr


def test_another_opensm_s_settings_are_refused(site: Site) -> None:
    site.start()
    other = site.folder / "other"
    other.mkdir()
    (other / "opensm.conf").write_text("")
    for folder, code, message in (
        (other, ExitCode.REFUSED, f"this OpenSM reads {site.etc}/opensm.conf"),
        (site.folder / "nowhere", ExitCode.INPUT, "no such folder"),
    ):
        command = [*FABCTL, "route", "install", str(site.folder / "export-updn"), "--opensm-pid", str(site.pid)]
        done = site.run([*command, "--conf-dir", str(folder)])
        assert done.returncode == code
        assert message in done.stderr
