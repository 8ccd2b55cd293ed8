"""Inside a host: node graphs from ``topologies/nodes``, ``nvidia-smi topo -m`` and NCCL's XML, and the paths in them."""

from fabctl.registry import Entry, Registry

NODE_SOURCES = Registry(
    "node source",
    {
        "nccl-xml": Entry("fabctl.nodes.nccl_xml:SOURCE", "NCCL's topology (NCCL_TOPO_DUMP_FILE, NCCL_TOPO_FILE)"),
        "nvidia-smi": Entry("fabctl.nodes.nvidia_smi:SOURCE", "nvidia-smi topo -m, best with nvidia-smi -L before it"),
        "yaml": Entry("fabctl.nodes.spec:SOURCE", "fabctl's node YAML, as in topologies/nodes"),
    },
)
"""Text to `NodeGraph`, one file per format, found by content."""
