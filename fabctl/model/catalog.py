"""What hardware can do, by name and device id: ``catalog.yaml``, each fact with its source. What it does not list is unknown."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

CATALOG = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True)
class Gpu:
    """A GPU model.

    Parameters
    ----------
    name : str
        ``V100``.
    architecture : str
        ``volta``, ``ampere``, ``hopper``, ``blackwell`` ...
    compute_capability : int
        70 for 7.0.
    memory_gb_s : float
        Bandwidth of its memory, GB/s.
    nvlinks : int
        NVLinks that it has; 0: none.
    nvlink_gb_s : float
        Signalling bandwidth of one NVLink per direction, GB/s.
    tflops : dict of str to float
        Dense peak by precision: ``fp32``, ``tf32``, ``fp16``, ``bf16``, ``fp8``; those that it has.
    source : str
    """

    name: str
    architecture: str
    compute_capability: int
    memory_gb_s: float = 0.0
    nvlinks: int = 0
    nvlink_gb_s: float = 0.0
    tflops: dict[str, float] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class SwitchAsic:
    """A switch ASIC.

    Parameters
    ----------
    name : str
        ``Quantum``.
    device_ids : tuple of int
    ports : int
    speed : str
        The fastest that its ports do: ``HDR``.
    sharp : int
        Version of SHARP: 0 none, 1 low-latency trees only, 2 and later streaming aggregation too.
    sharp_payload_bytes : int
        Payload of one aggregation operation (OST); 0: unknown.
    streaming_trees : str
        How many streaming trees are active at a time: ``per-switch``, ``per-port``, ``none``, or empty: unknown.
    subnet_llt, subnet_sat : int
        Low-latency and streaming trees that a subnet of such switches has; 0: unknown.
    adaptive_routing : bool
    pfrn : bool, optional
        Whether it tells its neighbours of failed links, and heeds them; None: unknown.
    source : str
    """

    name: str
    device_ids: tuple[int, ...]
    ports: int
    speed: str
    sharp: int = 0
    sharp_payload_bytes: int = 0
    streaming_trees: str = ""
    subnet_llt: int = 0
    subnet_sat: int = 0
    adaptive_routing: bool = False
    pfrn: bool | None = None
    source: str = ""


@dataclass(frozen=True)
class Hca:
    """An HCA model.

    Parameters
    ----------
    name : str
        ``ConnectX-6``.
    device_ids : tuple of int
    speed : str
        The fastest that its ports do: ``HDR``.
    streaming : bool
        Whether it takes part in SHARP's streaming aggregation.
    adaptive_routing : bool
        Whether it takes packets in any order, as adaptive routing delivers them.
    source : str
    """

    name: str
    device_ids: tuple[int, ...]
    speed: str
    streaming: bool = False
    adaptive_routing: bool = False
    source: str = ""


def gpu(name: str) -> Gpu | None:
    """Return a GPU model by name, upper or lower case; None if it is unknown."""
    return gpus().get(name.upper())


def switch_asic(device_id: int) -> SwitchAsic | None:
    """Return a switch ASIC by device id; None if it is unknown."""
    return next((asic for asic in switch_asics() if device_id in asic.device_ids), None)


def hca(device_id: int) -> Hca | None:
    """Return an HCA model by device id; None if it is unknown."""
    return next((model for model in hcas() if device_id in model.device_ids), None)


def unlisted(device_id: int) -> str:
    """Return why nothing is known of a switch or an HCA, for people."""
    return f"device id {device_id:#06x} is not in the catalogue" if device_id else "its device id is not known"


@cache
def gpus() -> dict[str, Gpu]:
    """Return all GPU models by name."""
    return {name: Gpu(name, **facts) for name, facts in _catalog()["gpus"].items()}


@cache
def switch_asics() -> tuple[SwitchAsic, ...]:
    """Return all switch ASICs, oldest first."""
    return tuple(SwitchAsic(name, **_with_ids(facts)) for name, facts in _catalog()["switches"].items())


@cache
def hcas() -> tuple[Hca, ...]:
    """Return all HCA models, oldest first."""
    return tuple(Hca(name, **_with_ids(facts)) for name, facts in _catalog()["hcas"].items())


def _with_ids(facts: dict[str, Any]) -> dict[str, Any]:
    return facts | {"device_ids": tuple(facts["device_ids"])}


@cache
def _catalog() -> dict[str, dict[str, dict[str, Any]]]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    catalog: dict[str, dict[str, dict[str, Any]]] = loader(CATALOG.read_text(encoding="utf-8")).get_single_data()
    return catalog
