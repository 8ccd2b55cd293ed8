"""Fabric, routes and flows in other programs' formats, one module per format: functions from a `Case` to text."""

from fabctl.registry import Entry, Registry

CASES = Registry(
    "case export",
    {
        "simgrid": Entry("fabctl.routing.cases.simgrid:simgrid", "a Python program for SimGrid: when each flow ends"),
        "orcs": Entry("fabctl.routing.cases.orcs:orcs", "fabric and tables for ORCS: a digraph with destinations on its edges"),
        "htsim": Entry("fabctl.routing.cases.htsim:connections", "flows for htsim: a connection matrix, phases by barriers"),
        "htsim-topo": Entry("fabctl.routing.cases.htsim:topology", "a fat tree for htsim: the topology file of -o htsim"),
        "infragraph": Entry("fabctl.routing.cases.infragraph:infrastructure", "the fabric for InfraGraph 3: an Infrastructure"),
        "infragraph-notes": Entry(
            "fabctl.routing.cases.infragraph:notes",
            "names, tables and flows for InfraGraph 3: an Annotation of -o infragraph",
        ),
    },
    group="fabctl.case_exports",
)
