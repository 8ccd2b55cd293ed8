"""The real InfiniBand stack for tests: `fabctl.twin`'s ibsim and OpenSM, skipped where they are not installed, and ibdmchk as judge.

None of these tools tells success by its exit status: OpenSM falls back to minhop and exits 0, ibdmchk segfaults after
printing its verdict. So everything here reads what they wrote.
"""

from __future__ import annotations

import itertools
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from fabctl.errors import SourceError
from fabctl.twin import ibsim, tools
from fabctl.twin.opensm import OpenSM, Settings

TIMEOUT_S = 300
_count = itertools.count()


def tool(name: str) -> str:
    """Return a tool's path; skip the test, naming the Debian package, where it is not installed."""
    try:
        return tools.find_tool(name)
    except SourceError as error:
        pytest.skip(f"{error.message}: {error.hint}")


def preload() -> str:
    """Return the library that connects the tools to ibsim in place of the kernel."""
    try:
        return tools.find_preload()
    except SourceError as error:
        pytest.skip(f"{error.message}: {error.hint}")


@dataclass(frozen=True)
class Dumps:
    """What one OpenSM run left behind."""

    folder: Path

    @property
    def lfts(self) -> Path:
        """Forwarding tables in the format that ``-R file -U`` reads."""
        return self.folder / "opensm-lfts.dump"

    @property
    def fdbs(self) -> Path:
        """Forwarding tables in the format that ibdmchk reads."""
        return self.folder / "opensm.fdbs"

    @property
    def subnet(self) -> Path:
        """Nodes and links."""
        return self.folder / "opensm-subnet.lst"

    @property
    def log(self) -> str:
        """OpenSM's log."""
        return (self.folder / "opensm.log").read_text(errors="replace")


class Ibsim(ibsim.Ibsim):
    """A running ibsim with its own socket, and the tools that talk to it; skips the test where they are not installed.

    A program of your own joins with ``environment``; run it in ``folder``, because the preload writes into the current one.
    """

    def __enter__(self) -> Self:
        tool("ibsim")
        preload()
        return super().__enter__()

    def run(self, name: str, *arguments: str, timeout_s: float = TIMEOUT_S) -> str:
        """Run a tool on the simulated fabric and return its stdout."""
        tool(name)
        return super().run(name, *arguments, timeout_s=timeout_s)

    def ibnetdiscover(self, *arguments: str) -> str:
        """Return what ``ibnetdiscover`` prints."""
        return self.run("ibnetdiscover", *arguments)

    def dump_fts(self) -> str:
        """Return the tables that the switches hold, read back one by one, without the destinations' names."""
        return self.run("dump_fts", "-n")

    def opensm(self, engine: str, tables: Path | None = None, *, policy: Path | None = None, dump: bool = True) -> Dumps:
        """Sweep, route and program the fabric once, and prove that `engine` made the routes.

        Parameters
        ----------
        engine : str
            Routing engine; OpenSM's name.
        tables : Path, optional
            The tables that engine ``file`` installs.
        policy : Path, optional
            The QoS policy that gives paths their SL.
        dump : bool
            Whether OpenSM dumps tables as well; they are long for large fabrics.
        """
        tool("opensm")
        folder = self.folder / f"opensm-{next(_count)}-{engine}"
        with OpenSM(self, folder, Settings(engine, tables, policy), once=True, dump=dump):
            return Dumps(folder)


@dataclass(frozen=True)
class Verdict:
    """What ibdmchk found.

    Parameters
    ----------
    paths : int
        Pairs of channel adapters whose path was walked.
    lost : int
        Pairs without a path; forwarding loops are among them.
    loops : int
        Pairs whose path is a forwarding loop.
    credit_loop : tuple of str, optional
        Channels of a credit loop, empty without one; None if ibdmchk did not look because paths were lost.
    """

    paths: int
    lost: int
    loops: int
    credit_loop: tuple[str, ...] | None


def ibdmchk(subnet: Path, fdbs: Path, folder: Path, psl: Path | None = None) -> Verdict:
    """Walk every path and look for credit loops with ibdmchk, assuming one service level unless `psl` gives them."""
    no_multicast = folder / "empty.mcfdbs"
    no_multicast.touch()
    command = ["ibdmchk", "-s", str(subnet), "-f", str(fdbs), "-m", str(no_multicast)]
    return run_ibdmchk([*command, *(["-c", str(psl)] if psl else [])], folder)


def run_ibdmchk(command: list[str], folder: Path) -> Verdict:
    """Run a command line of ibdmchk in a folder and read its verdict."""
    done = subprocess.run(
        [tool("ibdmchk"), *command[1:]],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
        check=False,
    )
    return parse_ibdmchk(done.stdout)


def parse_ibdmchk(text: str) -> Verdict:
    """Read ibdmchk's printed verdict; its exit status means nothing."""
    missing = re.search(r"Found (\d+) missing paths out of:(\d+) paths", text)
    scanned = re.search(r"-I- Scanned:(\d+) CA to CA paths", text)
    cycle = tuple(re.findall(r"(?:Found credit loop on:|credit loop through:) (\S+ VL: \d+)", text))
    loops = text.count("loop in LFT?")
    if missing is not None:
        return Verdict(int(missing[2]), int(missing[1]), loops, None)
    assert scanned is not None, f"ibdmchk did not walk the paths: {text[-2000:]}"
    assert cycle or "-I- no credit loops found" in text, f"ibdmchk did not look for credit loops: {text[-2000:]}"
    return Verdict(int(scanned[1]), 0, loops, cycle)
