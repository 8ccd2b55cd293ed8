"""``fabctl offload``: offloads of the fabric and its hosts, planned, applied, verified and taken back."""

from __future__ import annotations

import click

from fabctl.cli.lazy import LazyGroup
from fabctl.registry import Entry, Registry

SUBCOMMANDS = Registry(
    "subcommand",
    {
        "list": Entry(
            "fabctl.cli.offload_list:list_features", "Show what is on, what could be, and why not: features x switches."
        ),
        "plan": Entry("fabctl.cli.offload_plan:plan", "Show what switching a feature on would change; write nothing."),
        "diff": Entry("fabctl.cli.offload_plan:diff", "Show what a saved plan would change now."),
        "apply": Entry("fabctl.cli.offload_apply:apply", "Apply a saved plan, read it back, undo it if it does not hold."),
        "verify": Entry("fabctl.cli.offload_operation:verify", "Read an operation's values back from the hardware again."),
        "confirm": Entry("fabctl.cli.offload_operation:confirm", "Keep what was applied with --confirm."),
        "rollback": Entry("fabctl.cli.offload_operation:rollback", "Put the old values of an operation back."),
        "recover": Entry("fabctl.cli.offload_upkeep:recover", "Finish or undo what was cut off."),
        "drift": Entry("fabctl.cli.offload_upkeep:drift", "Show what is no longer as fabctl left it."),
        "history": Entry("fabctl.cli.offload_upkeep:history", "Show what was applied, and the evidence of one operation."),
        "enable": Entry("fabctl.cli.offload_enable:enable", "Plan a feature and, with --yes, apply it."),
        "disable": Entry("fabctl.cli.offload_enable:disable", "Plan to switch a feature off and, with --yes, apply that."),
    },
)


@click.group(cls=LazyGroup, table=SUBCOMMANDS)
def offload() -> None:
    """Switch offloads on safely: plan, apply, verify, undo.

    plan writes nothing and says per switch what would change and how disruptive that is; apply does only that, reads it back
    from the hardware, and puts the old values back if it does not hold. FABCTL_STATE_DIR is where fabctl remembers what it did.

    \b
    Examples:
      fabctl offload list fabric.txt
      fabctl offload plan qos --live --driver opensm --save plan.json
      fabctl offload apply plan.json --confirm 10
      fabctl offload confirm 1
    """
