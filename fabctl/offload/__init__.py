"""Offloads of a fabric: assessed, planned, applied, verified and taken back, switch by switch.

A feature knows what it needs and what must hold afterwards; a driver reads and writes values; neither knows the other. What is
between them (plans, journal, apply, rollback) knows neither.
"""

from fabctl.registry import Entry, Registry

FEATURES = Registry(
    "feature",
    {
        "qos": Entry("fabctl.offload.features.qos:FEATURE", "service levels to virtual lanes, and the lanes' shares"),
        "partitions": Entry("fabctl.offload.features.partitions:FEATURE", "P_Keys: who may talk to whom"),
        "multicast": Entry("fabctl.offload.features.multicast:FEATURE", "multicast groups of the subnet manager"),
        "routes": Entry("fabctl.offload.features.routes:FEATURE", "routes of fabctl's in the running subnet manager"),
        "sharp": Entry("fabctl.offload.features.sharp:FEATURE", "switches reduce on the way (NVIDIA's OpenSM); trees for jobs"),
        "adaptive-routing": Entry(
            "fabctl.offload.features.adaptive_routing:FEATURE", "switches choose among ports by load (NVIDIA's OpenSM)"
        ),
        "shield": Entry("fabctl.offload.features.shield:FEATURE", "switches route around failed links (NVIDIA's OpenSM)"),
        "hbf": Entry("fabctl.offload.features.hbf:FEATURE", "switches spread static routes by hashes (NVIDIA's OpenSM)"),
        "congestion-control": Entry(
            "fabctl.offload.features.congestion_control:FEATURE", "switches mark packets, and senders slow down, switch by switch"
        ),
        "ports": Entry("fabctl.offload.features.ports:FEATURE", "state, speed and width of switch ports"),
        "telemetry": Entry("fabctl.offload.features.telemetry:FEATURE", "error counters against thresholds; nothing is written"),
        "gdr": Entry("fabctl.offload.features.gdr:FEATURE", "HCAs reach GPU memory by themselves: what keeps hosts from it"),
        "async": Entry("fabctl.offload.features.async_control:FEATURE", "GPUs post to HCAs by themselves (GPUDirect Async)"),
        "remote-gpu": Entry("fabctl.offload.features.remote_gpu:FEATURE", "GPUs that other hosts drive over the fabric"),
    },
    group="fabctl.features",
)
DRIVERS = Registry(
    "driver",
    {
        "files": Entry(
            "fabctl.offload.drivers.files:FilesDriver", "renders configuration into a folder; nothing else is touched"
        ),
        "opensm": Entry("fabctl.offload.drivers.opensm:OpensmDriver", "the OpenSM that runs on this machine"),
        "twin": Entry("fabctl.offload.drivers.twin:TwinDriver", "the OpenSM inside fabctl twin run"),
        "mad": Entry("fabctl.offload.drivers.mad:MadDriver", "switches and HCAs themselves, with infiniband-diags"),
        "ufm": Entry("fabctl.offload.drivers.ufm:UfmDriver", "NVIDIA's UFM, over its REST interface"),
    },
    group="fabctl.drivers",
)
