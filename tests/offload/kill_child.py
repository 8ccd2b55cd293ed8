"""Runs a piece of the cycle and kills itself, with SIGKILL, at its n-th step: test equipment.

Reads ``SCENARIO STEP FOLDER STATE`` per line, forks, lets the fork do it, and answers how it ended: ``killed``, or the number of
steps that there were. A step is before and after each record of the journal and in the middle of it, and before, in and after
each call of the driver.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import lab

import fabctl.offload.apply
import fabctl.offload.recover
from fabctl.errors import FabctlError
from fabctl.offload.apply import apply
from fabctl.offload.confirm import confirm
from fabctl.offload.journal import Journal
from fabctl.offload.recover import recover
from fabctl.offload.rollback import rollback

SIZE = (2, 1)
"""Leaves and spines."""


class Steps:
    """Counts steps, of several threads too, and ends the process at one of them."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.count = 0
        self.one = threading.Lock()

    def __call__(self, what: str) -> None:
        with self.one:
            self.count += 1
            if self.count == self.last:
                os.kill(os.getpid(), signal.SIGKILL)


def act(scenario: str, folder: Path, state: Path) -> None:
    site = lab.open_site(folder, *SIZE)
    with Journal(state) as journal:
        if scenario in ("apply", "fails"):
            apply(lab.everything(site), site, journal, batch=1)
        elif scenario == "unconfirmed":
            apply(lab.thresholds(site), site, journal, canary=site.fabric.labels[1], confirm_minutes=5)
        elif scenario == "confirm":
            confirm(1, journal)
        elif scenario == "rollback":
            rollback(1, site, journal)
        elif scenario == "recover":
            recover(site, journal)


def watch_steps(step: Steps) -> None:
    lab.Lab.step = staticmethod(step)  # type: ignore[assignment]
    append = Journal._append
    record, begin = Journal.record, Journal.begin

    def counted(method: Any) -> Any:
        def call(self: Journal, *arguments: Any) -> Any:
            step("before a record")
            value = method(self, *arguments)
            step("after a record")
            return value

        return call

    def torn(self: Journal, *arguments: Any) -> None:
        append(self, *arguments)
        step("in a record")

    Journal._append = torn  # type: ignore[method-assign]
    Journal.record = counted(record)  # type: ignore[method-assign]
    Journal.begin = counted(begin)  # type: ignore[method-assign]


def main() -> None:
    fabctl.offload.work.PATIENCE_S = 0.0
    fabctl.offload.apply.start_watchdog = lambda folder, number: None
    for line in sys.stdin:
        scenario, last, folder, state = line.split()
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            step = Steps(int(last))
            watch_steps(step)
            try:
                act(scenario, Path(folder), Path(state))
            except FabctlError as error:
                os.write(writer, f"{type(error).__name__} ".encode())
            os.write(writer, str(step.count).encode())
            os._exit(0)
        os.close(writer)
        status = os.waitpid(child, 0)[1]
        with os.fdopen(reader) as stream:
            words = stream.read()
        sys.stdout.write("killed\n" if status == signal.SIGKILL else f"{words or 'crashed'}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
