"""The driver of the OpenSM inside ``fabctl twin run``: no other can be reached through it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar, Self

from fabctl.errors import SourceError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.offload.drivers.opensm import OpensmDriver
from fabctl.twin.control import VARIABLE, restart_manager


class TwinDriver(OpensmDriver):
    """The twin's OpenSM, which the twin restarts on demand."""

    name = "twin"
    keys: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def make(cls, options: Mapping[str, str], fabric: Fabric) -> Self:
        """Return the driver of the twin that this program runs in; `options` are empty, or name its folder, kept in the journal.

        Raises
        ------
        UsageError
            Outside any twin.
        SourceError
            If the twin that is meant has ended.
        """
        if not os.environ.get(VARIABLE):
            raise UsageError("there is no twin here", hint="fabctl twin run SOURCE -- fabctl offload ... --driver twin")
        driver = super().make({}, fabric)
        if options and options != driver.options:
            raise SourceError(f"the twin in {options.get('conf')} has ended, and all its state with it")
        return driver

    @property
    def restarts(self) -> str:
        """How it is restarted."""
        return "the twin restarts it"

    def _restart(self) -> None:
        pid, mark = self.before_restart()
        restart_manager()
        self.await_started(pid, mark)
