"""What OpenSM needs to install routes as they are: tables for its ``file`` engine, and how to start it."""

from __future__ import annotations

from fabctl.model.routes import Assessment
from fabctl.routing.exports.bundle import refuse_unsafe, write_bundle
from fabctl.routing.exports.lfts import lft_dump
from fabctl.routing.options import Options

LFTS = "opensm-lfts.dump"


def opensm(assessment: Assessment, folder: str, _options: Options) -> None:
    """Write the folder.

    Raises
    ------
    RefusedError
        If the tables are not safe: OpenSM would install them as they are.
    InputError
        If the folder cannot be made or written.
    """
    refuse_unsafe(assessment, folder)
    tables = assessment.tables
    readme = _README.format(origin=tables.origin, switches=tables.fabric.n_switches)
    write_bundle(folder, "opensm", assessment, {LFTS: lft_dump(tables), "README": readme})


_README = """\
Forwarding tables by engine {origin} for {switches} switches, computed by fabctl.

Try them once:        opensm -o -R file,no_fallback -U opensm-lfts.dump
Keep them installed:  in opensm.conf: routing_engine file,no_fallback and lfts_file /path/to/opensm-lfts.dump
After a new export:   replace the file, then kill -HUP the running opensm
Read them back:       dump_fts > installed.txt; fabctl route fabric.txt --tables installed.txt

OpenSM checks nothing but port numbers: run fabctl route on the tables first. It says on its log, not with its exit code,
whether it took them: look for "file tables configured on all switches". Make a new export whenever the fabric changes.
"""
