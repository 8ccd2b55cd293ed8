"""The journal: it only grows, holds no secrets, and a full disk or a damaged file stops the work and not the way back."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

import lab
import pytest

from fabctl.errors import FabctlError, RefusedError, UnverifiedError, UsageError
from fabctl.model.offload_plan import Place
from fabctl.model.operation import State
from fabctl.offload import work
from fabctl.offload.apply import apply
from fabctl.offload.events import Event, Kind
from fabctl.offload.history import operation_of, operations
from fabctl.offload.journal import NAME, Journal, JournalError
from fabctl.offload.recover import recover
from fabctl.offload.rollback import rollback


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "PATIENCE_S", 0.0)


def test_every_step_is_written_down_before_and_after_with_the_old_value(tmp_path: Path, journal: Journal) -> None:
    site = lab.make_site(tmp_path / "lab")
    apply(lab.thresholds(site, marking=None), site, journal)
    first = Place("lab", lab.switches(site.fabric)[0], "cc.threshold")
    told = [event for event in journal.events(1) if event.place in (first, None)]
    assert [(event.kind, event.old, event.new) for event in told] == [
        (Kind.STATE, None, None),
        (Kind.BEFORE, None, "0"),
        (Kind.WRITE, "0", "15"),
        (Kind.WROTE, "0", "15"),
        (Kind.SETTLE, None, None),
        (Kind.SETTLED, None, None),
        (Kind.READ, "15", "15"),
        (Kind.STATE, None, None),
    ]
    assert told[-2].words == f"query {first.target} cc.threshold -> 15"
    assert [event.at for event in told] == sorted(event.at for event in told)


def test_a_process_that_opens_it_later_reads_the_same(tmp_path: Path, state: Path, journal: Journal) -> None:
    site = lab.make_site(tmp_path / "lab")
    plan = lab.everything(site)
    done = apply(plan, site, journal)
    with Journal(state) as other:
        assert operation_of(other, 1) == done
        assert other.plan(1) == plan
        assert other.fabric(1).digest == site.fabric.digest
        assert other.reach(1).drivers == (("lab", (("folder", str(tmp_path / "lab")),)),)
        with pytest.raises(UsageError, match="there is no operation 2"):
            other.plan(2)


def test_it_only_grows(tmp_path: Path, state: Path, journal: Journal) -> None:
    site = lab.make_site(tmp_path / "lab")
    apply(lab.thresholds(site), site, journal)
    with sqlite3.connect(state / NAME) as base:
        for table, column in (("event", "words"), ("operation", "request"), ("text", "text")):
            for statement in (f"UPDATE {table} SET {column} = ''", f"DELETE FROM {table}"):
                with pytest.raises(sqlite3.IntegrityError, match="the journal only grows"):
                    base.execute(statement)
    base.close()


def test_names_and_values_of_any_characters_are_kept(tmp_path: Path, journal: Journal) -> None:
    site = lab.make_site(tmp_path / "lab")
    apply(lab.thresholds(site), site, journal)
    place = Place("lab", "0x1", "k")
    journal.record(1, Event(Kind.READ, "\udc80", place, "leaf\udcff\x1b[2J\x00", "\x00\udc80", "\u00ff", "\ud800"))
    told = journal.events(1, Kind.READ)[-1]
    assert (told.old, told.new, told.label) == ("\x00\udc80", "\u00ff", "leaf\\udcff\x1b[2J\x00")


@pytest.mark.parametrize("pages", range(0, 40, 3))
def test_a_disk_that_fills_up_stops_the_work_and_the_old_values_come_back(
    pages: int, tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = lab.make_site(tmp_path / "lab")
    before, plan = lab.state(tmp_path / "lab"), lab.everything(site)
    with Journal(state) as journal:
        journal._base.execute(f"PRAGMA max_page_count = {journal._base.execute('PRAGMA page_count').fetchone()[0] + pages}")
        said = ""
        try:
            apply(plan, site, journal)
        except FabctlError as error:
            said = str(error)
            wrote = isinstance(error, UnverifiedError)
    held = lab.state(tmp_path / "lab")
    if said:
        assert "database or disk is full" in said
        assert "is the disk full" in said
        assert ("the old values are back in force" in said) == wrote
    assert (held == before) == bool(said)
    with Journal(state) as journal:
        recover(site, journal)
        assert all(operation.state is (State.ROLLED_BACK if said else State.APPLIED) for operation in operations(journal))
    assert lab.state(tmp_path / "lab") == held


def test_a_rollback_is_not_begun_on_a_disk_that_is_full(tmp_path: Path, state: Path) -> None:
    site = lab.make_site(tmp_path / "lab")
    with Journal(state) as journal:
        apply(lab.everything(site), site, journal)
        held = lab.state(tmp_path / "lab")
        journal._base.execute(f"PRAGMA max_page_count = {journal._base.execute('PRAGMA page_count').fetchone()[0]}")
        with suppress(JournalError):
            for _ in range(1000):  # the last page has room for a few lines
                journal.record(1, Event(Kind.READ, words="x"))
        with pytest.raises(JournalError, match="full"):
            rollback(1, site, journal)
    assert lab.state(tmp_path / "lab") == held


@pytest.mark.parametrize("damage", [b"no database", b"SQLite format 3\x00" + bytes(4080), b"\xff" * 8192])
def test_a_damaged_journal_is_an_error(state: Path, damage: bytes) -> None:
    (state / NAME).write_bytes(damage)
    (state / NAME).chmod(0o600)
    with pytest.raises(FabctlError) as caught, Journal(state) as journal:
        operations(journal)
    assert caught.value.where == str(state / NAME)


def test_a_journal_of_a_newer_fabctl_is_refused(state: Path) -> None:
    with Journal(state) as journal:
        journal._base.execute("PRAGMA user_version = 2")
    with pytest.raises(RefusedError, match="a journal of version 2; this fabctl knows version 1"), Journal(state):
        pass


def test_a_journal_that_may_not_be_written_is_an_error(state: Path, tmp_path: Path) -> None:
    site = lab.make_site(tmp_path / "lab")
    before = lab.state(tmp_path / "lab")
    with Journal(state) as journal:
        journal._base.execute("PRAGMA query_only = 1")
        with pytest.raises(JournalError, match="attempt to write a readonly database"):
            apply(lab.thresholds(site), site, journal)
    assert lab.state(tmp_path / "lab") == before


def test_no_secret_is_anywhere_in_the_state_folder(tmp_path: Path, state: Path, journal: Journal) -> None:
    secret = "hunter2-0xc0ffee"
    token = tmp_path / "token"
    token.write_text(secret)
    site = lab.make_site(tmp_path / "lab")
    driver = site.drivers["lab"]
    driver.options = {"folder": str(tmp_path / "lab"), "token_file": str(token)}
    plan = lab.thresholds(site)
    apply(plan, site, journal)
    rollback(1, site, journal)
    texts = [path.read_bytes() for path in state.iterdir()]
    assert any(os.fsencode(token) in text for text in texts)
    assert not any(secret.encode() in text for text in texts)
    leak = lab.thresholds(site, value=f"password {secret}\n")
    with pytest.raises(RefusedError, match=r"holds a secret \(password\)") as caught:
        apply(leak, site, journal)
    assert secret not in str(caught.value)
    assert not any(secret.encode() in path.read_bytes() for path in state.iterdir())
    assert [path.name for path in (tmp_path / "lab" / "configured").iterdir() if secret in path.read_text()] == []
