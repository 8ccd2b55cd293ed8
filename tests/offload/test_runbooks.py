"""The runbooks: on the real OpenSM in a twin, and on the UFM of the tests where OpenSM has no such thing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from emulator.ufm_server import UfmServer
from offload_twin import SPEC
from realstack import preload, tool

from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric
from fabctl.model.snapshot import dump_snapshot

Done = subprocess.CompletedProcess[str]
QUANTUM_2 = "family: rail-optimised\nnode_type: dgx-h100\nnodes_per_unit: 4\nunits: 2\naggregation_nodes: true\n"
"""Eight DGX H100 on Quantum-2 switches with aggregation nodes: they stream and route adaptively."""
TWIN = ("qos.sh", "partitions.sh", "routes.sh")
UFM = ("adaptive-routing.sh", "sharp.sh")


@pytest.fixture
def shell(tmp_path: Path, project: Path) -> Iterator[Callable[..., Done]]:
    """Run a command in the project with ``fabctl`` on the PATH, a state folder of its own, and more variables."""
    home = tmp_path / "bin"
    home.mkdir()
    (home / "fabctl").write_text(f'#!/bin/sh\nexec {sys.executable} -m fabctl "$@"\n')
    (home / "fabctl").chmod(0o755)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as scratch:

        def run(*argv: object, **variables: object) -> Done:
            environment = {
                **os.environ,
                "PATH": f"{home}:{os.environ['PATH']}",
                "TMPDIR": scratch,
                "FABCTL_STATE_DIR": str(tmp_path / "state"),
                **{name: str(value) for name, value in variables.items()},
            }
            return subprocess.run(
                [*map(str, argv)], cwd=project, env=environment, capture_output=True, text=True, timeout=300, check=False
            )

        yield run


def test_every_runbook_is_tested_and_listed(project: Path) -> None:
    scripts = {path.name for path in (project / "runbooks").glob("*.sh")} - {"common.sh"}
    assert scripts == {*TWIN, *UFM}
    page = (project / "runbooks/README.md").read_text()
    assert scripts == set(re.findall(r"^\| \[(\S+?)\]", page, re.MULTILINE))


@pytest.mark.parametrize("script", [*TWIN, *UFM, "common.sh"])
def test_bash_reads_it(project: Path, script: str) -> None:
    subprocess.run(["bash", "-n", project / "runbooks" / script], check=True)


def test_on_the_real_opensm(shell: Callable[..., Done], tmp_path: Path) -> None:
    """All three in one twin, each kept; then one whose check fails, and all are taken back: nothing has changed in any table."""
    tool("opensm")
    preload()
    (tmp_path / "fabric.yaml").write_text(SPEC)
    (tmp_path / "all.sh").write_text(
        """set -eux
        held() { dump_fts; for lid in 1 2 3 4 5 6; do smpquery sl2vl $lid 1; smpquery pkeys $lid 1; done; }
        held > before.txt
        bash runbooks/qos.sh
        KEY=0x12 NAME=tenant MEMBERS='node-[0001-0002]' bash runbooks/partitions.sh
        DISRUPTIVE=1 bash runbooks/routes.sh
        held > kept.txt
        bash runbooks/qos.sh | grep 'nothing to change'
        code=0; KEY=0x13 NAME=other MEMBERS=node-0003 CHECK=false bash runbooks/partitions.sh || code=$?; [ $code = 7 ]
        held | cmp - kept.txt
        fabctl offload drift
        for id in 3 2 1; do fabctl offload rollback $id; done
        held > after.txt
        """.replace(" before.txt", f" {tmp_path}/before.txt")
        .replace("kept.txt", f"{tmp_path}/kept.txt")
        .replace("after.txt", f"{tmp_path}/after.txt")
    )
    done = shell("fabctl", "twin", "run", tmp_path / "fabric.yaml", "--", "bash", tmp_path / "all.sh")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("runbook: kept") == 3
    before, kept, after = ((tmp_path / f"{name}.txt").read_text() for name in ("before", "kept", "after"))
    assert ("0x8012" in before, "0x8012" in kept) == (False, True)
    assert entries(before) == entries(after) != entries(kept)


def entries(text: str) -> list[str]:
    """Return the forwarding tables' and P_Keys' lines; SL2VL tables that OpenSM never wrote come back folded (test_offload_realstack)."""
    return [line for line in text.splitlines() if "0x" in line]


def test_on_ufm(shell: Callable[..., Done], ufm: Callable[[Fabric], UfmServer], tmp_path: Path) -> None:
    """Each once with a check that fails, once kept, once with nothing left to do; SHARP wants adaptive routing's engine first."""
    fabric = parse(QUANTUM_2, "quantum-2.yaml")[0]
    (tmp_path / "fabric.json").write_text(dump_snapshot(fabric))
    (tmp_path / "job.yaml").write_text("hosts: all\ncollective: all_reduce\n")
    server = ufm(fabric)
    server.state.smconf["sharp_enabled"] = 0
    variables: dict[str, Any] = {
        "SOURCE": tmp_path / "fabric.json",
        "DRIVER": f"ufm:url={server.url},auth={server.auth},ca={server.ca}",
        "JOB": tmp_path / "job.yaml",
        "DISRUPTIVE": 1,
    }
    early = shell("bash", "runbooks/sharp.sh", **variables)
    assert (early.returncode, "adaptive-routing sets one" in early.stderr) == (6, True)
    for script in UFM:
        failed = shell("bash", f"runbooks/{script}", **variables, CHECK="exit 3")
        assert failed.returncode == 7, failed.stdout + failed.stderr
        kept = shell("bash", f"runbooks/{script}", **variables)
        assert (kept.returncode, "runbook: kept" in kept.stdout) == (0, True), kept.stdout + kept.stderr
        again = shell("bash", f"runbooks/{script}", **variables)
        assert (again.returncode, "nothing to change" in again.stdout) == (0, True), again.stdout + again.stderr


def test_upstream_opensm_is_refused_what_it_does_not_have(shell: Callable[..., Done], tmp_path: Path) -> None:
    tool("opensm")
    preload()
    (tmp_path / "fabric.yaml").write_text(SPEC)
    for script in UFM:
        done = shell("fabctl", "twin", "run", tmp_path / "fabric.yaml", "--", "bash", f"runbooks/{script}")
        assert done.returncode == 6, done.stdout + done.stderr
        assert "upstream" in done.stderr
