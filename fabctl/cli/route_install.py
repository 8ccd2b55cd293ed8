"""``fabctl route install``: hand an export to the OpenSM that runs here, and read every table back."""

from __future__ import annotations

from typing import Any

import click

from fabctl.cli.common import output_options, say, write_report
from fabctl.errors import ExitCode


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path())
@click.option("--opensm-pid", "pid", type=click.IntRange(min=1), metavar="PID", help="OpenSM's process.  [default: the only one]")
@click.option(
    "--conf-dir", type=click.Path(), default="/etc/opensm", show_default=True, metavar="DIR", help="Where its opensm.conf lies."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="For the switches to follow.",
)
@output_options()
def install(folder: str, pid: int | None, conf_dir: str, timeout: float, output: dict[str, Any]) -> ExitCode:
    """Install exported routes in the running OpenSM; read every table back.

    DIR is what fabctl route --export opensm wrote. The files are exchanged whole where opensm.conf names them, OpenSM is told to
    read them (HUP), and every switch's table is read back. If they differ the old files are put back.

    \b
    Examples:
      fabctl route --live --engine updn --export opensm routes/
      fabctl route install routes/
      fabctl route install routes/ --opensm-pid 4711 --conf-dir /etc/opensm --timeout 300

    Exit code 6: the export was edited or does not fit. 7: it did not take, all is as before. 8: the old routes did not come back.
    """
    from fabctl.install.apply import install as install_routes
    from fabctl.report.install import install_report

    done = install_routes(folder, pid=pid, conf_dir=conf_dir, timeout_s=timeout, say=say)
    write_report(install_report(done), output)
    return ExitCode.DONE
