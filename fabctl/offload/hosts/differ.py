"""Which of many hosts differs: on one node of a cluster a module is missing, and a whole job is slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from fabctl.offload.hosts.facts import HostFacts

FEWEST = 3
"""Of fewer hosts nobody can say which of them differs."""

_YES = {True: "yes", False: "no", None: ""}
_COMPARED: Mapping[str, Callable[[HostFacts], str]] = {
    "GPUs": lambda facts: "" if facts.n_gpus is None else str(facts.n_gpus),
    "HCAs": lambda facts: str(len(facts.pci.hcas)) if facts.pci else "",
    "driver": lambda facts: facts.driver,
    "open driver": lambda facts: _YES[facts.open_driver],
    "kernel": lambda facts: facts.kernel,
    "OFED": lambda facts: facts.ofed,
    "nvidia_peermem loaded": lambda facts: _YES[facts.loaded],
    "peer memory registered": lambda facts: _YES[facts.registered],
    "GDRCopy loaded": lambda facts: _YES[facts.gdrcopy],
    "PeerMappingOverride": lambda facts: _YES[facts.peer_mapping],
    "IOMMU": lambda facts: facts.iommu,
    "bridges with ACS redirect": lambda facts: str(sum(f.redirects for f in facts.pci.functions)) if facts.pci else "",
}


def differences(hosts: Sequence[HostFacts]) -> dict[str, tuple[str, ...]]:
    """Return in what hosts differ from most of the others, by host; those that do not are left out.

    A fact counts where more than half of the hosts of which it is known agree.
    """
    found: dict[str, list[str]] = {}
    for name, value_of in _COMPARED.items():
        values = {facts.host: value for facts in hosts if (value := value_of(facts))}
        if len(values) < FEWEST:
            continue
        usual, count = Counter(values.values()).most_common(1)[0]
        if count * 2 <= len(values):
            continue
        for host, value in values.items():
            if value != usual:
                found.setdefault(host, []).append(f"{name} {value}, not {usual}")
    return {host: tuple(words) for host, words in found.items()}
