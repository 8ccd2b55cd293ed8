"""Topology specs: a fabric in a few lines of YAML, with every mistake said as ``file:line:column``.

All families share these keys; the others are in the families' files and in ``docs/topologies.md``:

``family``             which family
``speed``, ``width``   of all cables: ``EDR`` and 4 lanes by default, or what the named hardware does
``switch``             a model of `fabctl.generate.hardware`: gives radix, speed, device id and description
``radix``              ports per switch, checked; without it a switch has as many as it uses
``host_prefix``        ``node-`` by default
``aggregation_nodes``  whether each switch has a SHARP aggregation node
``lmc``                0 to 7: HCAs and aggregation nodes have 2^lmc LIDs each, as with OpenSM's ``-l``; 0 by default
``remove``             faults: what is taken out of the whole fabric (see `fabctl.generate.faults`)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

from fabctl.errors import UsageError
from fabctl.generate import FAMILIES
from fabctl.generate.assemble import assemble
from fabctl.generate.faults import remove
from fabctl.generate.hardware import NODE_TYPES, SWITCHES, NodeType, SwitchModel
from fabctl.generate.plan import MAX_PORT, Family, Settings
from fabctl.model.fabric import Fabric
from fabctl.model.loading import Source
from fabctl.model.results import ParseReport
from fabctl.units import LANE_COUNTS, Speed
from fabctl.yamlspec import Node, load

COMMON_KEYS = ("family", "speed", "width", "switch", "radix", "host_prefix", "aggregation_nodes", "lmc", "remove")
MAX_LMC = 7
DEFAULT_SPEED = Speed.EDR

_TOP_KEY = re.compile(r"^\ufeff?([A-Za-z_]+)\s*:", re.MULTILINE)
_HOST_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,31}")
_SPEEDS = {speed.name: speed for speed in Speed if speed}


def recognises(head: str) -> bool:
    """Return whether a text is a YAML mapping with a ``family`` (or what looks like a misspelt one) at its top."""
    return bool(get_close_matches("family", set(_TOP_KEY.findall(head)), n=1, cutoff=0.8))


def parse(text: str, path: str) -> tuple[Fabric, ParseReport]:
    """Build the fabric that a spec describes.

    Raises
    ------
    InputError
        If the text is no YAML, has unknown, doubled or missing keys or values that do not fit, or if what it describes does
        not fit its switches or a subnet; with ``file:line:column``.
    """
    return draw(load(text, path), lines=len(text.splitlines()))


def draw(root: Node, lines: int = 0) -> tuple[Fabric, ParseReport]:
    """Build the fabric of a spec that is a value of another file, as `parse` does."""
    family = _family(root)
    values = root.mapping((*COMMON_KEYS, *family.keys), required=("family", *family.required))
    notes: list[str] = []
    settings = _settings(values, notes)
    fabric = assemble(family.plan(values, settings), settings)
    if "remove" in values:
        fabric = remove(fabric, values["remove"])
    node_type = values["node_type"].text() if "node_type" in values else ""
    return fabric, ParseReport("topology", root.path, lines, notes=tuple(notes), node_type=node_type)


SOURCE = Source(recognises, parse)


def _family(root: Node) -> Family:
    named = root.find("family")
    if named is None:
        every_key = [key for name in FAMILIES.names() for key in FAMILIES.load(name).keys]
        named = root.mapping((*COMMON_KEYS, *every_key), required=("family",))["family"]
    try:
        family: Family = FAMILIES.load(named.text())
    except UsageError as error:
        raise named.error(error.message, hint=error.hint) from error
    return family


def _settings(values: Mapping[str, Node], notes: list[str]) -> Settings:
    node_type = _node_type(values)
    aggregation = "aggregation_nodes" in values and values["aggregation_nodes"].flag()
    model = values["switch"].choice(SWITCHES) if "switch" in values else node_type.switch
    switch = SWITCHES.get(model)
    ports = switch.radix if switch else MAX_PORT - aggregation
    return Settings(
        family=values["family"],
        speed=_speed(values, node_type, switch, notes),
        lanes=_lanes(values),
        node_type=node_type,
        switch=switch,
        radix=values["radix"].integer(low=2, high=ports) if "radix" in values else switch.radix if switch else 0,
        radix_place=next(values[key] for key in ("radix", "switch", "node_type", "family") if key in values),
        host_prefix=_host_prefix(values),
        aggregation_nodes=aggregation,
        lmc=values["lmc"].integer(low=0, high=MAX_LMC) if "lmc" in values else 0,
        lmc_place=values.get("lmc", values["family"]),
    )


def _speed(values: Mapping[str, Node], node_type: NodeType, switch: SwitchModel | None, notes: list[str]) -> Speed:
    known = [device.speed for device in (node_type, switch) if device and device.speed]
    if "speed" not in values:
        if not known:
            notes.append(f"the spec says no speed: {DEFAULT_SPEED.name} taken")
        return min(known, default=DEFAULT_SPEED)
    speed = _SPEEDS[values["speed"].choice(_SPEEDS)]
    if speed > min(known, default=speed):
        raise values["speed"].error(f"the named hardware does {min(known).name}, not {speed.name}")
    return speed


def _node_type(values: Mapping[str, Node]) -> NodeType:
    """Return the named node type, or a nameless one with as many HCAs as there are rails."""
    named, rails = values.get("node_type"), values.get("rails")
    if named is None:
        return NodeType(tuple(f"mlx5_{rail}" for rail in range(rails.integer(low=1, high=64) if rails else 1)))
    node_type = NODE_TYPES[named.choice(NODE_TYPES)]
    if rails is not None and rails.integer() != len(node_type.devices):
        raise rails.error(f"a {named.text()} has {len(node_type.devices)} rails, not {rails.text()}")
    return node_type


def _lanes(values: Mapping[str, Node]) -> int:
    if "width" not in values:
        return 4
    lanes = values["width"].integer()
    if lanes not in LANE_COUNTS:
        raise values["width"].error(f"a cable has {', '.join(map(str, LANE_COUNTS))} lanes, not {lanes}")
    return lanes


def _host_prefix(values: Mapping[str, Node]) -> str:
    if "host_prefix" not in values:
        return "node-"
    prefix = values["host_prefix"].text()
    if not _HOST_PREFIX.fullmatch(prefix):
        raise values["host_prefix"].error(
            f"'{prefix}' does not begin a host name", hint="a letter, then at most 31 letters, digits, dots, dashes, underscores"
        )
    return prefix
