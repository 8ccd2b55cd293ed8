"""Where the real tools are, and which Debian package brings one that is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fabctl.errors import SourceError

PACKAGES = {"ibsim": "ibsim-utils", "opensm": "opensm", "libumad2sim.so": "libumad2sim0", "ibdmchk": "ibutils"}
"""Debian's package of each tool; what is not listed comes with ``infiniband-diags``."""

DIAGS = frozenset(
    {
        "check_lft_balance",
        "dump_fts",
        "dump_lfts",
        "dump_mfts",
        "ibaddr",
        "ibcacheedit",
        "ibccconfig",
        "ibccquery",
        "ibfindnodesusing",
        "ibhosts",
        "ibidsverify",
        "iblinkinfo",
        "ibnetdiscover",
        "ibnodes",
        "ibping",
        "ibportstate",
        "ibqueryerrors",
        "ibroute",
        "ibrouters",
        "ibstat",
        "ibstatus",
        "ibswitches",
        "ibsysstat",
        "ibtracert",
        "perfquery",
        "saquery",
        "sminfo",
        "smpdump",
        "smpquery",
        "vendstat",
    }
)
"""Tools of ``infiniband-diags``."""

_PRELOAD = "libumad2sim.so"


def search_path() -> str:
    """Return ``PATH`` with the system folders, which ordinary users' paths lack and Debian puts the tools in."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def find_tool(name: str) -> str:
    """Return a tool's path.

    Raises
    ------
    SourceError
        If it is not installed; the hint names the Debian package.
    """
    path = shutil.which(name, path=search_path())
    if path is None:
        raise _missing(name)
    return path


def find_preload() -> str:
    """Return the library that connects programs to ibsim in place of the kernel's InfiniBand devices.

    Raises
    ------
    SourceError
        If it is not installed.
    """
    for folder in ("*/umad2sim", "umad2sim"):
        for path in sorted(Path("/usr/lib").glob(f"{folder}/{_PRELOAD}")):
            return str(path)
    raise _missing(_PRELOAD)


def _missing(name: str) -> SourceError:
    package = PACKAGES.get(name, "infiniband-diags")
    return SourceError(f"{name} is not installed", hint=f"apt-get install {package}")
