"""What ``fabctl route`` prints: safety first, then quality, then the cables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fabctl.model.changes import Change
from fabctl.model.fabric import Fabric
from fabctl.model.results import Finding, Severity
from fabctl.model.routes import Assessment, HotCable, Quality, Verification
from fabctl.report.output import Column, Report, Table, findings_table
from fabctl.report.route_change import change_data, change_lines, moved_table

_CABLES = (
    Column("from", "FROM"),
    Column("from_port", "PORT", right=True),
    Column("to", "TO"),
    Column("to_port", "PORT", right=True),
    Column("load", "LOAD", right=True),
    Column("flows", "FLOWS", right=True),
    Column("data_gbps", "GBIT/S", right=True, digits=1, wide=True),
    Column("example", "FOR EXAMPLE"),
    Column("examples", "FLOWS ON IT (THE FIRST)", wide=True),
)


def route_report(
    assessment: Assessment,
    *,
    inputs: Sequence[Mapping[str, Any]],
    traffic: str,
    computed: bool,
    change: Change | None = None,
    top: int = 0,
) -> Report:
    """Return the report of an assessment.

    Parameters
    ----------
    traffic : str
        What the hottest cables carry: ``all-to-all``, ``shift:8`` ...
    computed : bool
        Whether fabctl computed the tables (else they are the fabric's own).
    change : Change, optional
        How the tables differ from those of before.
    top : int
        Moved LIDs to name.
    """
    fabric = assessment.tables.fabric
    findings = _findings(fabric, assessment.verification)
    origin = assessment.tables.origin
    head = f"Routes read from {origin}"
    if computed:
        by = "OpenSM on the digital twin" if origin.startswith("opensm:") else "fabctl"
        head = f"Routes by engine {origin}, computed by {by} (--tables FILE judges those that the switches hold)"
    cables = Table(f"Hottest cables ({traffic})", _CABLES, [_cable_row(fabric, hot) for hot in assessment.hot])
    text: list[str | Table] = [head, *_safety_lines(assessment.verification), ""]
    if assessment.quality is None:
        text.append("Not scored: traffic that is lost has no bandwidth.")
    else:
        text += [*_quality_lines(assessment.quality), cables]
    if change is not None:
        text += change_lines(change, top)
    if findings:
        text.append(findings_table(findings))
    return Report(
        kind="RouteReport",
        data={
            "origin": origin,
            "computed": computed,
            "switches": fabric.n_switches,
            "verification": _verification_data(fabric, assessment.verification),
            "quality": None if assessment.quality is None else _quality_data(fabric, assessment.quality),
            "traffic": traffic,
            "hottest_cables": [_cable_row(fabric, hot) for hot in assessment.hot],
            "adaptive": None,
            "change": None if change is None else change_data(change),
        },
        text=text,
        main=cables if change is None else moved_table(change),
        inputs=inputs,
        findings=findings,
        warnings=assessment.notes,
    )


def _safety_lines(found: Verification) -> list[str]:
    lost = found.lost_hca + found.lost_other
    reached = "every switch with HCAs reaches every LID" if not lost else f"{lost:,} of {found.pairs:,} are LOST"
    if found.unlisted:
        reached += f"; LIDs in no table: {len(found.unlisted):,}"
    return [
        f"  reachability   {found.pairs:,} (leaf, LID) pairs: {reached}",
        f"  loops          {'none' if not found.loop else f'FOUND, over {len(found.loop)} cables'}",
        f"  credit loops   {_credit_text(found)} ({found.dependencies:,} channel dependencies, {_lanes(found.n_vls)})",
    ]


def _lanes(count: int) -> str:
    return f"{count} virtual lane{'' if count == 1 else 's'}"


def _credit_text(found: Verification) -> str:
    if found.credit_loop:
        lane = f" on lane {found.loop_vl}" if found.n_vls > 1 else ""
        return f"FOUND, over {len(found.credit_loop)} cables{lane}"
    none = "none" if found.n_vls == 1 else "none on any lane"
    return f"{none} between HCAs" if found.management_loop else none


def _quality_lines(quality: Quality) -> list[str]:
    shifts, ebb = quality.shifts, quality.ebb
    tried = "all" if shifts.tried == shifts.total else f"{shifts.tried:,} of"
    load = f"max channel load {quality.alltoall_max:,}, ideal {quality.alltoall_ideal:,}"
    worst = f"worst {shifts.worst} flows on one channel (shift {shifts.worst_shift:,}), mean {shifts.mean:.2f}"
    share = f"{ebb.mean:.4f} +- {ebb.ci99:.4f} of link bandwidth"
    spread = f"{quality.destinations_min}..{quality.destinations_max}, mean {quality.destinations_mean:.1f}"
    lines = [
        f"Traffic between {quality.n_ports:,} HCA ports",
        f"  all-to-all     {quality.alltoall_fraction:.3f} of injection bandwidth ({load})",
        f"  shifts         {worst}, {tried} {shifts.total:,} tried",
        f"  eBB            {share} (99 % CI, {ebb.samples:,} random bisections)",
        f"  LIDs/channel   {spread}, on {quality.between:,} channels between switches; {quality.unused:,} unused",
    ]
    if not quality.rates_known:
        lines.append("  (some link rates are unknown: all channels count as equal)")
    return lines


def _cable_row(fabric: Fabric, hot: HotCable) -> dict[str, Any]:
    port = int(fabric.channel_port[hot.channel])
    peer = int(fabric.port_peer[port])
    rate = float(fabric.data_gbps[hot.channel])
    examples = [f"{_endpoint(fabric, source)} > {_endpoint(fabric, target)}" for source, target in hot.examples]
    return {
        "from": fabric.labels[fabric.port_node[port]],
        "from_port": int(fabric.port_number[port]),
        "to": fabric.labels[fabric.port_node[peer]],
        "to_port": int(fabric.port_number[peer]),
        "load": int(hot.load) if hot.load.is_integer() else hot.load,
        "flows": hot.flows,
        "data_gbps": rate or None,
        "example": examples[0],
        "examples": examples,
    }


def _endpoint(fabric: Fabric, port: int) -> str:
    return " ".join(fabric.labels[fabric.port_node[port]].split())


def _verification_data(fabric: Fabric, found: Verification) -> dict[str, Any]:
    return {
        "pairs": found.pairs,
        "lost_hca_pairs": found.lost_hca,
        "lost_other_pairs": found.lost_other,
        "unlisted_lids": [int(fabric.port_lid[port]) for port in found.unlisted],
        "forwarding_loop": [fabric.cable_label(channel) for channel in found.loop],
        "dependencies": found.dependencies,
        "credit_loop": [fabric.cable_label(channel) for channel in found.credit_loop],
        "management_loop": [fabric.cable_label(channel) for channel in found.management_loop],
        "vls": found.n_vls,
        "credit_loop_vl": found.loop_vl if found.credit_loop or found.management_loop else None,
    }


def _quality_data(fabric: Fabric, quality: Quality) -> dict[str, Any]:
    return {
        "hca_ports": quality.n_ports,
        "alltoall_fraction": quality.alltoall_fraction,
        "alltoall_max_load": quality.alltoall_max,
        "alltoall_ideal_load": quality.alltoall_ideal,
        "alltoall_hottest_cable": fabric.cable_label(quality.hottest),
        "worst_shift_load": quality.shifts.worst,
        "worst_shift": quality.shifts.worst_shift,
        "mean_shift_load": quality.shifts.mean,
        "shifts_tried": quality.shifts.tried,
        "shifts_total": quality.shifts.total,
        "ebb_fraction": quality.ebb.mean,
        "ebb_ci99": quality.ebb.ci99,
        "ebb_bisections": quality.ebb.samples,
        "lids_per_channel_min": quality.destinations_min,
        "lids_per_channel_mean": quality.destinations_mean,
        "lids_per_channel_max": quality.destinations_max,
        "unused_channels": quality.unused,
        "channels_between_switches": quality.between,
        "link_rates_known": quality.rates_known,
    }


def _findings(fabric: Fabric, found: Verification) -> list[Finding]:
    findings = []
    for lost in found.examples:
        severity: Severity = "error" if fabric.is_hca[fabric.port_node[lost.port]] else "warning"
        where = f"LID {fabric.port_lid[lost.port]} ({fabric.port_label(lost.port)})"
        findings.append(
            Finding("RTE201", severity, fabric.labels[lost.switch], f"traffic from its HCAs for {where} {lost.reason}")
        )  # fmt: skip
    findings += [_unlisted(fabric, port) for port in found.unlisted]
    for code, severity, what, channels in _loops(found):
        if channels:
            cables = "; ".join(fabric.cable_label(channel) for channel in channels)
            lane = f" on virtual lane {found.loop_vl}" if found.n_vls > 1 and code != "RTE202" else ""
            findings.append(Finding(code, severity, fabric.cable_label(channels[0]), f"{what}{lane}: {cables}"))
    return findings


def _unlisted(fabric: Fabric, port: int) -> Finding:
    """Return the finding of a LID without any entry; dump_fts stops short of a highest LID that is a multiple of 64."""
    lid = int(fabric.port_lid[port])
    cut = lid % 64 == 0 and lid == fabric.port_lid.max()
    severity: Severity = "error" if fabric.is_hca[fabric.port_node[port]] and not cut else "warning"
    why = ": dump_fts and ibroute leave out a highest LID that is a multiple of 64; opensm-lfts.dump has it" if cut else ""
    return Finding("RTE205", severity, fabric.port_label(port), f"no table has an entry for its LID {lid}{why}")


def _loops(found: Verification) -> list[tuple[str, Severity, str, tuple[int, ...]]]:
    return [
        ("RTE202", "error", "forwarding loop", found.loop),
        ("RTE203", "error", "possible credit loop (deadlock)", found.credit_loop),
        ("RTE204", "warning", "possible credit loop once HCAs talk to switches (management)", found.management_loop),
    ]
