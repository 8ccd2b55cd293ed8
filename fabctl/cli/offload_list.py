"""``fabctl offload list``: what is on, what could be, and why not."""

from __future__ import annotations

from typing import Any

import click

from fabctl.cli.common import output_options, write_report
from fabctl.cli.completion import complete_names
from fabctl.cli.offload_site import SiteOptions, make_site, site_options
from fabctl.cli.routes import split_names
from fabctl.errors import ExitCode
from fabctl.offload import FEATURES


@click.command("list")
@site_options
@click.option("--feature", "names", metavar="A,B", shell_complete=complete_names(FEATURES), help="These only.  [default: all]")
@output_options()
def list_features(asked: SiteOptions, names: str | None, output: dict[str, Any]) -> ExitCode:
    """Show what is on, what could be, and why not: features x switches.

    Switches that are alike are counted, those that differ are named; -o wide shows each, -o csv has a row for each feature and
    place. on and off were read from it; can and cannot follow from what is known of the hardware and the subnet manager; what
    neither says is unknown. Exit code 5: a feature could not be read.

    \b
    Examples:
      fabctl offload list fabric.txt
      fabctl offload list --live --driver opensm --driver mad
      fabctl offload list fabric.txt --feature sharp,adaptive-routing -o csv --filter status=cannot
      fabctl offload list fabric.txt --captured hosts/ --feature gdr
    """
    from fabctl.offload.survey import survey
    from fabctl.report.offload_list import survey_report

    features = split_names(names, "--feature") if names else ()
    for name in features:
        FEATURES.load(name)
    reached = make_site(asked)
    found = survey(reached.site, features)
    write_report(survey_report(found, reached.inputs), output)
    return ExitCode.PARTIAL if found.unread else ExitCode.DONE
