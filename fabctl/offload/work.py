"""An operation under way: every step is written down before it is taken, and after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from fabctl.errors import FabctlError, SourceError
from fabctl.model.offload_plan import Change, Check, Place
from fabctl.model.operation import Reading, State
from fabctl.offload.at_once import at_once
from fabctl.offload.basis import shown
from fabctl.offload.driver import Observed
from fabctl.offload.events import Event, Kind
from fabctl.offload.journal import Journal, JournalError
from fabctl.offload.names import place_label
from fabctl.offload.site import Site
from fabctl.offload.undo import owner

PATIENCE_S = 5.0
"""How long the hardware may show something else after a driver said that all is settled: a lost MAD, a late sweep."""

_POLL_S = 0.25

Say = Callable[[str], None]


def quiet(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Trouble:
    """Something that did not go as it should.

    Parameters
    ----------
    owner : str
        Target of the switch or HCA to which it belongs; ``fabric``.
    label : str
        What people call it.
    why : str
    """

    owner: str
    label: str
    why: str

    def __str__(self) -> str:
        return f"{self.label}: {self.why}"


@dataclass(frozen=True)
class Work:
    """An operation under way.

    Parameters
    ----------
    site : Site
    journal : Journal
    id : int
        Of the operation.
    tell : callable
        Takes a line on what is being done.
    """

    site: Site
    journal: Journal
    id: int
    tell: Say

    def say(self, line: str) -> None:
        """Tell people; if nobody listens any more the work goes on."""
        with suppress(OSError):
            self.tell(line)

    def enter(self, state: State, why: str = "", deadline_at: float | None = None) -> None:
        """Write a new state down."""
        self.journal.record(self.id, Event(Kind.STATE, state, words=why, deadline_at=deadline_at))

    def write(self, stage: str, changes: Iterable[Change], *, forced: bool = False, tries: int = 1) -> list[Trouble]:
        """Write values that are not there yet; return what went wrong.

        Parameters
        ----------
        forced : bool
            Whether a value other than the old one is overwritten too, and a switch is written on if one of its values cannot be.
        tries : int
            How often a value is tried.
        """
        troubles: list[Trouble] = []
        for change in changes:
            if not forced and owner(change.place) in {trouble.owner for trouble in troubles}:
                continue
            for left in reversed(range(tries)):
                try:
                    self._write(stage, change, forced)
                    break
                except JournalError:
                    raise
                except FabctlError as error:
                    if not left:
                        troubles.append(self._trouble(change.place, error.message))
        return troubles

    def settle(self, stage: str, changes: Sequence[Change]) -> None:
        """Have what was written take effect.

        Raises
        ------
        SourceError
            If it does not.
        """
        for name in dict.fromkeys(change.place.driver for change in changes):
            risk = max(change.risk for change in changes if change.place.driver == name)
            self.journal.record(self.id, Event(Kind.SETTLE, stage, words=f"{name}: {risk.name.lower()}"))
            with driving(name):
                self.site.driver(name).settle(risk)
            self.journal.record(self.id, Event(Kind.SETTLED, stage, words=f"{name}: {risk.name.lower()}"))

    def read_back(self, stage: str, wanted: Iterable[tuple[Place, str | None]]) -> list[Trouble]:
        """Read values back from the hardware, and keep what it said; return where it differs."""
        pending = dict(wanted)
        readings: dict[Place, Reading] = {}
        deadline = time.monotonic() + PATIENCE_S
        while pending:
            readings |= observe_all(self.site, pending)
            pending = {place: value for place, value in pending.items() if not readings[place].holds}
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S if pending else 0)
        self.journal.record(self.id, *(_event(stage, reading) for reading in readings.values()))
        return [self._trouble(place, difference(readings[place])) for place in pending]

    def confirm_written(self, wanted: Iterable[tuple[Place, str | None]]) -> list[Trouble]:
        """Read configured values again; return where they are not as they were written."""
        troubles = []
        for reading in configured_all(self.site, dict(wanted)).values():
            place = reading.place
            if not reading.answered:
                troubles.append(self._trouble(place, reading.evidence))
            elif not reading.holds:
                now = f"{shown(reading.found)}, not {shown(reading.expected)}"
                troubles.append(self._trouble(place, f"{place.key} was written, and is {now}"))
        return troubles

    def _write(self, stage: str, change: Change, forced: bool) -> None:
        place, label = change.place, place_label(self.site.fabric, change.place)
        driver = self.site.driver(place.driver)
        with driving(place.driver):
            now = driver.read(place)
        if now == change.new:
            return
        if now != change.old and not forced:
            raise SourceError(f"{place.key} is {shown(now)} now, and was {shown(change.old)} when the plan was checked")
        self.journal.record(self.id, Event(Kind.WRITE, stage, place, label, now, change.new))
        with driving(place.driver):
            driver.write(place, change.new)
        self.journal.record(self.id, Event(Kind.WROTE, stage, place, label, now, change.new))

    def _trouble(self, place: Place, why: str) -> Trouble:
        label = place_label(self.site.fabric, place)
        return Trouble(owner(place), label, why.removeprefix(f"{label}: "))


@contextmanager
def driving(name: str) -> Iterator[None]:
    """Turn whatever goes wrong in a driver into an error that names it: one place must not keep others from going back."""
    try:
        yield
    except FabctlError:
        raise
    except Exception as error:
        raise SourceError(f"the driver '{name}' failed: {type(error).__name__}: {error}") from error


def _event(stage: str, reading: Reading) -> Event:
    kind = Kind.READ if reading.answered else Kind.SILENT
    return Event(kind, stage, reading.place, reading.label, reading.expected, reading.found, reading.evidence)


def observe_all(site: Site, expected: Mapping[Place, str | None]) -> dict[Place, Reading]:
    """Read values from the hardware; what does not answer gives a reading that does not hold."""
    return _readings(site, expected, lambda place: site.driver(place.driver).observe(place))


def configured_all(site: Site, expected: Mapping[Place, str | None]) -> dict[Place, Reading]:
    """Read what is configured; what does not answer gives a reading that does not hold."""
    return _readings(site, expected, lambda place: Observed(site.driver(place.driver).read(place), "configuration"))


def _readings(site: Site, expected: Mapping[Place, str | None], look: Callable[[Place], Observed]) -> dict[Place, Reading]:
    def read(place: Place) -> Reading:
        label = place_label(site.fabric, place)
        try:
            with driving(place.driver):
                seen = look(place)
        except FabctlError as error:
            return Reading(place, label, expected[place], None, error.message, answered=False)
        return Reading(place, label, expected[place], seen.value, seen.evidence)

    return {reading.place: reading for reading in at_once(read, expected)}


def final_values(changes: Iterable[Change]) -> dict[Place, str | None]:
    """Return what changes leave at each place."""
    return {change.place: change.new for change in changes}


def final_checks(checks: Iterable[Check]) -> dict[Place, str]:
    """Return what must be read at each place in the end."""
    return {check.place: check.value for check in checks}


def difference(reading: Reading) -> str:
    """Return how a reading differs from what it should be, for people."""
    if not reading.answered:
        return f"{reading.place.key} cannot be read: {reading.evidence}"
    return f"{reading.place.key} reads {shown(reading.found)}, not {shown(reading.expected)}"
