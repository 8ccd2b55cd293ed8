"""What ``fabctl explain`` prints: the sentence and what to do first, then the hops, then who else is on the cable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fabctl.model.named import Cable, JobShare, RankPair
from fabctl.model.pairs import Hop, Leg, PairExplanation, Trial
from fabctl.report.output import Column, Report, Table, exact, rounded
from fabctl.report.slowdown import job_notes

SHARE = 0.99
"""A rate at this share of another counts as equal to it."""

NAMED = 2
"""Jobs that a line names; JSON has all."""
SLOW_LEGS = 8
"""Legs that are listed without ``-o wide``."""

_ROUTE = (Column("route", "ROUTE"), Column("hop", "HOP", right=True))
_CABLE = (
    Column("from", "FROM"),
    Column("from_port", "PORT OUT", right=True),
    Column("to", "TO"),
    Column("to_port", "PORT IN", right=True),
    Column("speed", "SPEED"),
)
_JOB_LOAD = (
    Column("step_bytes", "BYTES/STEP", right=True, digits=0),
    Column("flows", "FLOWS (THE LARGEST)"),
    Column("phases", "OF PHASES", wide=True),
    Column("own_share", "OWN", right=True),
)
_ALL_LOAD = (Column("sources", "FLOWS", right=True),)
_NOTE = (Column("note", "NOTE"),)
_ALL_TO_ALL_GB_S = Column("now_gb_s", "ALL-TO-ALL GB/s", right=True, digits=2)
_LEGS = (
    Column("rail", "RAIL", right=True),
    Column("source", "FROM"),
    Column("target", "TO"),
    Column("hops", "HOPS", right=True),
    Column("host_gb_s", "HCA GB/s", right=True, digits=2, wide=True),
    Column("alone_gb_s", "ALONE GB/s", right=True, digits=2),
    Column("now_gb_s", "NOW GB/s", right=True, digits=2),
    Column("binds", "CABLE THAT BINDS"),
)
_ENDS = (Column("source", "FROM"), Column("target", "TO"))
_FLOWS = (
    Column("job", "JOB"),
    Column("phase", "PHASE"),
    Column("source", "FROM"),
    Column("target", "TO"),
    Column("bytes", "BYTES", right=True, digits=0),
    Column("gb_s", "GB/s", right=True, digits=2),
    Column("source_port", "HCA", wide=True),
    Column("target_port", "HCA", wide=True),
)
_TRIALS = (
    Column("change", "CHANGE"),
    Column("after_gb_s", "GB/s", right=True, digits=2),
    Column("slowest", "TIME OF ALL", right=True),
    Column("helps", "HELPS"),
    Column("what", "WHAT"),
    Column("binds", "THEN BINDS", wide=True),
)
_NAMES = {"cable": "mend a cable", "entry": "table entry", "rail": "other rail", "swap": "swap hosts", "engine": "other tables"}


def explain_report(
    found: PairExplanation,
    *,
    inputs: Sequence[Mapping[str, Any]],
    remarks: Sequence[str] = (),
    notes: Mapping[str, Sequence[str]] | None = None,
) -> Report:
    """Return the report of a pair.

    Parameters
    ----------
    remarks : sequence of str
        Lines for people about how the command came to its routes.
    notes : mapping of str to sequence of str, optional
        What was decided for each job.
    """
    worst, notes = found.legs[found.worst], notes or {}
    both = [leg for leg in found.legs if leg.rail == worst.rail and {leg.source, leg.target} == {worst.source, worst.target}]
    load = _JOB_LOAD if found.jobs else _ALL_LOAD if found.all_to_all_ports else ()
    columns = (*_ROUTE, *_CABLE, *load, *_NOTE)
    every = [row for leg in found.legs for row in _hop_rows(found, leg)]
    shown = [row for leg in sorted(both, key=lambda leg: leg is not worst) for row in _hop_rows(found, leg)]
    text: list[str | Table] = [
        *_sentences(found, worst),
        *(f"  {remark}" for remark in remarks),
        Table("Routes, there and back", columns[1:], shown),
    ]
    if len(found.legs) > 2:
        text += [*_leg_tables(found), Table("Routes of all rails", columns, every, wide=True)]
    if found.competitors:
        others = sum(share.flows for share in found.competing)
        title = f"Other flows on {worst.hops[worst.now_binds].cable.label}: {others:,}"
        text.append(Table(title, _FLOWS if found.jobs else _ENDS, [_pair_data(pair) for pair in found.competitors]))
    tried = [_trial_row(trial) for trial in found.trials if trial.kind != "none"]
    if tried:
        text.append(Table("What was tried", _TRIALS, tried))
    return Report(
        kind="ExplainReport",
        data=_data(found, [*remarks, *(f"{job}: {note}" for job, lines in notes.items() for note in lines)]),
        text=[*text, *job_notes(notes)],
        main=Table("Routes", columns, every),
        inputs=inputs,
        findings=found.findings,
        warnings=found.notes,
    )


def _leg_tables(found: PairExplanation) -> Iterator[Table]:
    """Yield the legs that are slower than their HCAs, slowest first, and with ``-o wide`` all where these are more."""
    columns = _LEGS if found.jobs else tuple(_ALL_TO_ALL_GB_S if column.key == "now_gb_s" else column for column in _LEGS)
    lost = [leg for leg in found.legs if leg.problem]
    slow = lost or [leg for leg in found.legs if leg.now_gb_s < SHARE * leg.host_gb_s]
    shown = sorted(slow, key=lambda leg: rounded(leg.now_gb_s))[:SLOW_LEGS]
    if shown:
        what = "Legs that are lost" if lost else "Legs slower than their HCAs"
        more = f", the slowest {SLOW_LEGS}" if len(slow) > SLOW_LEGS else ""
        title = f"{what}: {len(slow)} of {len(found.legs)}{more}"
        yield Table(title, columns, [_leg_row(found, leg) for leg in shown])
    if len(shown) < len(found.legs):
        yield Table("All rails", columns, [_leg_row(found, leg) for leg in found.legs], wide=True)


def _sentences(found: PairExplanation, worst: Leg) -> Iterator[str]:
    rail = f" on rail {worst.rail}" if worst.rail >= 0 and len(found.legs) > 2 else ""
    way = f"{worst.source} > {worst.target}{rail}"
    if worst.problem:
        yield f"{way} (LID {worst.target_lid}) is NOT REACHED: {worst.problem}."
        yield f"Routes of {found.routes}. Nothing is scored: fabctl route names every pair that is lost."
        return
    yield f"{way} {_rate(found, worst)}"
    yield _blame(found, worst)
    yield _advice(worst, found.advice) if found.advice else _no_advice(found)
    yield _against(found)


def _rate(found: PairExplanation, worst: Leg) -> str:
    host, whole = f"{worst.host_gb_s:.2f} GB/s", worst.now_gb_s >= SHARE * worst.host_gb_s
    if not found.loads_known:
        return f"gets {worst.alone_gb_s:.2f} of {host} with nothing else on the fabric; what else is on its way is not known."
    if not found.jobs:
        if whole:
            return f"is no obstacle to an all-to-all at the {host} of its HCA ports."
        return f"holds an all-to-all down to {worst.now_gb_s:.2f} of {host} per HCA port."
    if whole:
        return f"gets {worst.now_gb_s:.2f} GB/s, all that its HCAs' own cables carry."
    clash = worst.alone_gb_s < SHARE * worst.host_gb_s
    alone = f", and {worst.alone_gb_s:.2f} with nothing else on the fabric: the pair's own rails collide" if clash else ""
    return f"gets {worst.now_gb_s:.2f} of {host}{alone}."


def _blame(found: PairExplanation, worst: Leg) -> str:
    binding = worst.hops[worst.now_binds]
    cable = binding.cable
    slow = f" instead of {binding.slower_than}" if binding.slower_than else ""
    what = f"What binds is {cable.label} ({cable.speed}{slow}, {cable.data_gbps:.0f} Gb/s)"
    own = [leg for leg in found.legs if leg is not worst and any(hop.cable == cable for hop in leg.hops)]
    if own and not found.competing:
        return f"{what}, which also carries the pair's own {', '.join(f'{leg.source} > {leg.target}' for leg in own)}."
    if not found.competing:
        return f"{what}; nothing else is on it." if found.loads_known else f"{what}."
    if not found.jobs:
        others = f"{found.competing[0].flows:,} other flows of {found.all_to_all_ports:,} HCA ports that send all to all"
        return f"{what}, which carries {others}."
    first, others = found.competitors[0], _competing(found)
    named = f"{first.source} > {first.target}"
    if sum(share.flows for share in found.competing) == 1:
        others = others.replace("1 flow", named)
    else:
        others = f"{others}, the largest {named}"
    return f"{what}, which also carries {others}{', and the other rails of the pair' if own else ''}."


def _competing(found: PairExplanation) -> str:
    """Return whose flows are on the cable: job by job, or phase by phase of the only one."""
    flows: dict[str, int] = {}
    for share in found.competing:
        name = share.job if len(found.jobs) > 1 else f"{share.job} ({share.phase})"
        flows[name] = flows.get(name, 0) + share.flows
    (first, count), *rest = flows.items()
    parts = [f"{count:,} flow{'' if count == 1 else 's'} of {first}", *(f"{count:,} of {name}" for name, count in rest[:NAMED])]
    if len(rest) > NAMED:
        parts.append(f"{sum(count for _, count in rest[NAMED:]):,} of {len(rest) - NAMED} more")
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _advice(worst: Leg, trial: Trial) -> str:
    after = trial.after_gb_s or 0.0
    gain = f"{worst.now_gb_s:.2f} -> {after:.2f} GB/s ({after / worst.now_gb_s:.2f}x)"
    shorter = trial.slowest is not None and trial.slowest < SHARE
    rest = f"; all of this traffic then takes {trial.slowest:.2f} of its time" if shorter else ""
    return f"Do first: {trial.what}: {gain}, then {trial.binds} binds{rest}."


def _no_advice(found: PairExplanation) -> str:
    if not found.loads_known:
        return "Mend the tables first: fabctl route names every pair that is lost."
    trials = found.trials
    none = next((trial.what for trial in trials if trial.kind == "none"), "")
    if none:
        return f"Nothing to change: {none}."
    command = next((trial.command for trial in trials if trial.command), "")
    return f"No single change that was tried helps. Next: {command}" if command else "No single change that was tried helps."


def _against(found: PairExplanation) -> str:
    if found.jobs:
        phases = _named([f"{job} in {phase}" for job, phase in found.phases]) or "jobs that send nothing"
        return f"Routes of {found.routes}, among {phases}; payload, max-min fair."
    if not found.loads_known:
        return f"Routes of {found.routes}; payload, max-min fair."
    return f"Routes of {found.routes}, among an all-to-all of {found.all_to_all_ports:,} HCA ports (or --job FILE); payload."


def _named(entries: Sequence[str], count: int = NAMED) -> str:
    more = len(entries) - count
    return ", ".join([*entries[:count], f"{more} more"] if more > 0 else entries)


def _hop_rows(found: PairExplanation, leg: Leg) -> Iterator[dict[str, Any]]:
    for number, hop in enumerate(leg.hops):
        yield {
            "route": f"{leg.source} > {leg.target}",
            "hop": number + 1,
            "from": hop.cable.source[0],
            "from_port": hop.cable.source[1],
            "to": hop.cable.target[0],
            "to_port": hop.cable.target[1],
            "speed": hop.cable.speed,
            "step_bytes": hop.step_bytes if found.jobs else None,
            "flows": _flows(hop, one_job=len(found.jobs) == 1),
            "phases": [f"{share.flows:,} {share.job}: {share.phase}" for share in _by_size(hop)],
            "own_share": f"{hop.own_bytes / hop.step_bytes:.0%}" if hop.step_bytes else None,
            "sources": hop.sources if found.all_to_all_ports else None,
            "note": "; ".join(_notes(leg, number, hop)),
        }


def _by_size(hop: Hop) -> list[JobShare]:
    return sorted(hop.shares, key=lambda share: -share.size_bytes)


def _flows(hop: Hop, *, one_job: bool) -> str:
    """Return how many flows are on a hop: of each phase of the only job, else of each job."""
    flows: dict[str, int] = {}
    for share in _by_size(hop):
        name = share.phase if one_job else share.job
        flows[name] = flows.get(name, 0) + share.flows
    return _named([f"{count:,} {name}" for name, count in flows.items()], 1 if one_job else NAMED)


def _notes(leg: Leg, number: int, hop: Hop) -> Iterator[str]:
    if hop.slower_than:
        yield f"SLOW: its kind runs at {hop.slower_than}"
    if number == leg.now_binds:
        yield "binds"
    if leg.problem and number == len(leg.hops) - 1:
        yield "STOPS HERE"


def _leg_row(found: PairExplanation, leg: Leg) -> dict[str, Any]:
    return {
        "rail": leg.rail if leg.rail >= 0 else None,
        "source": leg.source,
        "target": leg.target,
        "hops": len(leg.hops),
        "host_gb_s": leg.host_gb_s or None,
        "alone_gb_s": None if leg.problem else leg.alone_gb_s,
        "now_gb_s": leg.now_gb_s if leg.now_binds >= 0 and found.loads_known else None,
        "binds": leg.problem or (leg.hops[leg.now_binds].cable.label if leg.now_binds >= 0 else None),
    }


def _trial_row(trial: Trial) -> dict[str, Any]:
    return {
        "change": _NAMES[trial.kind],
        "after_gb_s": trial.after_gb_s,
        "slowest": trial.slowest,
        "helps": None if trial.after_gb_s is None else trial.helps,
        "what": f"{trial.what}: {trial.command}" if trial.command else trial.what,
        "binds": trial.binds or None,
    }


def _data(found: PairExplanation, remarks: Sequence[str]) -> dict[str, Any]:
    worst = found.legs[found.worst]
    advice = found.advice
    return {
        "hosts": [found.first, found.second],
        "routes": found.routes,
        "jobs": list(found.jobs),
        "phases": [{"job": job, "phase": phase} for job, phase in found.phases],
        "all_to_all_ports": found.all_to_all_ports or None,
        "legs": [_leg_data(found, leg) for leg in found.legs],
        "worst": {"source": worst.source, "target": worst.target},
        "bottleneck": None if worst.now_binds < 0 else _cable_data(worst.hops[worst.now_binds].cable),
        "competing": [_share_data(share) for share in found.competing],
        "competitors": [_pair_data(pair) for pair in found.competitors],
        "trials": [_trial_data(trial) for trial in found.trials],
        "advice": None if advice is None else _trial_data(advice),
        "assumptions": list(remarks),
    }


def _leg_data(found: PairExplanation, leg: Leg) -> dict[str, Any]:
    scored = leg.now_binds >= 0
    return {
        "rail": leg.rail if leg.rail >= 0 else None,
        "source": leg.source,
        "target": leg.target,
        "target_lid": leg.target_lid,
        "problem": leg.problem or None,
        "host_gb_s": rounded(leg.host_gb_s) if scored else None,
        "alone_gb_s": rounded(leg.alone_gb_s) if scored else None,
        "now_gb_s": rounded(leg.now_gb_s) if scored and found.loads_known else None,
        "binds_hop": leg.now_binds + 1 if scored else None,
        "hops": [_hop_data(found, hop) for hop in leg.hops],
    }


def _hop_data(found: PairExplanation, hop: Hop) -> dict[str, Any]:
    return {
        **_cable_data(hop.cable),
        "slower_than": hop.slower_than or None,
        "step_bytes": exact(hop.step_bytes) if found.jobs else None,
        "own_bytes": exact(hop.own_bytes) if found.jobs else None,
        "all_to_all_flows": hop.sources if found.all_to_all_ports else None,
        "phases": [_share_data(share) for share in hop.shares],
    }


def _trial_data(trial: Trial) -> dict[str, Any]:
    return {
        "kind": trial.kind,
        "what": trial.what,
        "after_gb_s": None if trial.after_gb_s is None else rounded(trial.after_gb_s),
        "binds": trial.binds or None,
        "slowest_ratio": None if trial.slowest is None else rounded(trial.slowest),
        "helps": trial.helps,
        "command": trial.command or None,
    }


def _share_data(share: JobShare) -> dict[str, Any]:
    return {"job": share.job, "phase": share.phase, "flows": share.flows, "bytes": exact(share.size_bytes)}


def _cable_data(cable: Cable) -> dict[str, Any]:
    return {
        "from": cable.source[0],
        "from_port": cable.source[1],
        "to": cable.target[0],
        "to_port": cable.target[1],
        "speed": cable.speed,
        "data_gbps": rounded(cable.data_gbps) or None,
        "at_host": cable.at_host,
    }


def _pair_data(pair: RankPair) -> dict[str, Any]:
    return {
        "job": pair.job,
        "phase": pair.phase,
        "source": pair.source,
        "target": pair.target,
        "source_port": pair.source_port,
        "target_port": pair.target_port,
        "bytes": exact(pair.size_bytes) or None,
        "gb_s": rounded(pair.gb_s) or None,
    }
