"""``fabctl help TOPIC``: what is true of all commands, generated from what the code does wherever it can be."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from fabctl.cli.common import TEXT_FORMATS, topology_folders
from fabctl.cli.completion import complete_names
from fabctl.errors import ExitCode
from fabctl.registry import Entry, Registry

TOPICS = Registry(
    "help topic",
    {
        "exit-codes": Entry("fabctl.cli.help:exit_codes", "What each exit code means."),
        "formats": Entry("fabctl.cli.help:formats", "What -o prints, and the JSON envelope."),
        "environment": Entry("fabctl.cli.help:environment", "The variables that fabctl reads."),
        "topologies": Entry("fabctl.cli.help:topologies", "The topologies that can be named in place of a file."),
        "nodes": Entry("fabctl.cli.help:nodes", "The node types that --node and a job's node: take."),
        "job": Entry("fabctl.cli.help:job", "The keys of a job file."),
        "features": Entry("fabctl.cli.help:features", "The offloads of fabctl offload, and what --set takes."),
        "drivers": Entry("fabctl.cli.help:drivers", "Who reads and writes for fabctl offload, and what --driver takes."),
    },
)

FORMATS = {
    "table": "aligned columns for people; framed on a terminal",
    "wide": "the same with more columns",
    "json": "the envelope below, for programs",
    "jsonl": "one JSON object per row of the main table",
    "yaml": "the envelope as YAML; slow for large fabrics",
    "csv": "the rows of the main table",
    "name": "the names in the main table, one per line",
}

ENVELOPE = {
    "schema_version": "MAJOR.MINOR: a new minor only adds keys, a new major breaks readers",
    "kind": "what data is: FabricSummary, RouteReport ...",
    "fabctl_version": "what wrote it",
    "ok": "false if any finding is an error",
    "inputs": "path, sha256 and parser of each input",
    "data": "the payload; units are in the names (bandwidth_gbps, latency_us), GUIDs are 0x and 16 digits",
    "findings": "code, severity (error, warning, info), subject, message and items (all that it is about)",
    "warnings": "what the text formats print on stderr",
    "errors": "what a failed command says on stderr; the kind is then Failure and ok is false",
}

ENVIRONMENT = {
    "FABCTL_TOPOLOGY_PATH": "folders with topologies of your own, separated by colons; searched before the shipped ones",
    "FABCTL_STATE_DIR": "where fabctl offload keeps its journal and its locks",
    "XDG_STATE_HOME": "where they are without that, in fabctl/, unless you are root: /var/lib/fabctl",
    "FABCTL_TWIN": "folder of the twin that a program runs in; set by fabctl twin run",
    "LD_PRELOAD": "with umad2sim in it the InfiniBand tools talk to a simulator: congestion control is refused there",
    "FABCTL_DEBUG": "set: an internal error shows its traceback",
    "NO_COLOR": "set: plain text on terminals too",
    "TERM": "dumb: the same",
}


@click.command()
@click.argument("topic", required=False, shell_complete=complete_names(TOPICS))
def help_topic(topic: str | None) -> None:
    """Explain exit codes, formats, environment, job files, offloads.

    \b
    Examples:
      fabctl help
      fabctl help exit-codes
    """
    if topic is None:
        summaries = ((name, entry.summary) for name, entry in TOPICS.entries.items())
        click.echo("Topics (what one command does: fabctl COMMAND --help):\n\n" + _columns(summaries), nl=False)
    else:
        click.echo(TOPICS.load(topic)(), nl=False)


def exit_codes() -> str:
    """Return the table of exit codes."""
    return _columns((str(int(code)), code.meaning) for code in ExitCode)


def formats() -> str:
    """Return what ``-o`` prints and the JSON envelope."""
    return (
        "Data goes to stdout, everything else to stderr. -o FORMAT chooses what stdout gets:\n\n"
        + _columns((name, FORMATS[name]) for name in TEXT_FORMATS)
        + "\nThe main table can be cut to size with --columns, --sort-by and --filter; a command's --help lists the further\n"
        "formats that it exports. --out FILE writes the file whole or not at all.\n"
        "\nThe envelope of -o json and -o yaml is the same for all commands. Ignore keys that you do not know.\n\n"
        + _columns(ENVELOPE.items())
    )


def environment() -> str:
    """Return the environment variables that fabctl reads."""
    return _columns(ENVIRONMENT.items())


def topologies() -> str:
    """Return the topologies that a name finds, with the first line of each file, and the families for one's own."""
    from fabctl.generate import FAMILIES

    first_lines: dict[str, str] = {}
    for folder in reversed(topology_folders()):
        first_lines |= _first_lines(folder.glob("*.yaml"))
    families = [(name, FAMILIES.entries[name].summary) for name in FAMILIES.names()]
    return (
        "Each name can stand for SOURCE:\n\n"
        + _columns(sorted(first_lines.items()))
        + "\nSo can a YAML file of your own that says 'family: ' and one of these (docs/topologies.md has their keys):\n\n"
        + _columns(families)
    )


def nodes() -> str:
    """Return the shipped node types, with the first line of each file, and what else stands for one."""
    from fabctl.nodes.shipped import ALIASES, node_folders

    files = [path for folder in node_folders() for path in folder.glob("*.yaml")]
    return (
        "Each name can stand for NODE:\n\n"
        + _columns(sorted(_first_lines(files).items()))
        + "\nA topology's node_type means:\n\n"
        + _columns(ALIASES.items())
        + "\nSo can a file: the YAML of one of these, changed (docs/nodes.md); what 'nvidia-smi topo -m' prints on a host; or\n"
        "the XML that NCCL writes there (NCCL_TOPO_DUMP_FILE).\n"
    )


def job() -> str:
    """Return job files with every key, as the modules that read them document them, and what is read in their place."""
    from fabctl.traffic import job as reader
    from fabctl.traffic import training_spec
    from fabctl.traffic.inputs import JOB_SOURCES
    from fabctl.traffic.model_presets import preset, preset_names

    others = ((name, JOB_SOURCES.entries[name].summary) for name in JOB_SOURCES.names()[:-1])
    models = ((name, preset(name).title) for name in preset_names())
    return (
        "# A job file (docs/jobs.md says more):\n"
        + _example(reader.__doc__)
        + "\n# A training has, in place of collective or pattern, algorithm, size and pxn being as above:\n"
        + _example(training_spec.__doc__)
        + "\n# Several jobs in one file:\njobs:\n  - {name: one, hosts: 16, model: llama3-8b}\n  - {name: two, hosts: 8}\n"
        + "\nModels (sources in docs/jobs.md):\n\n"
        + _columns(models)
        + "\nRead in place of a job file, found by content (docs/job-inputs.md):\n\n"
        + _columns(others)
    )


def features() -> str:
    """Return the offloads with the keys of ``--set``."""
    from fabctl.offload import FEATURES

    return (
        "fabctl offload plan FEATURE [--switch NODESET] [--set KEY=VALUE]... (docs/offload.md says what each needs):\n\n"
        + _with_keys(FEATURES)
    )


def drivers() -> str:
    """Return the drivers with their options."""
    from fabctl.offload import DRIVERS

    return (
        "--driver NAME[:KEY=VALUE,KEY=VALUE...], once for each driver that is needed:\n\n"
        + _with_keys(DRIVERS)
        + "\nA comma belongs to the value unless KEY= follows it. A secret is named by the path of its file.\n"
    )


def _with_keys(registry: Registry) -> str:
    """Return a registry's entries, each with the keys that it takes below it."""
    blocks = []
    for name, entry in registry.entries.items():
        keys = registry.load(name).keys
        blocks.append(f"  {name}  {entry.summary}\n" + _columns((f"  {key}=", meaning) for key, meaning in keys.items()))
    return "\n".join(blocks)


def _example(doc: str | None) -> str:
    """Return the indented block of a module's docstring, without its indentation."""
    from textwrap import dedent

    block = (doc or "").partition("::\n\n")[2]
    return dedent("".join(line for line in block.splitlines(keepends=True) if line.startswith("    "))).rstrip() + "\n"


def _first_lines(paths: Iterable[Path]) -> dict[str, str]:
    """Return the first line of each file, without its comment sign, by name."""
    lines = {}
    for path in paths:
        with path.open(encoding="utf-8") as stream:
            lines[path.stem] = stream.readline().lstrip("# ").rstrip()
    return lines


def _columns(pairs: Iterable[tuple[str, str]]) -> str:
    rows = list(pairs)
    width = max((len(left) for left, _ in rows), default=0)
    return "".join(f"  {left:<{width}}  {right}".rstrip() + "\n" for left, right in rows)
