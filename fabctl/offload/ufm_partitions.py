"""Partitions where UFM keeps them: what is there, and a plan for one of them. UFM's word is all that is read back."""

from __future__ import annotations

from collections.abc import Sequence

from fabctl.errors import RefusedError
from fabctl.model.assessment import Assessed, Status
from fabctl.model.offload_plan import FABRIC, Change, Check, Place, Plan, Risk, Stage
from fabctl.offload.basis import basis_of
from fabctl.offload.driver import Driver
from fabctl.offload.drivers.ufm_values import DEFAULT_PKEY, FULL_MEMBER, Partition
from fabctl.offload.feature import Request
from fabctl.offload.site import Site

UFM = "ufm"

_NOTE = "what is read back is UFM's own view, not the P_Key tables of switches and HCAs"


def assess_partitions(site: Site, feature: str) -> list[Assessed]:
    """Return how many partitions the HCAs behind each switch are in.

    Raises
    ------
    SourceError, RefusedError
        As UFM's driver.
    """
    fabric, driver = site.fabric, site.driver(UFM)
    keys = [
        key for key in (driver.read(Place(UFM, FABRIC, "pkeys")) or "").split() if int(key, 16) & DEFAULT_PKEY != DEFAULT_PKEY
    ]
    members = {key: Partition.parse(text).members for key in keys if (text := _read(driver, int(key, 16))) is not None}
    behind: dict[int, list[int]] = {}
    for port in fabric.endpoints.tolist():
        behind.setdefault(int(fabric.port_node[fabric.port_peer[port]]), []).append(int(fabric.port_guid[port]))
    out = []
    for leaf in sorted(node for node in behind if node < fabric.n_switches):
        found = sum(1 for guids in members.values() if any(guid in guids for guid in behind[leaf]))
        fact = f"{found} partitions beside the default one"
        status = Status.ON if found else Status.OFF
        out.append(Assessed(feature, fabric.labels[leaf], status, fact, "UFM, GET resources/pkeys"))
    return out


def partition_plan(
    site: Site, request: Request, feature: str, key: int, full: Sequence[int], limited: Sequence[int], *, ipoib: bool
) -> Plan:
    """Return a plan that puts a partition with these members in place, or takes it away.

    Parameters
    ----------
    key : int
        P_Key without the membership bit.
    full, limited : sequence of int
        HCA ports of the fabric, with known GUIDs; not looked at if the partition is to go.

    Raises
    ------
    RefusedError
        If the P_Key is taken by a partition with other members.
    FabctlError
        As UFM's driver.
    """
    driver = site.driver(UFM)
    place, quality = (Place(UFM, FABRIC, f"{kind}.{key | FULL_MEMBER:#06x}") for kind in ("pkey", "pkey-qos"))
    old = driver.read(place)
    new = None
    if request.enable:
        guids = site.fabric.port_guid
        new = Partition({int(guids[port]): True for port in full} | {int(guids[port]): False for port in limited}, ipoib).text
        if old not in (None, new):
            raise RefusedError(
                f"P_Key {key:#06x} is taken by a partition with {len(Partition.parse(old or '').members)} members",
                hint=f"fabctl offload disable {feature} --set key={key:#06x}",
            )
    if old == new:
        return Plan(feature, request.words, basis_of(site, ()), (), ())
    why = f"partition {key:#06x} for {len(full) + len(limited)} ports" if request.enable else f"without partition {key:#06x}"
    change = Change(place, old, new, Risk.SWEEP, why)
    checks = () if new is None else (Check(place, new),)
    back = [Change(place, new, old, Risk.SWEEP)]
    settings = driver.read(quality)
    if old is not None and settings is not None:  # a partition that is made again has UFM's defaults
        back.append(Change(quality, None, settings, Risk.SWEEP))
    return Plan(
        feature,
        request.words,
        basis_of(site, (change,)),
        (Stage("partition", (change,), checks),),
        (Stage("the partition as it was", tuple(back), ()),),
        (_NOTE,),
    )


def _read(driver: Driver, key: int) -> str | None:
    return driver.read(Place(UFM, FABRIC, f"pkey.{key:#06x}"))
