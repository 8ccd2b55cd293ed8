"""What an operator must know before adaptive routing is switched on: groups, safety, order, hosts and gain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from fabctl.errors import RefusedError
from fabctl.model.adaptive_plan import AdaptivePlan
from fabctl.model.catalog import hca
from fabctl.model.fabric import Fabric
from fabctl.model.naming import natural_key
from fabctl.nodeset import folded
from fabctl.offload.adaptive.groups import able

_LONGEST, _NAMED = 60, 6

ORDER = (
    "packets arrive in any order. WRITE_WITH_IMM is not routed adaptively: above 8192 bytes (NCCL_IB_AR_THRESHOLD) NCCL ends a"
    " message with one of 0 bytes (NVIDIA/nccl#850); DeepEP's kernels between hosts warn of deadlock and corruption"
    " (deepseek-ai/DeepEP#20)"
)
UNREAD = "the groups that switches hold are not read back, as that takes vendor MADs: ibdiagnet -r writes them to ibdiagnet2.far"


def group_notes(what: AdaptivePlan) -> list[str]:
    """Return the groups, tier by tier."""
    notes = [f"groups by {what.algorithm}, from the routes of {what.routes}: what the subnet manager chooses is its own"]
    for tier in sorted({switch.tier for switch in what.switches}):
        switches = [switch for switch in what.switches if switch.tier == tier]
        name = "leaves" if tier == 0 else f"switches of tier {tier}" if tier > 0 else "switches of no tier"
        choosing = [switch for switch in switches if switch.groups]
        if not choosing:
            notes.append(f"{len(switches)} {name}: no choice")
            continue
        widest = [len(switch.groups[0].ports) for switch in choosing]
        span = f"{min(widest)}" if min(widest) == max(widest) else f"{min(widest)} to {max(widest)}"
        rest = f"; {len(switches) - len(choosing)} have no choice" if len(choosing) < len(switches) else ""
        most = max(len(switch.groups) for switch in choosing)
        groups = f"up to {most} groups" if most > 1 else "one group"
        notes.append(f"{len(choosing)} {name} choose among {span} ports, {groups} each{rest}")
    return notes


def safety_notes(what: AdaptivePlan) -> list[str]:
    """Return whether these groups can stop traffic.

    Raises
    ------
    RefusedError
        If they can, and nothing is known that would keep them from it.
    """
    if what.circle and what.algorithm == "TREE":
        raise RefusedError(
            f"groups ({what.algorithm}) on the routes of {what.routes} can make channels wait in a circle: traffic could stop",
            hint="up*/down* routes of a tree have none: plan without --tables; of other fabrics none is known to be safe",
        )
    if what.circle is None:
        return ["these routes use several virtual lanes: whether adaptive routes are free of credit loops is not told"]
    if what.circle and what.algorithm == "LAG":
        return [f"channels can wait in a circle on the routes of {what.routes}, with parallel cables to choose among and without"]
    if what.circle:
        return ["detours of Dragonfly+ close circles on one virtual lane; that dfp changes lanes could not be checked here"]
    return ["free of credit loops: on one virtual lane no circle of channels can wait for itself"]


def hca_notes(fabric: Fabric, *, asked: bool) -> list[str]:
    """Return which HCAs do not take packets in any order, or are not known to.

    Parameters
    ----------
    asked : bool
        Whether the operator chose the service levels: then it is theirs to keep such HCAs off them.

    Raises
    ------
    RefusedError
        If there are such HCAs, and nobody chose.
    """
    models = Counter(int(fabric.device_id[node]) for node in np.flatnonzero(fabric.is_hca).tolist())
    known = {device_id: hca(device_id) for device_id in models}
    weak = [f"{models[device_id]} {model.name}" for device_id, model in known.items() if model and not model.adaptive_routing]
    text = ", ".join(sorted(weak))
    if weak and not asked:
        raise RefusedError(
            f"HCAs here do not take packets in any order, as adaptive routing delivers them: {text}",
            hint="--set sls=1 leaves the other service levels static; these HCAs must then not use SL 1",
        )
    notes = [f"{text} do not take packets in any order: they must not use these service levels"] if weak else []
    unknown = sum(count for device_id, count in models.items() if known[device_id] is None)
    return notes + (
        [f"{unknown} HCAs are not in the catalogue: whether they take packets in any order is unknown"] if unknown else []
    )


def switch_notes(fabric: Fabric) -> list[str]:
    """Return which switches cannot, and of which it is unknown.

    Raises
    ------
    RefusedError
        If none can.
    """
    by_able: dict[bool | None, list[str]] = {}
    for switch in range(fabric.n_switches):
        by_able.setdefault(able(fabric, switch), []).append(fabric.labels[switch])
    if set(by_able) == {False}:
        raise RefusedError("none of these switches routes adaptively", hint="fabctl offload list SOURCE shows what they are")
    notes = []
    if False in by_able:
        notes.append(f"{len(by_able[False])} switches cannot, and keep static routes: {some(by_able[False])}")
    if None in by_able:
        notes.append(f"of {len(by_able[None])} switches it is unknown whether they can: {some(by_able[None])}")
    return notes


def some(labels: Sequence[str]) -> str:
    """Return names for people, the first of them where they are many."""
    text = folded(labels)
    if len(text) <= _LONGEST or len(labels) <= _NAMED:
        return text
    return f"{', '.join(sorted(labels, key=natural_key)[:_NAMED])} ..."
