"""After an apply: verified again, confirmed, rolled back, and compared with what others have made of it since."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import lab
import numpy as np
import pytest

from fabctl.errors import RefusedError, RollbackError, UsageError
from fabctl.model.operation import State
from fabctl.offload import apply as applying
from fabctl.offload import history, work
from fabctl.offload import recover as recovering
from fabctl.offload.apply import apply
from fabctl.offload.basis import basis_of
from fabctl.offload.confirm import confirm
from fabctl.offload.drift import drift
from fabctl.offload.events import Kind
from fabctl.offload.history import operation_of
from fabctl.offload.journal import Journal
from fabctl.offload.lock import fabric_key
from fabctl.offload.recover import recover
from fabctl.offload.rollback import rollback
from fabctl.offload.site import Site
from fabctl.offload.verify import verify


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "PATIENCE_S", 0.0)
    monkeypatch.setattr(applying, "start_watchdog", lambda folder, number: None)
    monkeypatch.setattr(recovering, "start_watchdog", lambda folder, number: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lab"


@pytest.fixture
def site(folder: Path) -> Site:
    return lab.make_site(folder)


def test_verify_reads_again_and_keeps_the_evidence(site: Site, folder: Path, journal: Journal) -> None:
    apply(lab.everything(site), site, journal)
    assert verify(1, None, journal).holds
    odd = lab.switches(site.fabric)[4]
    lab.put(folder / "hardware" / f"{odd} sl2vl", "0,0,0,3")
    told = verify(1, site, journal)
    (wrong,) = [reading for reading in told.readings if not reading.holds]
    assert (wrong.label, wrong.expected, wrong.found) == (site.fabric.labels[4], "0,1,2,3", "0,0,0,3")
    assert wrong.evidence == f"query {odd} sl2vl -> 0,0,0,3"
    lab.fault(folder, f"silent-{odd}")
    assert [reading.answered for reading in verify(1, site, journal).readings].count(False) == 3
    assert len(journal.events(1, Kind.READ)) > 3 * 18


def test_what_a_later_operation_rests_on_is_not_taken_back_before_it(site: Site, folder: Path, journal: Journal) -> None:
    first, whole = lab.thresholds(site, marking=None), lab.everything(site)
    apply(first, site, journal)
    second = lab.plan_of(site, [whole.stages[-1]], whole.undo[:2])
    second = replace(second, basis=basis_of(site, second.changes, upon=[first.changes[0].place]))
    apply(second, site, journal)
    with pytest.raises(RefusedError, match=r"operation 2 .* rests on what this one has changed") as caught:
        rollback(1, site, journal)
    assert caught.value.hint == "roll that back first: fabctl offload rollback 2"
    rollback(2, site, journal)
    assert rollback(1, site, journal).state is State.ROLLED_BACK
    with pytest.raises(RefusedError, match=r"this plan is stale: .* and had another value"):
        apply(second, site, journal)


def test_a_rollback_writes_the_old_values_and_the_hardware_shows_them(site: Site, folder: Path, journal: Journal) -> None:
    before = lab.state(folder)
    apply(lab.everything(site), site, journal)
    done = rollback(1, None, journal)
    assert (done.state, done.written, done.holds) == (State.ROLLED_BACK, 13, True)
    assert lab.state(folder) == before
    assert rollback(1, site, journal) == done
    assert verify(1, site, journal).holds
    assert drift(site, journal).n_places == 0


def test_a_way_back_that_leads_elsewhere_says_so(site: Site, journal: Journal) -> None:
    plan = lab.everything(site)
    explicit, *rest = plan.undo
    bent = "0,1,0,1"
    changes = tuple(replace(change, new=f"qos TRUE {bent}\n") for change in explicit.changes)
    checks = tuple(replace(check, value=bent) for check in explicit.checks)
    apply(replace(plan, undo=(replace(explicit, changes=changes, checks=checks), *rest)), site, journal)
    said = f"asked for; 6 values are back as the plan says, which is not as they were: sl2vl of {site.fabric.labels[0]} was '0,0,0,0'"
    assert rollback(1, site, journal).reason == said


def test_off_does_not_undo_and_a_rollback_that_believes_it_is_caught(site: Site, journal: Journal) -> None:
    plan = lab.everything(site)
    lazy = replace(plan, undo=tuple(stage for stage in plan.undo if stage.name != "old lanes, explicitly"))
    apply(lazy, site, journal)
    with pytest.raises(RollbackError, match=r"sl2vl reads '0,1,2,3', not '0,0,0,0'"):
        rollback(1, site, journal)
    assert operation_of(journal, 1).state is State.ROLLBACK_FAILED


def test_what_somebody_else_has_changed_since_is_not_overwritten_unasked(site: Site, folder: Path, journal: Journal) -> None:
    apply(lab.everything(site), site, journal)
    lab.put(folder / "configured" / "fabric file:opensm.conf", "# a colleague\nqos TRUE 0,1,1,1\n")
    with pytest.raises(RefusedError, match=r"somebody else has changed file:opensm\.conf of fabric since"):
        rollback(1, site, journal)
    assert operation_of(journal, 1).state is State.APPLIED
    assert rollback(1, site, journal, overwrite=True).state is State.ROLLED_BACK
    assert lab.read(folder / "configured" / "fabric file:opensm.conf") == lab.OLD_CONF


def test_the_later_of_two_operations_at_one_place_goes_first(site: Site, folder: Path, journal: Journal) -> None:
    before = lab.state(folder)
    apply(lab.thresholds(site, "7"), site, journal)
    apply(lab.thresholds(site, "9"), site, journal)
    with pytest.raises(RefusedError, match=r"operation 2 .* has changed the same places since") as caught:
        rollback(1, site, journal)
    assert caught.value.hint.endswith("fabctl offload rollback 2")
    rollback(2, site, journal)
    assert drift(site, journal).drifted == ()
    rollback(1, site, journal)
    assert lab.state(folder) == before


def test_confirm(site: Site, folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    done = apply(lab.thresholds(site), site, journal, confirm_minutes=5)
    assert done.state is State.UNCONFIRMED
    assert done.deadline_at is not None
    assert 290 < done.deadline_at - time.time() <= 300
    assert confirm(1, journal).state is State.APPLIED
    rollback(1, site, journal)
    with pytest.raises(RefusedError, match="operation 1 does not wait to be confirmed: old values are in place"):
        confirm(1, journal)
    with pytest.raises(UsageError, match="there is no operation 7"):
        confirm(7, journal)
    apply(lab.thresholds(site), site, journal, confirm_minutes=5)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 300 + 130)
    with pytest.raises(RefusedError, match="was to be confirmed 2 min ago"):
        confirm(2, journal)
    (ended,) = recover(site, journal)
    assert (ended.done, ended.operation.state) == ("undone", State.ROLLED_BACK)
    with pytest.raises(UsageError, match="more than nothing"):
        apply(lab.thresholds(site), site, journal, confirm_minutes=0)


def test_drift_names_places_and_values_that_no_longer_hold(site: Site, folder: Path, journal: Journal) -> None:
    apply(lab.everything(site), site, journal)
    found = drift(None, journal)
    assert (found.drifted, found.unread, found.n_places, found.n_checks) == ((), (), 13, 18)
    first, second = lab.switches(site.fabric)[:2]
    lab.put(folder / "configured" / f"{first} cc.threshold", "3")
    lab.put(folder / "hardware" / f"{second} sl2vl", "x")
    lab.fault(folder, f"silent-{lab.switches(site.fabric)[5]}")
    found = drift(site, journal)
    assert [(one.operation, one.kind, one.reading.label, one.reading.found) for one in found.drifted] == [
        (1, "configured", site.fabric.labels[0], "3"),
        (1, "hardware", site.fabric.labels[1], "x"),
    ]
    assert len(found.unread) == 5
    assert {failure.label for failure in found.unread} == {site.fabric.labels[5]}


def test_an_empty_journal_has_nothing_to_drift_or_recover(site: Site, journal: Journal) -> None:
    assert drift(site, journal).n_places == drift(None, journal).n_places == 0
    assert recover(site, journal) == recover(None, journal) == ()


def test_an_operation_is_found_on_a_fabric_whose_first_switch_has_died(site: Site, folder: Path, journal: Journal) -> None:
    apply(lab.thresholds(site), site, journal, confirm_minutes=5)
    spec = "family: leaf-spine\nhosts_per_leaf: 1\nleaves: 4\nspines: 2\nspeed: EDR\nremove: {names: [leaf-01]}\n"
    rest = Site(lab.parse(spec, "lab")[0], site.drivers)
    assert fabric_key(rest.fabric) != fabric_key(site.fabric)
    with pytest.raises(RefusedError, match=r"operation 1 .* waits to be confirmed"):
        apply(lab.thresholds(rest), rest, journal)
    assert recover(rest, journal)[0].done == "waits for confirm"
    other = lab.parse("family: torus\ndims: [3, 3]\nhosts_per_switch: 1\nspeed: EDR\n", "lab")[0]
    assert history.unfinished(journal, replace(other, node_guid=other.node_guid + np.uint64(1 << 40))) == []


def test_ctrl_c_takes_everything_back(site: Site, folder: Path, journal: Journal) -> None:
    before = lab.state(folder)

    def interrupted(line: str) -> None:
        if "stage 2" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply(lab.everything(site), site, journal, say=interrupted)
    assert lab.state(folder) == before
    assert operation_of(journal, 1).reason == "KeyboardInterrupt"
