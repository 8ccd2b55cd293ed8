"""Offloads of a fabric: assessed, planned, applied, verified and taken back, switch by switch.

A feature knows what it needs and what must hold afterwards; a driver reads and writes values; neither knows the other. What is
between them (plans, journal, apply, rollback) knows neither.
"""

from fabctl.registry import Entry, Registry

FEATURES = Registry("feature", {}, group="fabctl.features")
DRIVERS = Registry(
    "driver",
    {
        "files": Entry(
            "fabctl.offload.drivers.files:FilesDriver", "renders configuration into a folder; nothing else is touched"
        ),
    },
    group="fabctl.drivers",
)
