"""A feature of the fabric in a folder (lab.py): a threshold for each switch, and a file. Test equipment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from fabctl.errors import RefusedError, SourceError, UsageError
from fabctl.model.assessment import Assessed, Status
from fabctl.model.offload_plan import Change, Check, Place, Plan, Risk, Stage
from fabctl.offload import FEATURES
from fabctl.offload.basis import basis_of
from fabctl.offload.feature import Request
from fabctl.offload.site import Site
from fabctl.offload.undo import mirrored
from fabctl.registry import Entry

CONF = "file:opensm.conf"


class LabFeature:
    """``lab``: on where the threshold is not 0; spines cannot unless ``spines=yes``."""

    name = "lab"
    keys: ClassVar[Mapping[str, str]] = {"threshold": "0 (off) to 15", "file": "yes: opensm.conf too", "risk": "of the file"}

    def assess(self, site: Site) -> Sequence[Assessed]:
        found = [Assessed(self.name, "fabric", Status.UNKNOWN, "nobody was asked", "a test")]
        driver = site.drivers.get("lab")
        for switch in range(site.fabric.n_switches):
            label, guid = site.fabric.labels[switch], site.fabric.guid_text(switch)
            if label.startswith("spine"):
                found.append(Assessed(self.name, label, Status.CANNOT, "a spine", "a test"))
            elif driver is None:
                found.append(Assessed(self.name, label, Status.CAN, "a leaf", "a test"))
            else:
                on = driver.observe(Place("lab", guid, "cc.threshold")).value != "0"
                found.append(Assessed(self.name, label, Status.ON if on else Status.OFF, "its threshold", "a test"))
        return found

    def plan(self, site: Site, request: Request) -> Plan:
        driver = site.driver("lab", "files")
        threshold = request.values.get("threshold", "8") if request.enable else "0"
        if not threshold.isdigit():
            raise UsageError(f"threshold={threshold} is no number")
        if threshold == "13":
            raise RefusedError("no switch takes 13", hint="--set threshold=12")
        if threshold == "14":
            raise SourceError("the switch does not answer")
        places = [Place(driver.name, site.fabric.guid_text(switch), "cc.threshold") for switch in request.switches]
        changes = [Change(place, driver.read(place), threshold, Risk.HOT, "marks packets") for place in places]
        changes = [change for change in changes if change.old != threshold and driver.name == "lab"]
        stages = [Stage("threshold", tuple(changes), tuple(Check(place, threshold) for place in places))] if changes else []
        if request.values.get("file"):
            place = Place(driver.name, "fabric", CONF)
            old = driver.read(place)
            if "lab TRUE" not in (old or ""):
                risk = Risk[request.values.get("risk", "SWEEP")]
                stages.append(Stage("file", (Change(place, old, (old or "") + "lab TRUE\n", risk, "opensm reads it"),), ()))
        every = [change for stage in stages for change in stage.changes]
        return Plan(
            self.name,
            request.words,
            basis_of(site, every),
            tuple(stages),
            mirrored(stages),
            ("a note of the feature",) if every else (),
        )


FEATURE = LabFeature()
FEATURES.entries.setdefault("lab", Entry("lab_feature:FEATURE", "thresholds of a fabric in a folder, for tests"))
