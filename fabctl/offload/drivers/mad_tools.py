"""infiniband-diags for one fabric: run as argument lists, at LIDs that are proved to be who is meant; failures are not data."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fabctl.errors import RefusedError, SourceError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.offload.drivers.mad_text import fields, header_lid, numbers
from fabctl.sources.live import run_tool

OPTIONS = {"ca": "-C", "port": "-P", "config": "-z"}
"""Options of the driver, and those of the tools that they become."""

_TARGET = re.compile(r"(0x[0-9a-f]{16})(?:/P(\d{1,3}))?")
_STATUS = re.compile(r"error status 0x([0-9a-f]+)")
_FAILED = re.compile(r"failed|error status|iberror|ibpanic|timed out", re.IGNORECASE)
_NO_ANSWER = "_do_madrpc failed"
_NOT_SUPPORTED = (1, 2, 3)
"""Codes in bits 2 to 4 of a MAD's status: class, method, or method with attribute not supported (IBA vol. 1, 13.4.7)."""


@dataclass(frozen=True)
class Answer:
    """What a tool printed, and the command line that was run."""

    command: str
    text: str


@dataclass(frozen=True)
class Target:
    """A node, or a port of it.

    Parameters
    ----------
    node : int
        Node index.
    guid : str
    port : int, optional
        Port number.
    label : str
        What people call it.
    """

    node: int
    guid: str
    port: int | None
    label: str


class Tools:
    """Runs the tools.

    Parameters
    ----------
    fabric : Fabric
        Says which LID a node has.
    options : mapping of str to str
        ``ca`` and ``port``: the local HCA and its port; ``config``: a file of infiniband-diags that holds the M_Key.
    """

    def __init__(self, fabric: Fabric, options: Mapping[str, str]) -> None:
        self.fabric = fabric
        self._options = [word for name, flag in OPTIONS.items() if name in options for word in (flag, options[name])]
        self._proved: set[tuple[int, int]] = set()

    def run(self, tool: str, *arguments: str) -> Answer:
        """Run a tool and return what it printed.

        Raises
        ------
        SourceError
            If it is not installed, or fails in any way that it tells: by its exit code or by what it prints to stderr.
        RefusedError
            If a node answered that it does not have what was asked for.
        """
        command = [tool, *self._options, *arguments]
        try:
            data, complaints = run_tool(tool, "-e", *self._options, *arguments)
        except SourceError as error:
            self._refuse_unsupported(error.message, command)
            silent = _NO_ANSWER in error.message
            raise SourceError(
                f"`{' '.join(command)}`: {'no answer' if silent else error.message}",
                hint="is it up? ibtracert shows how far one gets" if silent else error.hint,
            ) from error
        failed = [line for line in complaints if _FAILED.search(line)]
        if failed:
            self._refuse_unsupported(" ".join(failed), command)
            raise SourceError(f"`{' '.join(command)}` printed: {failed[-1]}", hint="do all nodes answer? ibqueryerrors tells")
        return Answer(" ".join(command), data.decode("utf-8", "replace"))

    def ask(self, tool: str, operation: str, target: Target, *arguments: str) -> Answer:
        """Run a tool on a node and return what it printed about that node.

        Parameters
        ----------
        operation : str
            Option or operation before the LID on the command line; empty: none.

        Raises
        ------
        SourceError, RefusedError
            As `run`; and if the LID is somebody else's by now, or the answer is about another.
        """
        lid = self.lid(target)
        if (target.node, lid) not in self._proved:
            self.prove(target)
        answer = self._at(target, tool, *([operation] if operation else []), str(lid), *arguments)
        about = header_lid(answer.text)
        if about is not None and about != lid:
            raise SourceError(f"{target.label}: `{answer.command}` answered for LID {about}")
        return answer

    def target(self, text: str) -> Target:
        """Return the node and port that a place's target names.

        Raises
        ------
        RefusedError
            If it is no GUID, or the fabric does not know it.
        """
        match = _TARGET.fullmatch(text)
        node = self._nodes.get(match[1]) if match else None
        if match is None or node is None:
            raise RefusedError(f"the fabric has no {text}", hint="plan again on the fabric as it is")
        port = int(match[2]) if match[2] else None
        label = self.fabric.labels[node]
        return Target(node, match[1], port, label if port is None else f"{label}/P{port}")

    def lid(self, target: Target) -> int:
        """Return the LID at which a node answers; an HCA's port has its own.

        Raises
        ------
        RefusedError
            If it has none.
        """
        fabric = self.fabric
        lid = 0
        if target.port is not None and target.node >= fabric.n_switches:
            own = (fabric.port_node == target.node) & (fabric.port_number == target.port)
            lid = int(fabric.port_lid[np.flatnonzero(own)].max(initial=0))
        lid = lid or fabric.node_lid(target.node)
        if not 0 < lid < 0xC000:
            raise RefusedError(f"{target.label} has no LID", hint="has a subnet manager swept the fabric? sminfo tells")
        return lid

    def local_guid(self) -> Answer:
        """Return the GUID of the node on which the tools run."""
        answer = self.run("smpquery", "-D", "nodeinfo", "0")
        guid = fields(answer.text).get("Guid")
        if guid is None:
            raise SourceError(f"`{answer.command}` does not say which node this is")
        return Answer(answer.command, guid)

    @cached_property
    def _nodes(self) -> dict[str, int]:
        return {self.fabric.guid_text(node): node for node in range(self.fabric.n_nodes)}

    def prove(self, target: Target) -> None:
        """Make sure that a node's LID is its own still: LIDs move when a subnet manager starts anew.

        Raises
        ------
        RefusedError
            If it is somebody else's.
        SourceError
            If nobody says who is there.
        """
        lid = self.lid(target)
        answer = self._at(target, "smpquery", "nodeinfo", str(lid))
        (guid,) = numbers(fields(answer.text), ["Guid"], target.label)
        if not guid:
            raise SourceError(f"{target.label}: `{answer.command}` does not say which node this is")
        found = f"0x{guid:016x}"
        if found != target.guid:
            who = self.fabric.labels[self._nodes[found]] if found in self._nodes else found
            raise RefusedError(
                f"LID {lid} is {who} now, not {target.label}: LIDs have changed since the fabric was read",
                hint="read the fabric again and plan again",
            )
        self._proved.add((target.node, lid))

    def _at(self, target: Target, tool: str, *arguments: str) -> Answer:
        try:
            return self.run(tool, *arguments)
        except SourceError as error:
            raise SourceError(f"{target.label}: {error.message}", hint=error.hint) from error
        except RefusedError as error:
            raise RefusedError(f"{target.label}: {error.message}", hint=error.hint) from error

    @staticmethod
    def _refuse_unsupported(message: str, command: list[str]) -> None:
        status = _STATUS.search(message)
        if status and (int(status[1], 16) >> 2) & 7 in _NOT_SUPPORTED:
            raise RefusedError(f"it does not have what `{' '.join(command)}` asks for (MAD status 0x{status[1]})")


def checked_options(options: Mapping[str, str]) -> dict[str, str]:
    """Return the driver's options as they are kept.

    Raises
    ------
    UsageError
        For unknown ones, and values that are none.
    """
    unknown = sorted(options.keys() - OPTIONS.keys())
    if unknown:
        raise UsageError(f"the driver 'mad' takes no {unknown[0]}", hint=f"it takes {', '.join(OPTIONS)}")
    kept = dict(options)
    if not re.fullmatch(r"[A-Za-z0-9_.-]*", kept.get("ca", "")) or kept.get("ca", "").startswith("-"):
        raise UsageError(f"'{kept['ca']}' is no HCA", hint="ibstat -l lists them")
    if not re.fullmatch(r"\d{0,3}", kept.get("port", "")):
        raise UsageError(f"'{kept['port']}' is no port number", hint="--driver mad:port=1")
    if "config" in kept:
        path = Path(kept["config"]).absolute()
        if not os.access(path, os.R_OK):
            raise UsageError(f"'{path}' cannot be read", hint="a file like /etc/infiniband-diags/ibdiag.conf")
        kept["config"] = str(path)
    return kept
