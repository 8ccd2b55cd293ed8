"""Whether infiniband-diags here talk to ibsim in place of hardware, and what must not be tried there."""

from __future__ import annotations

import os
from pathlib import Path

from fabctl.errors import RefusedError

CONGESTION_CONTROL = (
    "ibsim takes congestion control MADs (class 0x21) for subnet management: it answers zeros, keeps nothing, and overwrites"
    " P_Keys and SL2VL tables"
)
"""What ibsim 0.10 does; found by running it, and in its ``sim_mad.c``, which looks handlers up by ``mgtclass & 0xf``."""

_VARIABLES = ("FABCTL_TWIN", "IBSIM_SOCKNAME", "IBSIM_SERVER_NAME")
_PRELOAD = "umad2sim"
_MAPS = Path("/proc/self/maps")


def simulator() -> str:
    """Return by what it is known that the tools talk to ibsim; nothing if they talk to hardware.

    Tools inherit this process's environment, so what makes them talk to ibsim can be seen here: the variables of a twin and of
    ibsim, and the library that stands in for the kernel's devices.
    """
    for name in _VARIABLES:
        if os.environ.get(name):
            return f"{name} is set"
    if _PRELOAD in os.environ.get("LD_PRELOAD", ""):
        return f"LD_PRELOAD holds {_PRELOAD}"
    try:
        return f"lib{_PRELOAD} is loaded" if _PRELOAD in _MAPS.read_text() else ""
    except OSError:
        return ""


def refuse_congestion_control() -> None:
    """Raise `RefusedError` if congestion control would go to ibsim."""
    found = simulator()
    if found:
        raise RefusedError(
            f"congestion control is not set here: {CONGESTION_CONTROL} ({found})",
            hint="plan it where the tools see the real fabric",
        )


def refuse_ports() -> None:
    """Raise `RefusedError` if a port of ibsim would be set: the other end does not notice, and no link is trained."""
    found = simulator()
    if found:
        raise RefusedError(
            "ports are not set here: in ibsim the other end does not notice, no link is trained, and OpenSM does not route"
            f" around it ({found})",
            hint="rehearse it as a fault: fabctl twin faults cut leaf-1/P20",
        )
