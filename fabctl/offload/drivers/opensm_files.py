"""The files that OpenSM reads, by the names under which plans know them."""

from __future__ import annotations

from pathlib import Path

from fabctl.errors import RefusedError
from fabctl.install.settings import CONFIG, DEFAULT_CONFIG, Settings

PARTITIONS = "partitions.conf"
POLICY = "qos-policy.conf"
LFTS = "opensm-lfts.dump"
ENGINE = "file"
"""OpenSM's routing engine that reads `LFTS`."""

FILES = {
    PARTITIONS: "partition_config_file",
    POLICY: "qos_policy_file",
    LFTS: "lfts_file",
    "root-guids.txt": "root_guid_file",
    "congestion-control-policy.conf": "congestion_control_policy_file",
    "sharp-port-groups.conf": "pgrp_policy_file",
    "sharp-devices.conf": "device_configuration_file",
    "ar_mgr.conf": "",
}
"""Name of each file, and the key of ``opensm.conf`` that says where it lies; none has the file of the plugin armgr."""

_COMPILED_IN = (PARTITIONS, POLICY)
"""Read from ``/etc/opensm`` if no key says otherwise, wherever ``opensm.conf`` lies."""


def path_of(settings: Settings, name: str) -> Path:
    """Return where a file lies, links followed.

    Raises
    ------
    RefusedError
        If OpenSM reads no file of that name.
    """
    if name == CONFIG:
        return settings.config
    if name not in FILES:
        raise RefusedError(f"OpenSM reads no file {name!r}", hint=f"it reads {', '.join([CONFIG, *FILES])}")
    folder = DEFAULT_CONFIG.parent if name in _COMPILED_IN else settings.config.parent
    return settings.path(FILES[name]) or folder / name
