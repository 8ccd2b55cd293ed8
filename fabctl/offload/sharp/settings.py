"""What the aggregation manager is set to, as far as trees and jobs depend on it: ``sharp_am.cfg``, ``--set``, or its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fabctl.errors import InputError, UsageError
from fabctl.offload.drivers.opensm_conf import value_of

KEYS = {
    "quota": "percent of an aggregation node for a job's low-latency tree: per_prio_default_quota [NVIDIA's default: 20]",
    "sat-quota": "the same for its streaming tree: per_prio_default_sat_quota [NVIDIA's default: 3]",
    "radix": "the most children that an aggregation node has; not published [default: the ports of its switch]",
}


@dataclass(frozen=True)
class SharpSettings:
    """Settings with their sources.

    Parameters
    ----------
    quota, sat_quota : int
        Percent of an aggregation node's resources on one tree that a job gets by default (SHARP 3.0.0 release notes).
    radix : int
        0: not known.
    own_trees : bool
        Each job has trees of its own (dynamic allocation, the default since SHARP 3.4); else jobs share those that there are.
    source : str
        Where the quotas are from.
    """

    quota: int = 20
    sat_quota: int = 3
    radix: int = 0
    own_trees: bool = True
    source: str = "defaults of SHARP 3.0.0"

    @property
    def jobs_per_switch(self) -> int:
        """Jobs that share an aggregation node, if they share its trees; 0: no limit, since quotas are by tree."""
        return 0 if self.own_trees else min(100 // self.quota, 100 // self.sat_quota)


def settings_of(values: Mapping[str, str], am_cfg: str = "") -> SharpSettings:
    """Return the settings: what was typed, else what ``sharp_am.cfg`` says, else defaults.

    Raises
    ------
    UsageError
        If a value that was typed is no whole number, or no percentage.
    InputError
        If one in the file is not.
    """
    quota, sat_quota = _in_file(am_cfg, "per_prio_default_quota"), _in_file(am_cfg, "per_prio_default_sat_quota")
    source = "sharp_am.cfg" if quota or sat_quota else SharpSettings.source
    if values.keys() & {"quota", "sat-quota"}:
        source = "--set"
    return SharpSettings(
        quota=_typed(values, "quota", 100) or quota or SharpSettings.quota,
        sat_quota=_typed(values, "sat-quota", 100) or sat_quota or SharpSettings.sat_quota,
        radix=_typed(values, "radix", 254),
        own_trees=(value_of(am_cfg, "dynamic_tree_allocation") or "TRUE").upper() != "FALSE",
        source=source,
    )


def _typed(values: Mapping[str, str], key: str, most: int) -> int:
    if key not in values:
        return 0
    text = values[key]
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= most:
        raise UsageError(f"'{text}' is no {key}", hint=f"--set {key}=N, from 1 to {most}")
    return int(text)


def _in_file(am_cfg: str, key: str) -> int:
    """Return a key's value; 0 if it is not set. Each priority may have its own: the first one counts."""
    value = value_of(am_cfg, key)
    if value is None:
        return 0
    text = value.split(",")[0]
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 100:
        raise InputError(f"{key} is '{value}', and no percentage", where="sharp_am.cfg")
    return int(text)
