"""Any plan, any faults at any time: an apply ends with the new values, with the old ones, or says what it could not put back."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lab
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from fabctl.errors import FabctlError, RollbackError
from fabctl.model.offload_plan import Change, Check, Place, Plan, Risk, Stage
from fabctl.model.operation import State
from fabctl.offload import work
from fabctl.offload.apply import apply
from fabctl.offload.history import operations
from fabctl.offload.journal import Journal
from fabctl.offload.recover import recover
from fabctl.offload.rollback import rollback
from fabctl.offload.site import Site
from fabctl.offload.undo import mirrored

TARGETS = [*lab.switches(lab.fabric(2, 1)), "fabric"]
KINDS = ("stuck", "refuses", "silent")


@dataclass(frozen=True)
class Fault:
    """A switch that fails in some way from the n-th step of the driver on."""

    kind: str
    target: str
    step: int


changes = st.lists(
    st.tuples(st.sampled_from(TARGETS), st.sampled_from(["a", "b"]), st.sampled_from([None, "1", "2"])),
    min_size=1,
    max_size=5,
    unique_by=lambda change: change[:2],
)
faults = st.lists(st.builds(Fault, st.sampled_from(KINDS), st.sampled_from(TARGETS), st.integers(1, 40)), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "PATIENCE_S", 0.0)


def plan_of(site: Site, wanted: list[list[tuple[str, str, str | None]]]) -> Plan:
    now = {}
    stages = []
    for number, part in enumerate(wanted):
        places = {Place("lab", target, key): value for target, key, value in part}
        made = tuple(Change(place, now.get(place, site.drivers["lab"].read(place)), places[place], Risk.HOT) for place in places)
        now |= places
        stages.append(
            Stage(f"{number}", made, tuple(Check(place, value) for place, value in places.items() if value is not None))
        )
    return lab.plan_of(site, stages, mirrored(stages))


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wanted=st.lists(changes, min_size=1, max_size=3),
    happens=faults,
    batch=st.integers(0, 2),
    most=st.integers(0, 2),
    again=st.booleans(),
)
def test_an_apply_ends_in_a_state_that_it_names(
    root: Path, wanted: list[list[tuple[str, str, str | None]]], happens: list[Fault], batch: int, most: int, again: bool
) -> None:
    folder, state = root / "lab", root / "state"
    for path in (folder, state):
        shutil.rmtree(path, ignore_errors=True)
    state.mkdir(mode=0o700)
    site = lab.make_site(folder, 2, 1)
    plan, before = plan_of(site, wanted), lab.state(folder)
    count = 0

    def step(what: str) -> None:
        nonlocal count
        count += 1
        for fault in happens:
            if fault.step == count:
                lab.fault(folder, f"{fault.kind}-{fault.target}")

    site.drivers["lab"].step = step  # type: ignore[method-assign]
    with Journal(state) as journal:
        try:
            done = apply(plan, site, journal, batch=batch, max_failures=most)
        except RollbackError:
            event("rollback failed")
            assert operations(journal)[0].state is State.ROLLBACK_FAILED
        except FabctlError:
            event("old")
        else:
            event("new" if not done.failures else "new, but for some")
            left = {failure.label for failure in done.failures}
            assert len(left) <= most
            for change in plan.changes:
                name = lab.file_name(change.place)
                label = "fabric" if change.place.target == "fabric" else site.fabric.labels[TARGETS.index(change.place.target)]
                final = [other.new for other in plan.changes if other.place == change.place][-1]
                expected = before.get(f"configured/{name}") if label in left else final
                assert lab.state(folder).get(f"configured/{name}") == expected
        happens.clear()
        for path in (folder / "faults").iterdir():
            path.unlink()
        recover(site, journal)
        held = lab.state(folder)
        ended = operations(journal)
        assert all(operation.state.ended for operation in ended)
        if not ended or ended[0].state is State.ROLLED_BACK:
            assert held == before
        elif again:
            rollback(1, site, journal)
            assert lab.state(folder) == before
