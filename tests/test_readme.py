"""The README tells the truth: its transcripts are what the commands print, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"^```console\n(.*?)^```", (PROJECT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def transcript(block: str) -> list[tuple[str, str]]:
    """Return (command, output) pairs of a console block."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("block", range(len(BLOCKS)))
def test_transcripts(
    block: int, run: Callable[..., Any], fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "selene.txt").symlink_to(fixtures / "ibnetdiscover/selene-compute-2021.txt")
    (tmp_path / "jobs.yaml").symlink_to(PROJECT / "topologies/jobs/selene-8.yaml")
    monkeypatch.chdir(tmp_path)
    for command, output in transcript(BLOCKS[block]):
        command, _, lines = command.partition(" | head -")
        program, *arguments = shlex.split(command)
        if program == "cat":
            (tmp_path / arguments[0]).write_text(output)
        else:
            assert program == "fabctl"
            outcome = run(*arguments)
            shown = "".join((outcome.err + outcome.out).splitlines(keepends=True)[: int(lines) if lines else None])
            assert (outcome.code, shown) == (0, output)


def test_links_lead_somewhere() -> None:
    for page in [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
