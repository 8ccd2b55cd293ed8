"""Which of many hosts differs: on one node of a cluster a module is missing, and a whole job is slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from fabctl.offload.hosts.facts import HostFacts
from fabctl.offload.hosts.lspci import Function

FEWEST = 3
"""Of fewer hosts nobody can say which of them differs."""

_YES = {True: "yes", False: "no", None: ""}


def _count(facts: HostFacts, wanted: Callable[[Function], bool]) -> str:
    """Return of how many PCIe functions something holds; nothing where that was not captured."""
    seen = facts.pci is not None and not facts.pci.drawn and not facts.pci.denied
    return str(sum(map(wanted, facts.pci.functions))) if facts.pci and seen else ""


_Compared = Mapping[str, Callable[[HostFacts], str]]
_JUDGED: _Compared = {
    "nvidia_peermem loaded": lambda facts: _YES[facts.loaded],
    "peer memory registered": lambda facts: _YES[facts.registered],
    "IOMMU": lambda facts: facts.iommu,
    "bridges with ACS redirect": lambda facts: _count(facts, lambda function: function.redirects),
}
"""What readiness follows from."""
_BESIDE: _Compared = {
    "GPUs": lambda facts: "" if facts.n_gpus is None else str(facts.n_gpus),
    "HCAs": lambda facts: str(len(facts.pci.hcas)) if facts.pci else "",
    "narrow PCIe links": lambda facts: _count(facts, lambda function: function.narrow),
    "driver": lambda facts: facts.driver,
    "open driver": lambda facts: _YES[facts.open_driver],
    "kernel": lambda facts: facts.kernel,
    "OFED": lambda facts: facts.ofed,
    "GDRCopy loaded": lambda facts: _YES[facts.gdrcopy],
    "PeerMappingOverride": lambda facts: _YES[facts.peer_mapping],
}


def differences(hosts: Sequence[HostFacts], *, judged: bool = True) -> dict[str, tuple[str, ...]]:
    """Return in what hosts differ from most of the others, by host; those that do not, and hosts without GPUs, are left out.

    A fact counts where more than half of the hosts of which it is known agree.

    Parameters
    ----------
    judged : bool
        Whether facts count that readiness follows from, and that its words hold already.
    """
    hosts = [facts for facts in hosts if facts.n_gpus != 0]
    found: dict[str, list[str]] = {facts.host: [] for facts in hosts}
    for name, value_of in {**(_JUDGED if judged else {}), **_BESIDE}.items():
        values = {facts.host: value for facts in hosts if (value := value_of(facts))}
        if len(values) < FEWEST:
            continue
        usual, count = Counter(values.values()).most_common(1)[0]
        if count * 2 <= len(values):
            continue
        for host, value in values.items():
            if value != usual:
                found[host].append(f"{name} {value}, not {usual}")
    return {host: tuple(words) for host, words in found.items() if words}
