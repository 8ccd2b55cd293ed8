"""What ``fabctl route install`` prints: what changed, and what was read back."""

from __future__ import annotations

from fabctl.model.installation import Installation
from fabctl.report.output import Column, Report, Table

_FILES = (
    Column("path", "FILE"),
    Column("changed", "CHANGED"),
    Column("kept", "OLD ONE KEPT AS"),
    Column("name", "FROM", wide=True),
)


def install_report(done: Installation) -> Report:
    """Return the report of an installation."""
    rows = [{"path": file.path, "changed": file.changed, "kept": file.kept or None, "name": file.name} for file in done.files]
    files = Table("Files", _FILES, rows)
    count = f"{done.entries_changed:,} entries to change"
    if done.entries_changed:
        count += f", in {done.blocks_changed:,} blocks of {done.switches_changed:,} switches: done"
    lanes = "1 virtual lane" if done.virtual_lanes == 1 else f"{done.virtual_lanes} virtual lanes"
    read = f"  read back      {done.entries:,} entries of {done.switches:,} switches equal"
    if done.paths_asked:
        read += f"; OpenSM gives {done.paths_asked} paths asked for their SL"
    return Report(
        kind="InstallReport",
        data={
            "folder": done.folder,
            "engine": done.engine,
            "opensm_pid": done.pid,
            "virtual_lanes": done.virtual_lanes,
            "switches": done.switches,
            "entries_compared": done.entries,
            "entries_changed": done.entries_changed,
            "blocks_changed": done.blocks_changed,
            "switches_changed": done.switches_changed,
            "paths_asked": done.paths_asked,
            "files": rows,
        },
        text=[
            f"Routes by engine {done.engine} ({lanes}) are in force in OpenSM, process {done.pid}",
            f"  tables         {count}",
            read,
            files,
        ],
        main=files,
        warnings=done.notes,
    )
