"""Inside a host: node graphs from ``topologies/nodes``, ``nvidia-smi topo -m`` and NCCL's XML, and the paths in them."""
