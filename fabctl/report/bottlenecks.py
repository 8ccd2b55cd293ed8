"""The cables that bind phases, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fabctl.model.bottlenecks import Bottleneck, Cable, PhaseBottlenecks, RankPair
from fabctl.report.output import Column, Table

COLUMNS = (
    Column("phase", "PHASE"),
    Column("from", "FROM"),
    Column("from_port", "PORT", right=True),
    Column("to", "TO"),
    Column("to_port", "PORT", right=True),
    Column("data_gbps", "GBIT/S", right=True, digits=0),
    Column("bytes", "BYTES", right=True, digits=0),
    Column("drain_ms", "DRAIN ms", right=True),
    Column("flows", "FLOWS", right=True),
    Column("binds", "BINDS", right=True),
    Column("jobs", "JOBS"),
    Column("example", "FOR EXAMPLE"),
    Column("pairs", "RANK PAIRS ON IT (THE LARGEST)", wide=True),
)


def bottleneck_table(entries: Sequence[PhaseBottlenecks], title: str = "Cables that bind") -> Table:
    """Return the cables of several phases as one table, phase by phase."""
    return Table(title, COLUMNS, [_row(entry, cable) for entry in entries for cable in entry.cables])


def bottleneck_data(entries: Sequence[PhaseBottlenecks]) -> list[dict[str, Any]]:
    """Return the same for JSON."""
    return [
        {
            "phases": [{"job": job, "phase": phase} for job, phase in entry.phases],
            "seconds": rounded(entry.seconds),
            "together_s": rounded(entry.together_s),
            "equals": entry.equals,
            "cables": [_cable_of(found) for found in entry.cables],
        }
        for entry in entries
    ]


def cable_data(cable: Cable) -> dict[str, Any]:
    """Return a directed cable for JSON."""
    return {
        "from": cable.source[0],
        "from_port": cable.source[1],
        "to": cable.target[0],
        "to_port": cable.target[1],
        "speed": cable.speed,
        "data_gbps": rounded(cable.data_gbps) or None,
        "at_host": cable.at_host,
    }


def pair_data(pair: RankPair) -> dict[str, Any]:
    """Return a rank pair for JSON."""
    return {
        "job": pair.job,
        "phase": pair.phase,
        "source": pair.source,
        "target": pair.target,
        "source_port": pair.source_port,
        "target_port": pair.target_port,
        "bytes": rounded(pair.size_bytes) or None,
        "gb_s": rounded(pair.gb_s) or None,
    }


def rounded(value: float) -> float:
    """Return a value with nine significant digits, so that its text does not depend on the last bits."""
    return float(f"{value:.9g}")


def _row(entry: PhaseBottlenecks, found: Bottleneck) -> dict[str, Any]:
    pairs = [f"{pair.source} > {pair.target}" for pair in found.pairs]
    return {
        "phase": f"{entry.phases[0][0]}: {entry.phases[0][1]}",
        "from": found.cable.source[0],
        "from_port": found.cable.source[1],
        "to": found.cable.target[0],
        "to_port": found.cable.target[1],
        "data_gbps": found.cable.data_gbps or None,
        "bytes": found.size_bytes,
        "drain_ms": found.drain_s * 1e3,
        "flows": found.flows,
        "binds": found.binds,
        "jobs": [f"{share.job} ({share.flows})" for share in found.shares],
        "example": pairs[0] if pairs else None,
        "pairs": pairs,
    }


def _cable_of(found: Bottleneck) -> dict[str, Any]:
    return {
        **cable_data(found.cable),
        "bytes": rounded(found.size_bytes),
        "drain_s": rounded(found.drain_s),
        "flows": found.flows,
        "binds": found.binds,
        "last_s": rounded(found.last_s),
        "shares": [
            {"job": share.job, "phase": share.phase, "flows": share.flows, "bytes": rounded(share.size_bytes)}
            for share in found.shares
        ],
        "pairs": [pair_data(pair) for pair in found.pairs],
    }
