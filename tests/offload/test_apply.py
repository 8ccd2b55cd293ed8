"""Plans applied to a fabric in a folder: in batches, read back, and taken back where a switch does not follow."""

from __future__ import annotations

from pathlib import Path

import lab
import pytest

from fabctl.errors import RefusedError, RollbackError, SourceError, UnverifiedError, UsageError
from fabctl.model.offload_plan import Place
from fabctl.model.operation import State
from fabctl.offload import work
from fabctl.offload.apply import apply
from fabctl.offload.batches import without
from fabctl.offload.events import Kind
from fabctl.offload.history import operation_of, operations
from fabctl.offload.journal import Journal
from fabctl.offload.undo import mirrored


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "PATIENCE_S", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lab"


def test_a_plan_is_applied_and_read_back(folder: Path, journal: Journal) -> None:
    site = lab.make_site(folder)
    done = apply(lab.everything(site), site, journal)
    assert (done.id, done.state, done.to_change, done.written, done.holds) == (1, State.APPLIED, 13, 13, True)
    held = lab.state(folder)
    assert {value for name, value in held.items() if name.endswith("cc.threshold")} == {"15"}
    assert {value for name, value in held.items() if name.endswith("sl2vl")} == {"0,1,2,3"}
    assert len(done.readings) == 18
    assert all(reading.evidence.startswith("query 0x") for reading in done.readings)


def test_a_second_apply_changes_nothing(folder: Path, journal: Journal) -> None:
    site = lab.make_site(folder)
    plan = lab.everything(site)
    apply(plan, site, journal)
    writes = site.drivers["lab"].writes
    again = apply(plan, site, journal)
    assert (again.id, again.to_change, again.written, again.state) == (0, 0, 0, State.APPLIED)
    assert site.drivers["lab"].writes == writes
    assert len(operations(journal)) == 1


def test_one_switch_of_forty_that_differs_takes_everything_back(folder: Path, journal: Journal) -> None:
    site = lab.make_site(folder, leaves=32, spines=8)
    before = lab.state(folder)
    odd = lab.switches(site.fabric)[17]
    label = site.fabric.labels[17]
    stuck = lab.fault(folder, f"stuck-{odd}")
    with pytest.raises(UnverifiedError, match=rf"{label}: cc.threshold reads '0', not '15'; the old values are back"):
        apply(lab.thresholds(site), site, journal)
    stuck.unlink()
    assert lab.state(folder) == before
    assert operation_of(journal, 1).state is State.ROLLED_BACK


def test_switches_that_fail_are_left_as_they_were_if_so_many_may(folder: Path, journal: Journal) -> None:
    site = lab.make_site(folder, leaves=32, spines=8)
    odd = lab.switches(site.fabric)[17:19]
    lab.fault(folder, f"stuck-{odd[0]}")
    lab.fault(folder, f"refuses-{odd[1]}")
    with pytest.raises(UnverifiedError):
        apply(lab.thresholds(site), site, journal, max_failures=1, batch=10)
    done = apply(lab.thresholds(site), site, journal, max_failures=2, batch=10)
    assert done.state is State.APPLIED
    assert sorted(failure.label for failure in done.failures) == sorted(site.fabric.labels[17:19])
    held = lab.state(folder)
    assert [held[f"configured/{switch} cc.threshold"] for switch in odd] == ["0", "0"]
    assert list(held.values()).count("15") == 2 * 38
    assert done.holds


def test_the_canary_goes_first_and_stops_everything(folder: Path, journal: Journal) -> None:
    site = lab.make_site(folder)
    leaf = site.fabric.labels[0]
    target = lab.switches(site.fabric)[0]
    lab.fault(folder, f"stuck-{target}")
    with pytest.raises(UnverifiedError, match="the canary failed"):
        apply(lab.thresholds(site), site, journal, canary=leaf, max_failures=5)
    written = [event.place.target for event in journal.events(1, Kind.WROTE) if event.place]
    assert set(written) == {target}


def test_batches_come_in_order_and_each_is_read_before_the_next_is_written(folder: Path, journal: Journal) -> None:
    site = lab.make_site(folder)
    last = lab.switches(site.fabric)[-1]
    name = site.fabric.labels[site.fabric.n_switches - 1]
    apply(lab.thresholds(site, marking=None), site, journal, canary=name, batch=2)
    steps = [(event.kind, event.place.target) for event in journal.events(1, Kind.WROTE, Kind.READ) if event.place]
    waves: list[tuple[Kind, list[str]]] = []
    for kind, target in steps:
        if not waves or waves[-1][0] is not kind:
            waves.append((kind, []))
        waves[-1][1].append(target)
    assert [kind for kind, _ in waves] == [Kind.WROTE, Kind.READ] * 4
    assert next(targets for kind, targets in waves if kind is Kind.WROTE) == [last]
    assert [len(targets) for kind, targets in waves if kind is Kind.WROTE] == [1, 2, 2, 1]


def test_a_canary_cannot_go_before_a_change_of_the_whole_fabric(folder: Path, journal: Journal) -> None:
    site = lab.make_site(folder)
    with pytest.raises(RefusedError, match="'qos' changes the whole fabric at once"):
        apply(lab.everything(site), site, journal, canary=site.fabric.labels[0])
    stage = without(lab.thresholds(site).stages[0], lab.switches(site.fabric)[:1])
    plan = lab.plan_of(site, [stage], mirrored([stage]))
    with pytest.raises(UsageError, match="changes nothing at"):
        apply(plan, site, journal, canary=site.fabric.labels[0])
    assert not operations(journal)


def test_a_stale_plan_is_refused_with_what_has_changed(folder: Path, journal: Journal) -> None:
    site = lab.make_site(folder)
    plan = lab.thresholds(site)
    lab.put(folder / "configured" / f"{lab.switches(site.fabric)[2]} cc.threshold", "7")
    with pytest.raises(RefusedError, match=rf"stale: cc.threshold of {site.fabric.labels[2]} is '7', and was '0'"):
        apply(plan, site, journal)
    assert not operations(journal)


def test_a_plan_of_another_fabric_or_manager_is_refused(tmp_path: Path, folder: Path, journal: Journal) -> None:
    site = lab.make_site(folder)
    plan = lab.thresholds(site)
    other = lab.make_site(tmp_path / "other", leaves=5, spines=3)
    with pytest.raises(RefusedError, match=r"does not fit|stale"):
        apply(plan, other, journal)
    (folder / "manager").write_text("3.3.23")
    with pytest.raises(RefusedError, match=r"the subnet manager is upstream 3.3.23 at 0x1, and was unknown"):
        apply(plan, site, journal)
    assert not operations(journal)


def test_hardware_that_does_not_answer_at_the_start_is_an_error_and_nothing_is_written(folder: Path, journal: Journal) -> None:
    site = lab.make_site(folder)
    plan = lab.thresholds(site)
    lab.fault(folder, f"silent-{lab.switches(site.fabric)[3]}")
    before = lab.state(folder)
    with pytest.raises(SourceError, match="does not answer"):
        apply(plan, site, journal)
    assert lab.state(folder) == before
    assert not operations(journal)


def test_a_driver_that_breaks_is_named_and_does_not_stop_the_way_back(folder: Path, journal: Journal) -> None:
    site = lab.make_site(folder)
    before = lab.state(folder)
    driver = site.drivers["lab"]
    write, odd = driver.write, lab.switches(site.fabric)[3]

    def broken(place: Place, value: str | None) -> None:
        if place.target == odd:
            raise KeyError(place.key)
        write(place, value)

    driver.write = broken  # type: ignore[method-assign]
    with pytest.raises(UnverifiedError, match=r"the driver 'lab' failed: KeyError: 'cc.threshold'; the old values are back"):
        apply(lab.thresholds(site), site, journal)
    assert lab.state(folder) == before


def test_a_check_elsewhere_that_fails_is_no_switch_to_leave_out(folder: Path, journal: Journal) -> None:
    site = lab.make_site(folder)
    before = lab.state(folder)
    lab.fault(folder, f"stuck-{lab.switches(site.fabric)[2]} sl2vl")
    with pytest.raises(UnverifiedError, match="sl2vl reads"):
        apply(lab.everything(site), site, journal, max_failures=6)
    assert lab.state(folder) == before


def test_a_rollback_that_fails_is_named_and_recovered(folder: Path, journal: Journal) -> None:
    from fabctl.offload.recover import recover

    site = lab.make_site(folder)
    before = lab.state(folder)
    plan = lab.everything(site)
    dead = folder / "faults" / "dead"
    driver = site.drivers["lab"]
    settled = driver.settle

    def dies(risk: object) -> None:
        if lab.read(folder / "configured" / "fabric file:opensm.conf") == lab.NEW_CONF:
            dead.touch()
        settled(risk)  # type: ignore[arg-type]

    driver.settle = dies  # type: ignore[method-assign]
    with pytest.raises(RollbackError, match="the subnet manager does not answer; and the old values are not all back"):
        apply(plan, site, journal)
    assert operation_of(journal, 1).state is State.ROLLBACK_FAILED
    with pytest.raises(RefusedError, match=r"operation 1 .* has not ended: it is 'rollback-failed'"):
        apply(plan, site, journal)
    dead.unlink()
    driver.settle = settled  # type: ignore[method-assign]
    (ended,) = recover(site, journal)
    assert (ended.done, ended.operation.state) == ("undone", State.ROLLED_BACK)
    assert ended.found.startswith("the rollback failed")
    assert lab.state(folder) == before


def test_plans_without_a_way_back_and_disruptive_ones_are_refused(folder: Path, journal: Journal) -> None:
    from dataclasses import replace

    from fabctl.model.offload_plan import Risk

    site = lab.make_site(folder)
    plan = lab.thresholds(site)
    with pytest.raises(RefusedError, match="no way back"):
        apply(replace(plan, undo=plan.undo[1:]), site, journal)
    risky = replace(plan.stages[0], changes=tuple(replace(change, risk=Risk.RESTART) for change in plan.stages[0].changes))
    disruptive = replace(plan, stages=(risky, *plan.stages[1:]))
    with pytest.raises(RefusedError, match="the subnet manager restarts"):
        apply(disruptive, site, journal)
    assert apply(disruptive, site, journal, allow_disruptive=True).state is State.APPLIED
