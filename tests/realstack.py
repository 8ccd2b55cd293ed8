"""The real InfiniBand stack on a simulated fabric: ibsim underneath, OpenSM and infiniband-diags on top, ibdmchk as the judge.

None of these tools tells success by its exit status: OpenSM falls back to minhop and exits 0, ibdmchk segfaults after
printing its verdict. So everything here reads what they wrote.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

PACKAGES = {
    "ibsim": "ibsim-utils",
    "opensm": "opensm",
    "ibnetdiscover": "infiniband-diags",
    "dump_fts": "infiniband-diags",
    "ibdmchk": "ibutils",
}
LIMITS = ("-N", "20000", "-S", "3000", "-P", "400000")
"""Nodes, switches and ports that ibsim makes room for."""

TIMEOUT_S = 300
_count = itertools.count()


def tool(name: str) -> str:
    """Return a tool's path; skip the test, naming the Debian package, where it is not installed."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install {PACKAGES[name]}")
    return path


def preload() -> str:
    """Return the library that connects the tools to ibsim in place of the kernel."""
    for path in sorted(Path("/usr/lib").glob("**/umad2sim/libumad2sim.so")):
        return str(path)
    pytest.skip("libumad2sim.so is not installed: apt-get install libumad2sim0")


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


class Ibsim:
    """A running ibsim with its own socket, and the tools that talk to it.

    A program of your own joins with ``environment``; run it in ``folder``, because the preload writes into the current one.

    Parameters
    ----------
    net : Path
        A network file of ibsim, or ``ibnetdiscover`` output.
    folder : Path
        Where logs and dumps go.
    host : str, optional
        Id of the channel adapter that the tools run on; by default the first that is no aggregation node.
    """

    def __init__(self, net: Path, folder: Path, host: str = "") -> None:
        self.net = net.resolve()
        self.folder = folder.resolve()
        self.host = host or first_host(net.read_text(errors="replace"))
        self.socket = f"fabctl-{os.getpid()}-{next(_count)}"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [tool("ibsim"), "-s", "-n", *LIMITS, str(self.net)]
        self.environment = {**os.environ, "IBSIM_SOCKNAME": self.socket, "SIM_HOST": self.host, "LD_PRELOAD": preload()}
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "ibsim.log"
        with log.open("wb") as stream:
            environment = {**os.environ, "IBSIM_SOCKNAME": self.socket}
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, env=environment
            )
        try:
            self._wait_until_ready(log)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stop()

    def run(self, name: str, *arguments: str) -> str:
        """Run a tool on the simulated fabric and return its stdout."""
        done = subprocess.run(
            [tool(name), *arguments],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{name} exited {done.returncode}: {done.stderr[-2000:]}"
        return done.stdout

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
        folder = self.folder / f"opensm-{next(_count)}-{engine}"
        folder.mkdir()
        level = "0x43" if dump else "0x03"  # errors and milestones; 0x40 writes the routing dumps
        command = [tool("opensm"), "-o", "-R", engine, "-D", level, "-f", str(folder / "opensm.log"), "-t", "2000"]
        if tables is not None:
            command += ["-U", str(tables.resolve())]
        if policy is not None:
            command += ["-Q", "-Y", str(policy.resolve())]
        environment = {**self.environment, "OSM_TMP_DIR": str(folder), "OSM_CACHE_DIR": str(folder)}
        done = subprocess.run(
            command,
            env=environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        dumps = Dumps(folder)
        routed = re.findall(r"(\S+) tables configured on all switches", dumps.log)
        assert done.returncode == 0, f"opensm exited {done.returncode}: {dumps.log[-2000:]}"
        assert routed == [engine], f"opensm -R {engine} routed with {routed}: {dumps.log[-2000:]}"
        assert "SUBNET UP" in dumps.log
        return dumps

    def _wait_until_ready(self, log: Path) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while b"simulator ready" not in log.read_bytes():
            assert self.process is not None
            assert self.process.poll() is None, f"ibsim stopped: {log.read_text(errors='replace')[-2000:]}"
            assert time.monotonic() < deadline, "ibsim does not get ready"
            time.sleep(0.02)

    def _stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def first_host(net: str) -> str:
    """Return the id of the first channel adapter of a network file that is no aggregation node."""
    for name, description in re.findall(r'^(?:Hca|Ca)\s+\d+\s+"([^"]+)"(.*)$', net, re.MULTILINE):
        if "aggregation" not in description.lower():
            return str(name)
    raise ValueError("no channel adapter to run the tools on")


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
