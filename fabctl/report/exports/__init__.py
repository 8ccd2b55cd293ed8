"""A fabric in other programs' formats, one file per format: functions from a `Fabric` to text."""

from fabctl.registry import Entry, Registry

EXPORTS = Registry(
    "export",
    {
        "graphml": Entry("fabctl.report.exports.graphml:graphml", "GraphML, for Gephi, yEd, Cytoscape and networkx"),
        "dot": Entry("fabctl.report.exports.dot:dot", "a drawing by tier, for Graphviz"),
        "ibsim": Entry("fabctl.twin.netfile:ibsim_net", "a network file for the simulator ibsim"),
        "slurm-topology-conf": Entry("fabctl.report.exports.slurm:topology_conf", "Slurm's topology.conf (tree plugin)"),
        "slurm-topology-yaml": Entry(
            "fabctl.report.exports.slurm:topology_yaml", "Slurm's topology.yaml (tree and block plugins)"
        ),
    },
    group="fabctl.exports",
)
