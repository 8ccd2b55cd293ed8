"""What a job sends: job files, placement on hosts and HCAs, patterns, and collectives as flows."""

from fabctl.registry import Entry, Registry

PATTERNS = Registry(
    "pattern",
    {
        "ring": Entry("fabctl.traffic.patterns:ring", "each port to the next, the last to the first"),
        "shift": Entry("fabctl.traffic.patterns:shift", "each port to the one `shift` places on"),
        "alltoall": Entry("fabctl.traffic.patterns:alltoall", "each port to every other"),
        "bisect": Entry("fabctl.traffic.patterns:bisect", "random halves, each port of one to its own port of the other"),
        "permutation": Entry("fabctl.traffic.patterns:permutation", "random permutation without fixed points"),
    },
)
