"""``fabctl twin``: the real OpenSM on a simulated copy of a fabric, with real tools inside, and faults."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from fabctl.cli.common import load_source, source_options
from fabctl.errors import UsageError

_VERBS = "cut, lose, restore, counter, drop"


@click.group()
def twin() -> None:
    """Run real tools and whole runbooks on a digital twin of a fabric.

    The twin is Debian's simulator ibsim with the real OpenSM on it: apt-get install opensm ibsim-utils libumad2sim0
    infiniband-diags.

    \b
    Examples:
      fabctl twin run topologies/xgft-64.yaml -- ibtracert 1 14
      fabctl twin run fabric.txt -- bash runbook.sh
      fabctl twin faults cut leaf-1/P20
    """


@twin.command()
@source_options
@click.option("--engine", metavar="NAME", help="OpenSM's routing engine.  [default: minhop]")
@click.option("--tables", metavar="FILE", help="Have OpenSM install these tables in place of an engine's: any that fabctl reads.")
@click.option(
    "--qos-policy", metavar="FILE", help="OpenSM's QoS policy, which gives paths their SL (fabctl route --export opensm)."
)
@click.option("--roots", metavar="FILE", help="Root GUIDs for updn, dnup and ftree, one per line.")
@click.option("--host", metavar="NODE", help="Where OpenSM and the tools run.  [default: the first HCA]")
@click.option("--faults", metavar="FILE", help="Make these faults first (fabctl twin faults --help).")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def run(
    source: str | None,
    source_format: str | None,
    strict: bool,
    engine: str | None,
    tables: str | None,
    qos_policy: str | None,
    roots: str | None,
    host: str | None,
    faults: str | None,
    command: tuple[str, ...],
) -> int:
    """Bring a fabric to life, run COMMAND in it, return its exit code, and clean up.

    COMMAND sees the simulated fabric in place of the machine's own InfiniBand ports. It may be a tool, a shell or a runbook; up
    to nine tools may run at once. FABCTL_TWIN names a folder with the twin's files: opensm.pid, opensm/opensm.log,
    opensm/opensm.conf.

    \b
    Examples:
      fabctl twin run topologies/xgft-64.yaml -- ibtracert 1 14
      fabctl twin run fabric.txt --engine ftree -- bash runbook.sh
      fabctl twin run fabric.txt --tables routes/opensm-lfts.dump --faults faults.yaml -- dump_fts -n
    """
    from fabctl.model.lids import with_lids
    from fabctl.sources.reading import decode, load_tables, read_bytes
    from fabctl.twin.engine import HONOURED, refuse_unknown_engine
    from fabctl.twin.faults import read_faults
    from fabctl.twin.opensm import Settings
    from fabctl.twin.session import find_command, run_inside
    from fabctl.twin.twin import Twin

    if not command:
        raise UsageError("no COMMAND", hint="fabctl twin run SOURCE -- ibnetdiscover")
    if engine and tables:
        raise UsageError("--tables excludes --engine: OpenSM installs them with its engine file")
    if roots and "root" not in HONOURED.get(engine or "", ()):
        raise UsageError("--roots is for updn, dnup and ftree")
    refuse_unknown_engine(engine or "minhop")
    program = [find_command(command[0]), *command[1:]]
    script = read_faults(faults, decode(read_bytes(faults), faults)) if faults else []
    for path in filter(None, (qos_policy, roots)):
        read_bytes(path)
    loaded = load_source(source, source_format, strict=strict)
    fabric, _ = with_lids(loaded.fabric)
    settings = Settings(
        engine=engine or "minhop",
        qos_policy=Path(qos_policy) if qos_policy else None,
        roots=Path(roots) if roots else None,
    )
    with Twin(fabric, settings, tables=load_tables(tables, fabric) if tables else None, host=host or "") as live:
        if script:
            live.inject(script)
        return run_inside(live, program)


def _complete_verb(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    if context.params.get("words"):
        return []
    return [CompletionItem(verb) for verb in _VERBS.split(", ") if verb.startswith(incomplete)]


@twin.command()
@click.option("-f", "--file", "path", metavar="FILE", help="A list of faults in YAML, like: - cut: leaf-1/P20")
@click.option("--no-wait", is_flag=True, help="Do not wait until OpenSM has routed around the faults.")
@click.argument("words", nargs=-1, metavar="[FAULT NAME...]", shell_complete=_complete_verb)
def faults(path: str | None, no_wait: bool, words: tuple[str, ...]) -> None:
    """Cut links, lose nodes, set error counters: inside a running twin, from a runbook.

    \b
    Examples:
      fabctl twin faults cut leaf-1/P20 leaf-2/P20
      fabctl twin faults lose spine-3
      fabctl twin faults restore leaf-1/P20 spine-3
      fabctl twin faults counter leaf-1/P3 SymbolErrorCounter=77 PortXmitWait=1000
      fabctl twin faults drop n0004 30
      fabctl twin faults --file faults.yaml

    Names are those that fabctl prints, node/PORT for a port. A file holds the same words, done in its order, all or none where a
    name is wrong. drop loses a share in percent of the management packets that are sent to a node.
    """
    from fabctl.sources.reading import decode, read_bytes
    from fabctl.twin.control import send_faults
    from fabctl.twin.faults import parse_faults, read_faults

    if bool(path) == bool(words):
        raise UsageError("give faults or --file FILE", hint=f"faults: {_VERBS}; like: fabctl twin faults cut leaf-1/P20")
    asked = read_faults(path, decode(read_bytes(path), path)) if path else parse_faults(words[0], words[1:])
    send_faults(asked, wait=not no_wait)
