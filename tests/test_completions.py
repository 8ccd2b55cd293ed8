"""The scripts in completions/ are what click generates today (``make completions`` renews them) and load in their shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = {"bash": "fabctl.bash", "zsh": "_fabctl", "fish": "fabctl.fish"}


def source(shell: str) -> str:
    environment = {**os.environ, "_FABCTL_COMPLETE": f"{shell}_source"}
    return subprocess.run([sys.executable, "-m", "fabctl"], capture_output=True, text=True, check=True, env=environment).stdout


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts_are_up_to_date(project: Path, shell: str) -> None:
    assert (project / "completions" / SCRIPTS[shell]).read_text() == source(shell), "run make completions"


def test_bash_completes_with_the_script(project: Path, tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    program = tmp_path / "fabctl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fabctl "$@"\n')
    program.chmod(0o755)
    script = f"""
        source "{project}/completions/fabctl.bash"
        COMP_WORDS=(fabctl help exit) COMP_CWORD=2
        _fabctl_completion fabctl exit help
        echo "${{COMPREPLY[@]}}"
    """
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(project)}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert (done.stdout, done.stderr) == ("exit-codes\n", "")
