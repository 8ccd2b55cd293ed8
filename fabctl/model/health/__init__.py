"""Health of a fabric: what an operator should look at, found by comparing each thing with its like."""

from __future__ import annotations

from fabctl.model.cables import list_cables
from fabctl.model.fabric import Fabric
from fabctl.model.health.cabling import cabling_findings
from fabctl.model.health.findings import CODES
from fabctl.model.health.hosts import host_findings
from fabctl.model.health.rates import rate_findings
from fabctl.model.health.records import address_findings, input_findings
from fabctl.model.results import Finding, ParseReport

__all__ = ["CODES", "check_health"]


def check_health(fabric: Fabric, report: ParseReport) -> list[Finding]:
    """Return all findings on a fabric and on the input that it was read from, in the order of their codes.

    Complexity
    ----------
    O(n log n) in nodes and ports, in numpy but for what is found.
    """
    cables = list_cables(fabric)
    findings = [
        *input_findings(report),
        *address_findings(fabric),
        *cabling_findings(fabric, cables),
        *rate_findings(fabric, cables),
        *host_findings(fabric, cables),
    ]
    return sorted(findings, key=lambda finding: finding.code)
