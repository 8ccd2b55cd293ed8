"""Compiled kernels: say so on stderr when one is compiled for the first time on a machine, and nothing afterwards."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def announce_compiling(kernel: Any) -> None:
    """Write a line to stderr if calling a numba kernel will compile it: neither this process nor its cache has it."""
    if kernel.signatures:
        return
    cache = kernel.stats.cache_path
    if not cache or not any(Path(cache).glob(f"*.{kernel.__name__}-*.nbi")):
        sys.stderr.write(f"fabctl: compiling {kernel.__name__}, once on this machine ...\n")
