"""Fabric, routes and flows in other programs' formats, one module per format: functions from a `Case` to text."""

from fabctl.registry import Entry, Registry

CASES = Registry(
    "case export",
    {
        "simgrid": Entry("fabctl.routing.cases.simgrid:simgrid", "a Python program for SimGrid: when each flow ends"),
    },
    group="fabctl.case_exports",
)
