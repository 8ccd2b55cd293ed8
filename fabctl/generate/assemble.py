"""A plan to a `Fabric`: GUIDs, LIDs and ports by rule, straight into columns.

GUIDs are locally administered EUI-64s: ``0x02fab0``, a byte for the kind (switches: the level from 1; HCAs: 0x40; aggregation
nodes: 0x80), three bytes for the number within the kind and one for the port (0: the node). LIDs are dense: HCAs from 1 in
order of leaf and port, then switches level by level, then aggregation nodes. With an LMC, HCAs and aggregation nodes have
``2**lmc`` each, aligned as OpenSM wants them, so that it leaves them as they are; switches have one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.generate.hardware import VENDOR_ID, SwitchModel
from fabctl.generate.plan import Int64, Plan, Settings, first_lids
from fabctl.model.fabric import AGGREGATION_DEVICE_ID, Fabric, NodeKind

AGGREGATION_NAME = "Mellanox Technologies Aggregation Node"
_GUID_BASE = 0x02FAB0 << 40
_HCA, _AGGREGATION = 0x40, 0x80


def assemble(plan: Plan, settings: Settings) -> Fabric:
    """Return the fabric of a plan.

    Complexity
    ----------
    O(n log n) in the number of ports, in numpy; node names are the only Python loop.
    """
    n_switches, n_hcas = len(plan.switch_names), len(plan.hca_names)
    n_aggregation = n_switches if settings.aggregation_nodes else 0
    cables = plan.cables
    radix = settings.radix or int(cables[:, 1::2].max())
    per_kind = (n_switches, n_hcas, n_aggregation)

    if n_aggregation:
        switches = np.arange(n_switches)
        ones = np.ones_like(switches)
        own = np.stack([n_switches + n_hcas + switches, ones, switches, ones * (radix + 1)], axis=1)
        cables = np.concatenate([cables, own])
    guid = _guids(plan.level_sizes, n_hcas, n_aggregation)
    node, number, peer = _ports(cables, n_switches)
    is_switch = node < n_switches
    addressed = ~is_switch | (number == 0)
    hca_lid, switch_lid, aggregation_lid, _ = first_lids(n_hcas, n_switches, n_aggregation, settings.lmc)
    lid = np.repeat([switch_lid, hca_lid, aggregation_lid], per_kind)
    lid += np.concatenate([np.arange(n_switches), np.arange(n_hcas) << settings.lmc, np.arange(n_aggregation) << settings.lmc])
    system = guid.copy()
    if plan.chassis is not None:
        system[:n_switches] = guid[plan.chassis]
    system[n_switches + n_hcas :] = system[:n_aggregation]
    devices = np.repeat(
        [settings.switch.device_id if settings.switch else 0, settings.node_type.device_id, AGGREGATION_DEVICE_ID], per_kind
    )
    return Fabric(
        node_kind=np.repeat([NodeKind.SWITCH, NodeKind.CA, NodeKind.CA], per_kind).astype(np.uint8),
        node_guid=guid,
        system_guid=system,
        vendor_id=np.where(devices > 0, VENDOR_ID, 0).astype(np.uint32),
        device_id=devices.astype(np.uint32),
        node_port_count=np.repeat([radix + settings.aggregation_nodes, 1, 1], per_kind).astype(np.int32),
        node_name=(
            *_descriptions(plan.switch_names, settings.switch),
            *plan.hca_names,
            *(AGGREGATION_NAME for _ in range(n_aggregation)),
        ),
        port_node=node.astype(np.int32),
        port_number=number.astype(np.int32),
        port_guid=np.where(addressed, guid[node] + number.astype(np.uint64), 0).astype(np.uint64),
        port_lid=np.where(addressed, lid[node], 0).astype(np.int32),
        port_lmc=np.where(is_switch, 0, settings.lmc).astype(np.uint8),
        port_lanes=np.where(peer >= 0, settings.lanes, 0).astype(np.uint8),
        port_speed=np.where(peer >= 0, settings.speed, 0).astype(np.uint8),
        port_peer=peer.astype(np.int32),
    )


def _descriptions(names: list[str], model: SwitchModel | None) -> list[str]:
    """Return switches' descriptions as their operating system writes them: ``MF0;leaf-1:MQM8700/U1``."""
    if model is None:
        return names
    split = (name.partition("/") for name in names)
    return [f"MF0;{name}:{model.director_part if chip else model.part}/{chip or 'U1'}" for name, _, chip in split]


def _guids(level_sizes: tuple[int, ...], n_hcas: int, n_aggregation: int) -> NDArray[np.uint64]:
    return np.concatenate(
        [
            np.uint64(_GUID_BASE | kind << 32) + (np.arange(count, dtype=np.uint64) << np.uint64(8))
            for kind, count in [*enumerate(level_sizes, 1), (_HCA, n_hcas), (_AGGREGATION, n_aggregation)]
        ]
    )


def _ports(cables: Int64, n_switches: int) -> tuple[Int64, Int64, Int64]:
    """Return node, number and peer of every port, sorted by node and number, switches' management ports included."""
    count = len(cables)
    node = np.concatenate([cables[:, 0], cables[:, 2], np.arange(n_switches)])
    number = np.concatenate([cables[:, 1], cables[:, 3], np.zeros(n_switches, dtype=np.int64)])
    order = np.lexsort((number, node))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    peer = np.concatenate([place[count : 2 * count], place[:count], np.full(n_switches, -1)])
    return node[order], number[order], peer[order]
