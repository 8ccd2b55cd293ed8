"""Options that engines may honour, as commands offer them and as engines take them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fabctl.errors import UsageError

if TYPE_CHECKING:
    from fabctl.model.fabric import Fabric
    from fabctl.routing.options import Options

_NAMES = ("roots", "roots_path", "ignored", "ignored_path", "vls", "weights_path")
MOST_VLS = 15


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--root``, ``--ignore-port``, ``--vls``, ``--hop-weights`` and the file forms as one dict, ``asked``."""
    command = _collected(command)
    for decorate in (
        click.option("--hop-weights", "weights_path", metavar="FILE", help="OpenSM's hop weights: GUID, port, weight to a line."),
        click.option(
            "--vls", type=click.IntRange(1, MOST_VLS), metavar="N", help="Data virtual lanes to use at most.  [default: 8]"
        ),
        click.option("--ignore-ports", "ignored_path", metavar="FILE", help="The same from a file, one to a line (opensm -i)."),
        click.option(
            "--ignore-port",
            "ignored",
            multiple=True,
            metavar="NODE/Pn",
            help="HCA port that is not balanced; repeatable.",
        ),
        click.option("--roots", "roots_path", metavar="FILE", help="The same from a file, one to a line (opensm -a)."),
        click.option("--root", "roots", multiple=True, metavar="SWITCH", help="Switch at the top, by GUID or name; repeatable."),
    ):
        command = decorate(command)
    return command


def refuse_options(asked: dict[str, Any], why: str) -> None:
    """Raise `UsageError` if any of the options was given."""
    if any(asked.values()):
        raise UsageError(f"--root, --ignore-port, --vls and --hop-weights are for engines: {why}")


def read_options(fabric: Fabric, asked: dict[str, Any]) -> Options:
    """Return the options that a command line asks for on a fabric.

    Raises
    ------
    InputError
        If a file cannot be read, or a switch or port does not exist.
    """
    from fabctl.model.lookup import find_hca_port, find_switch
    from fabctl.routing.options import DATA_VLS, Options
    from fabctl.sources.option_files import read_hop_weights, read_names

    def entries(given: tuple[str, ...], path: str | None, option: str) -> list[tuple[str, str]]:
        return [(text, option) for text in given] + (list(read_names(path)) if path else [])

    roots = {find_switch(fabric, text, where) for text, where in entries(asked["roots"], asked["roots_path"], "--root")}
    ignored = {
        find_hca_port(fabric, text, where)
        for text, where in entries(asked["ignored"], asked["ignored_path"], "--ignore-port")
    }  # fmt: skip
    return Options(
        max_vls=asked["vls"] or DATA_VLS,
        roots=tuple(sorted(roots)),
        ignored=tuple(sorted(ignored)),
        hop_weight=read_hop_weights(asked["weights_path"], fabric) if asked["weights_path"] else None,
    )


def _collected(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        asked = {name: kwargs.pop(name) for name in _NAMES}
        return command(*args, asked=asked, **kwargs)

    return wrapped
