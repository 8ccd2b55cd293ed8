"""Places by what people call them."""

from __future__ import annotations

from functools import lru_cache

from fabctl.model.fabric import Fabric
from fabctl.model.lookup import find_switch
from fabctl.model.offload_plan import Place
from fabctl.nodeset import expand
from fabctl.printable import printable


def place_label(fabric: Fabric, place: Place) -> str:
    """Return ``leaf-3``, ``leaf-3/P7`` or ``fabric``; the target itself if the fabric does not know it."""
    guid, slash, port = place.target.partition("/")
    return printable(f"{_labels(fabric).get(guid, guid)}{slash}{port}")


def switch_targets(fabric: Fabric, nodeset: str) -> tuple[str, ...]:
    """Return the GUIDs of switches that a node set names.

    Raises
    ------
    UsageError
        If it is no node set.
    InputError
        If a switch is unknown; the nearest names are offered.
    """
    return tuple(dict.fromkeys(fabric.guid_text(find_switch(fabric, name)) for name in expand(nodeset)))


@lru_cache(maxsize=2)
def _labels(fabric: Fabric) -> dict[str, str]:
    return {fabric.guid_text(node): label for node, label in enumerate(fabric.labels)}
