"""`Offloads`: what takes work off CPUs and GPUs, each a switch of the model (``--with``, ``--without``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from fabctl.errors import UsageError
from fabctl.yamlspec import suggestion

FIELDS = {"gdr": "gdr", "async": "async_control", "sharp": "sharp", "nvls": "nvls", "pxn": "pxn", "ar": "adaptive"}
"""Names on the command line, and the fields that they set."""


@dataclass(frozen=True)
class Offloads:
    """Which offloads a prediction counts on; the defaults are what NCCL uses without being asked.

    Parameters
    ----------
    gdr : bool
        GPUDirect RDMA: HCAs read and write GPU memory. Off: every message is staged through host memory.
    async_control : bool
        GPUDirect Async: GPUs ring the doorbells of HCAs, the CPU is off the control path.
    sharp : bool
        In-network computing: switches reduce (NCCL's CollNet).
    nvls : bool
        NVLink SHARP: NVSwitches reduce inside a host, where they can.
    pxn : bool
        All-to-all changes to the destination's rail over NVLink inside the sending host.
    adaptive : bool
        Adaptive routing in the switches.
    """

    gdr: bool = True
    async_control: bool = False
    sharp: bool = False
    nvls: bool = True
    pxn: bool = False
    adaptive: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of those that are on."""
        values = asdict(self)
        return tuple(name for name, field in FIELDS.items() if values[field])


CPU_CENTRIC = Offloads(gdr=False, nvls=False)
"""Everything through host memory and by the CPU: what the others are compared with."""
DEFAULT_SET, CPU_SET = "default", "cpu"
"""Names of the set that NCCL uses without being asked, and of `CPU_CENTRIC`."""


def chosen_offloads(with_names: Sequence[str], without_names: Sequence[str], base: Offloads | None = None) -> Offloads:
    """Return `base` (default: `Offloads()`) with some switched on and some off.

    Raises
    ------
    UsageError
        For an unknown name, or one that is both on and off.
    """
    both = sorted(set(with_names) & set(without_names))
    if both:
        raise UsageError(f"'{both[0]}' is both --with and --without")
    for name in (*with_names, *without_names):
        if name not in FIELDS:
            raise UsageError(f"unknown offload '{name}'", hint=suggestion(name, tuple(FIELDS)))
    values = {FIELDS[name]: True for name in with_names} | {FIELDS[name]: False for name in without_names}
    return replace(base or Offloads(), **values)


def offload_set(text: str) -> tuple[Offloads, tuple[str, ...]]:
    """Return the offloads of a set like ``gdr+sharp``, ``cpu`` or ``default``, and the names of those that it asks for.

    Raises
    ------
    UsageError
        For an unknown offload.
    """
    names = () if text in (DEFAULT_SET, CPU_SET) else tuple(text.split("+"))
    return chosen_offloads(names, (), Offloads() if text == DEFAULT_SET else CPU_CENTRIC), names
