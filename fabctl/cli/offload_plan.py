"""``fabctl offload plan`` and ``diff``: what would change. Both write nothing but the plan file that is asked for."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from fabctl.cli.common import output_options, say, write_report
from fabctl.cli.completion import complete_names
from fabctl.cli.offload_layouts import laid_out
from fabctl.cli.offload_site import SiteOptions, again, make_site, site_options
from fabctl.errors import ExitCode, UsageError
from fabctl.offload import FEATURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fabctl.cli.offload_layouts import Layout
    from fabctl.cli.offload_site import Reached
    from fabctl.model.offload_plan import Plan
    from fabctl.offload.site import Site

_CONFIRM_MINUTES = "10"
"""What the commands to type next suggest; NVOS's default."""

SAVED = "plan.json"


class Wanted(NamedTuple):
    """What is to be switched; the fields are those of the options."""

    feature: str
    switches: str
    settings: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """As it is typed."""
        words = [self.feature, *(["--switch", self.switches] if self.switches else [])]
        return words + [word for setting in self.settings for word in ("--set", setting)]


def feature_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add FEATURE, ``--switch`` and ``--set`` as one `Wanted`, ``wanted``, whose feature is known."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        wanted = Wanted(*(kwargs.pop(field) for field in Wanted._fields))
        FEATURES.load(wanted.feature)
        return command(*args, wanted=wanted, **kwargs)

    decorated: Callable[..., Any] = wrapped
    for decorate in (
        click.option(
            "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting; repeatable (fabctl help features)."
        ),
        click.option("--switch", "switches", metavar="NODESET", default="", help="These switches only.  [default: all]"),
        click.argument("feature", shell_complete=complete_names(FEATURES)),
    ):
        decorated = decorate(decorated)
    return decorated


@click.command()
@feature_options
@site_options
@click.option("--disable", is_flag=True, help="Plan to switch it off.")
@click.option("--save", type=click.Path(), metavar="FILE", help="Write the plan to FILE, for diff and apply.")
@output_options()
def plan(wanted: Wanted, asked: SiteOptions, disable: bool, save: str | None, output: dict[str, Any]) -> ExitCode:
    """Show what switching a feature on would change; write nothing.

    fabctl help features lists FEATURE. Per place: what it is now, what it would be, how disruptive that is and why; the diff of
    each file; what is read back from the hardware afterwards. A saved plan is applied as it stands, and refused once the
    fabric, its tables or its configuration have changed. Exit code 1: changes are pending; 0: nothing is to be changed; 6: the
    hardware or the subnet manager cannot; 5: of several jobs some have no tree.

    \b
    Examples:
      fabctl offload plan qos --live --driver opensm --save plan.json
      fabctl offload plan congestion-control --live --driver mad --switch 'leaf-[1-4]' --set threshold=8
      fabctl offload plan sharp fabric.txt --job job.yaml
      fabctl offload plan sharp fabric.txt --disable --switch leaf-7 --driver files:folder=rendered
    """
    reached = make_site(asked)
    made = planned(reached.site, wanted, enable=not disable)
    steps = [shlex.join(["fabctl", "offload", "apply", save or SAVED, *how_to_apply(made)])]
    if save:
        save_plan(made, reached.site, save)
    else:
        again_words = [*wanted.words, *again(asked), *(["--disable"] if disable else [])]
        steps.insert(0, shlex.join(["fabctl", "offload", "plan", *again_words, "--save", SAVED]))
    return write_plan(made, reached, output, layout=None if disable else laid_out(reached, wanted), next_step=steps)


@click.command()
@click.argument("plan_path", metavar="PLAN", type=click.Path())
@output_options()
def diff(plan_path: str, output: dict[str, Any]) -> ExitCode:
    """Show what a saved plan would change now.

    Every place that it writes is read again. Exit code 1: something would change; 0: nothing; 6: the plan is stale, with what
    has changed since it was made.

    \b
    Examples:
      fabctl offload diff plan.json
    """
    from fabctl.offload.basis import changes_since
    from fabctl.offload.names import place_label
    from fabctl.offload.planning import pending
    from fabctl.report.offload_diff import diff_report

    made, site = read_plan(plan_path)
    changes = pending(made, site)
    stale = changes_since(made, site) if changes else []
    labels = {change.place: place_label(site.fabric, change.place) for change in changes}
    write_report(diff_report(made.request, changes, labels, stale), output)
    return ExitCode.REFUSED if stale else ExitCode.FINDINGS if changes else ExitCode.DONE


def planned(site: Site, wanted: Wanted, *, enable: bool) -> Plan:
    """Plan a feature, and say what a plan on a dump cannot see."""
    from fabctl.offload.planning import make_plan

    made = make_plan(site, wanted.feature, enable=enable, switches=wanted.switches, settings=wanted.settings)
    if made.changes and site.source != "live" and site.drivers.keys() - {"files"}:
        say("warning: the fabric is read from a file: what has changed since then is not seen; --live sees it")
    return made


def how_to_apply(made: Plan) -> list[str]:
    """Return the options that are suggested to apply a plan: none where nobody could notice, as of files alone."""
    words = ["--confirm", _CONFIRM_MINUTES] if made.risk else []
    return [*words, "--allow-disruptive"] if made.disruptive else words


def save_plan(made: Plan, site: Site, path: str) -> None:
    """Write a plan to a file, with how its site is reached again."""
    from fabctl.atomic import write_atomic
    from fabctl.offload import planfile, reach

    if not site.source:
        raise UsageError("a saved plan reads its fabric again, and stdin cannot be", hint="give the file's name, or --live")
    write_atomic(path, planfile.save_plan(made, reach.describe(site)))


def read_plan(path: str) -> tuple[Plan, Site]:
    """Return a saved plan, and its site, reached again."""
    from fabctl.offload.planfile import load_plan
    from fabctl.offload.reach import planned_site
    from fabctl.sources.reading import decode, read_bytes

    text = decode(read_bytes(path), path)
    return load_plan(text, path), planned_site(text, path)


def write_plan(
    made: Plan, reached: Reached, output: dict[str, Any], *, layout: Layout | None, next_step: Sequence[str]
) -> ExitCode:
    """Write a plan's report, with the commands to type next if there is something to change; return 1 if there is."""
    from fabctl.offload.names import place_label
    from fabctl.offload.planfile import plan_id
    from fabctl.report.offload_plan import plan_report

    stages = (*made.stages, *made.undo)
    places = {change.place for stage in stages for change in stage.changes}
    places |= {check.place for stage in stages for check in stage.checks}
    report = plan_report(
        made,
        plan_id(made),
        {place: place_label(reached.site.fabric, place) for place in places},
        drivers=tuple(reached.site.drivers),
        layout=layout and (layout.text, layout.data),
        next_step=next_step if made.changes else (),
        inputs=reached.inputs,
    )
    write_report(report, output)
    if layout and layout.code:
        return layout.code
    return ExitCode.FINDINGS if made.changes else ExitCode.DONE
