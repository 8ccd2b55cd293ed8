"""A running ibsim: its socket, its console, and the tools that talk to it.

A program joins the simulated fabric with `Ibsim.environment`: a preloaded library answers in place of the kernel's InfiniBand
devices. The library writes a folder ``sys-PID`` into the current folder of each program that opens the device; run such programs
in `Ibsim.folder`, or clear away what they leave when they are killed.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from fabctl.errors import RefusedError, SourceError
from fabctl.twin.child import POLL_S, Child
from fabctl.twin.tools import find_preload, find_tool

START_S = 300.0
"""ibsim reads Selene's 55,750 lines in 2 s."""

REPLY_S = 60.0
TOOL_S = 900.0
MAX_TOOLS = 9
"""Programs that may have the device open at once: ibsim takes ten clients, and the subnet manager is one."""

_PROMPT = b"sim> "
_NODE = re.compile(r'^(Switch|Hca|Ca|Rt)\s*(\d+)\s*"([^"]+)"(.*)$', re.MULTILINE)
_LID = re.compile(r"\blid (\d+)")
_LINEAR_CAP = 30_720
_MOST_LIDS = 49_151


class Ibsim:
    """ibsim on a network file, as a context manager.

    Parameters
    ----------
    net : Path
        A network file of ibsim, or ``ibnetdiscover`` output.
    folder : Path
        Where it runs and logs.
    host : str, optional
        Id of the node that programs run on; by default the first channel adapter that is no aggregation node.
    socket : str, optional
        Name of its socket, of which no two on a machine may be the same; one of its own by default.

    Raises
    ------
    SourceError
        On entering: if ibsim or its preload library is not installed, does not take the file, or does not get ready in time.
    """

    def __init__(self, net: Path, folder: Path, host: str = "", socket: str = "") -> None:
        text = net.read_text(errors="replace")
        self.net = net.resolve()
        self.folder = folder.resolve()
        self.host = host or first_host(text)
        self.socket = socket or f"fabctl-{os.getpid()}-{secrets.token_hex(8)}"
        self._limits = limits(text)
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        """The process."""
        if self._child is None:
            raise ValueError("ibsim is not started")
        return self._child

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which a program sees the simulated fabric in place of the machine's own ports."""
        remote = ("IBSIM_SERVER_NAME", "IBSIM_SERVER_PORT")
        kept = {name: value for name, value in os.environ.items() if name not in remote}
        preload = " ".join(dict.fromkeys([find_preload(), *kept.get("LD_PRELOAD", "").split()]))
        return {**kept, "IBSIM_SOCKNAME": self.socket, "SIM_HOST": self.host, "LD_PRELOAD": preload}

    def __enter__(self) -> Self:
        find_preload()
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [find_tool("ibsim"), "-s", *self._limits, str(self.net)]
        self._child = Child(command, self.folder, {**os.environ, "IBSIM_SOCKNAME": self.socket}, console=True)
        try:
            self._await_prompts(1, START_S)
        except BaseException:
            self.child.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.child.stop()

    def tell(self, command: str) -> str:
        """Give ibsim's console a command and return its reply.

        Raises
        ------
        RefusedError
            If ibsim did not do it; it says so in its reply only.
        SourceError
            If ibsim has ended or does not reply.
        """
        before = self.child.out.read_bytes()
        self.child.tell(command)
        text = self._await_prompts(before.count(_PROMPT) + 1, REPLY_S)
        reply = text[len(before) :].replace(_PROMPT, b"").decode("utf-8", "replace").strip()
        complaint = re.search(r"^# *(.*)|.*unknown - skipped$", reply, re.MULTILINE)
        if complaint:
            raise RefusedError(f"ibsim did not do '{command}': {complaint[1] or complaint[0]}")
        return reply

    def run(self, name: str, *arguments: str, timeout_s: float = TOOL_S) -> str:
        """Run a tool on the simulated fabric and return its stdout; errors as of `output`."""
        return self.output(name, *arguments, timeout_s=timeout_s)[0]

    def output(self, name: str, *arguments: str, timeout_s: float = TOOL_S) -> tuple[str, str]:
        """Run a tool on the simulated fabric and return its stdout and stderr.

        Raises
        ------
        SourceError
            If the tool is not installed, fails or does not end; or if ibsim has ended.
        """
        try:
            done = subprocess.run(
                [find_tool(name), *arguments],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            self.child.check()
            raise SourceError(f"{name} did not end within {timeout_s:.0f} s") from error
        self.child.check()
        if done.returncode:
            raise SourceError(f"{name} failed with exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
        return done.stdout, done.stderr

    def _await_prompts(self, count: int, timeout_s: float) -> bytes:
        """Return all that ibsim has printed, once that holds so many prompts."""
        deadline = time.monotonic() + timeout_s
        while True:
            text = self.child.out.read_bytes()
            if text.count(_PROMPT) >= count:
                return text
            self.child.check()
            if time.monotonic() > deadline:
                raise SourceError(f"ibsim does not reply within {timeout_s:.0f} s")
            time.sleep(POLL_S / 4)


def first_host(net: str) -> str:
    """Return the id of the first channel adapter of a network file that is no aggregation node, or of the first node.

    Raises
    ------
    ValueError
        If the file holds no node.
    """
    nodes = _NODE.findall(net)
    for word, _, name, description in nodes:
        if word in ("Hca", "Ca") and "aggregation" not in description.lower():
            return str(name)
    if not nodes:
        raise ValueError("no node to run the tools on")
    return str(nodes[0][2])


def limits(net: str) -> tuple[str, ...]:
    """Return the options that make room for what a network file holds: nodes, switches, ports and LIDs."""
    nodes = _NODE.findall(net)
    switches = sum(word == "Switch" for word, _, _, _ in nodes)
    ports = sum(int(count) + 1 for _, count, _, _ in nodes)
    room = ("-N", str(len(nodes)), "-S", str(max(switches, 1)), "-P", str(ports))
    highest = max(map(int, _LID.findall(net)), default=0) + ports
    return (*room, "-L", str(_MOST_LIDS)) if highest > _LINEAR_CAP else room
