"""Options that make a `Site`: the fabric, what is known beside it, and who can reach it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from fabctl.cli.common import check_report, input_entry, load_source, refuse_two_stdins, source_options
from fabctl.cli.completion import complete_names
from fabctl.cli.hardware import node_options
from fabctl.errors import InputError, UsageError
from fabctl.offload import DRIVERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fabctl.model.fabric import Fabric
    from fabctl.offload.driver import Driver
    from fabctl.offload.site import Site
    from fabctl.sources.reading import LoadedFabric

LARGEST_CAPTURE = 64 << 20
_NEXT_KEY = re.compile(r",(?=\w+=)")


class SiteOptions(NamedTuple):
    """What a command line says about a site; the fields are those of the options."""

    source: str | None
    source_format: str | None
    strict: bool
    live: bool
    tables_path: str | None
    job_paths: tuple[str, ...]
    node_name: str | None
    drivers: tuple[str, ...]
    captured: str | None


def site_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add SOURCE, ``--live``, ``--driver`` and the others as one `SiteOptions`, ``asked``, for `make_site`."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return command(*args, asked=SiteOptions(*(kwargs.pop(field) for field in SiteOptions._fields)), **kwargs)

    decorated: Callable[..., Any] = wrapped
    for decorate in (
        click.option(
            "--captured", metavar="DIR", help="Texts captured on hosts (lspci -vvv, nvidia-smi topo -m, sysfs), and opensm.conf."
        ),
        click.option(
            "--driver",
            "drivers",
            multiple=True,
            metavar="NAME[:KEY=VALUE,...]",
            shell_complete=complete_names(DRIVERS),
            help=f"Who reads and writes; repeatable: {', '.join(DRIVERS.names())} (fabctl help drivers).",
        ),
        node_options,
        click.option("--job", "job_paths", multiple=True, metavar="FILE", help="Job that runs or will run; repeatable."),
        click.option("--tables", "tables_path", metavar="FILE", help="What the switches hold: dump_fts, opensm-lfts.dump."),
        click.option("--live", is_flag=True, help="The fabric that this machine is on, in place of SOURCE."),
        source_options,
    ):
        decorated = decorate(decorated)
    return decorated


class Reached(NamedTuple):
    """A site, the lines of its files in the envelope's ``inputs``, and what its jobs are called."""

    site: Site
    inputs: list[dict[str, Any]]
    job_names: tuple[str, ...]


def make_site(asked: SiteOptions) -> Reached:
    """Return the site that a command line asks for.

    Raises
    ------
    UsageError
        For drivers and keys that do not exist.
    FabctlError
        If a file cannot be read, or the live fabric or a driver cannot be reached.
    """
    from fabctl.cli.hardware import chosen_node, node_inputs
    from fabctl.cli.job_files import read_jobs
    from fabctl.offload.site import Site
    from fabctl.sources.reading import load_tables
    from fabctl.traffic.placement import place_jobs

    refuse_two_stdins(asked.source, asked.job_paths)
    wanted = dict(_driver(text) for text in asked.drivers)
    if len(wanted) < len(asked.drivers):
        raise UsageError("--driver names one twice")
    loaded = _fabric(asked)
    specs, job_inputs = read_jobs(asked.job_paths) if asked.job_paths else ((), [])
    site = Site(
        fabric=loaded.fabric,
        drivers=_made(wanted, loaded.fabric),
        tables=load_tables(asked.tables_path, loaded.fabric) if asked.tables_path else None,
        jobs=place_jobs(specs, loaded.fabric),
        node=chosen_node(asked.node_name, specs[0] if specs else None, loaded.report),
        captured=_captured(Path(asked.captured)) if asked.captured else {},
        source="live" if asked.live else "" if loaded.report.path == "-" else str(Path(loaded.report.path).absolute()),
    )
    inputs = [input_entry(loaded), *job_inputs, *node_inputs(asked.node_name)]
    return Reached(site, inputs, tuple(spec.name for spec in specs))


def _fabric(asked: SiteOptions) -> LoadedFabric:
    if not asked.live:
        return load_source(asked.source, asked.source_format, strict=asked.strict)
    from fabctl.sources.live import discover_live

    if asked.source is not None:
        raise UsageError(f"--live reads this machine's fabric, not {asked.source}", hint="leave one of them out")
    loaded = discover_live()
    check_report(loaded, strict=asked.strict)
    return loaded


def _driver(text: str) -> tuple[str, dict[str, str]]:
    """Return the name and the options of ``NAME:KEY=VALUE,...``; a comma before anything but KEY= belongs to the value."""
    name, _, rest = text.partition(":")
    known = DRIVERS.load(name).keys
    options: dict[str, str] = {}
    for part in _NEXT_KEY.split(rest) if rest else ():
        key, equals, value = part.partition("=")
        if not equals or key not in known or key in options:
            what = f"has '{key}' twice" if key in options else f"takes no '{part}'"
            keys = ", ".join(f"{key}=" for key in known) or "nothing"
            raise UsageError(f"driver '{name}' {what}", hint=f"it takes {keys} (fabctl help drivers)")
        options[key] = value
    return name, options


def _made(wanted: Mapping[str, Mapping[str, str]], fabric: Fabric) -> dict[str, Driver]:
    return {name: DRIVERS.load(name).make(options, fabric) for name, options in wanted.items()}


def _captured(folder: Path) -> dict[str, str]:
    """Return the texts of a folder and of the folders in it, by path within it; an empty one says that there was nothing."""
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder))
    texts = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            if path.stat().st_size > LARGEST_CAPTURE:
                raise InputError(f"larger than {LARGEST_CAPTURE >> 20} MiB: is this a text?", where=str(path))
            texts[path.relative_to(folder).as_posix()] = path.read_bytes().decode("utf-8", "replace")
    return texts


def again(asked: SiteOptions) -> Sequence[str]:
    """Return the words that make the same site in another command."""
    words = [asked.source] if asked.source else []
    words += ["--live"] if asked.live else []
    words += ["--strict"] if asked.strict else []
    for option, values in (
        ("--from", (asked.source_format,)),
        ("--tables", (asked.tables_path,)),
        ("--job", asked.job_paths),
        ("--node", (asked.node_name,)),
        ("--driver", asked.drivers),
        ("--captured", (asked.captured,)),
    ):
        words += [word for value in values if value for word in (option, value)]
    return words
