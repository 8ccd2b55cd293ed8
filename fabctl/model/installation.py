"""What an installation of routes into a running subnet manager did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExchangedFile:
    """A file that OpenSM reads.

    Parameters
    ----------
    name : str
        In the export.
    path : str
        Where OpenSM reads it.
    changed : bool
        Whether another one, or none, stood there.
    kept : str
        Where the old one is kept; empty if there was none, or nothing changed.
    """

    name: str
    path: str
    changed: bool
    kept: str


@dataclass(frozen=True)
class Installation:
    """Routes that are in force.

    Parameters
    ----------
    folder : str
        The export.
    engine : str
        Which engine made them.
    pid : int
        Process id of OpenSM.
    files : tuple of ExchangedFile
    switches : int
        Switches whose tables were read back.
    entries : int
        Entries compared: those of all LIDs that the switches show.
    entries_changed, blocks_changed, switches_changed : int
        Entries that the installation changed, blocks of 64 that hold one, and switches.
    virtual_lanes : int
    paths_asked : int
        Paths whose SL the subnet manager was asked for.
    notes : tuple of str
    """

    folder: str
    engine: str
    pid: int
    files: tuple[ExchangedFile, ...]
    switches: int
    entries: int
    entries_changed: int
    blocks_changed: int
    switches_changed: int
    virtual_lanes: int
    paths_asked: int
    notes: tuple[str, ...] = ()
