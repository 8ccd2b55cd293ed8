"""`Proposals` to a report: what hosts and order gain, the hosts, and lists of them for the programs that start jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from fabctl.model.naming import natural_key
from fabctl.model.proposals import Proposal, Proposals
from fabctl.nodeset import NodesetError, fold
from fabctl.report.output import Column, Report, Table, rounded
from fabctl.report.slowdown import job_notes

ASSUMPTIONS = (
    "times are those of a step's communication: every phase until its last flow has ended, all rates max-min fair, static routes",
    "beside other jobs: the busiest phase of each runs without end; GIVEN has all jobs as given, PROPOSED all as proposed",
    "RANDOM: the mean with all jobs on random hosts in random order",
    "HOSTS' CABLES: the step's time if no other cable bounded; no choice of hosts gets below",
)
GAINS = (
    Column("job", "JOB"),
    Column("hosts", "HOSTS", right=True),
    Column("free", "OF", right=True),
    Column("changed", "CHANGED", right=True),
    Column("given_ms", "GIVEN(ms)", right=True, digits=2),
    Column("random_ms", "RANDOM(ms)", right=True, digits=2),
    Column("proposed_ms", "PROPOSED(ms)", right=True, digits=2),
    Column("bound_ms", "HOSTS' CABLES(ms)", right=True, digits=2),
    Column("gain", "GIVEN/PROPOSED", right=True, digits=2),
    Column("gain_over_random", "RANDOM/PROPOSED", right=True, digits=2),
)
HOSTS = (
    Column("host", "HOST"),
    Column("job", "JOB"),
    Column("number", "NUMBER", right=True),
    Column("first_rank", "FIRST RANK", right=True),
    Column("given", "GIVEN", wide=True),
)

RUNS = 6
"""How many runs of rising names a line holds."""


def placement_report(
    proposals: Proposals,
    *,
    inputs: Sequence[Mapping[str, Any]] = (),
    remarks: Sequence[str] = (),
    next_step: str = "",
) -> Report:
    """Return the report of proposed hosts.

    Parameters
    ----------
    remarks : sequence of str
        Lines for people about how the command came to its routes.
    next_step : str
        Command to type next; empty where there is none.
    """
    rows = [row for proposal in proposals.jobs for row in _hosts(proposal)]
    text: list[str | Table] = [
        f"Routes  {proposals.routes}",
        *(f"        {remark}" for remark in remarks),
        f"Placed  {', '.join(proposals.turns)}{' (the most hosts first)' if len(proposals.turns) > 1 else ''}",
    ]
    if proposals.others:
        text.append(f"Beside  {', '.join(proposals.others)}")
    text += [
        Table("Communication time of a step", GAINS, [_gains(proposal) for proposal in proposals.jobs]),
        *(Table(f"Hosts of {proposal.name} in rank order", HOSTS, _hosts(proposal), wide=True) for proposal in proposals.jobs),
        "\nHosts in rank order",
        *(f"  {proposal.name}: {_in_runs(proposal.hosts)}" for proposal in proposals.jobs),
        "\nAssumptions",
        *(f"  {line}" for line in ASSUMPTIONS),
    ]
    text += job_notes({proposal.name: proposal.notes for proposal in proposals.jobs})
    if next_step:
        text += [f"\nNext: {next_step}"]
    return Report(
        kind="JobPlacement",
        data={
            "routes": proposals.routes,
            "others": list(proposals.others),
            "turns": list(proposals.turns),
            "assumptions": list(ASSUMPTIONS),
            "jobs": [
                {
                    **_gains(proposal),
                    "ranks_per_host": proposal.ranks_per_host,
                    "random_samples_ms": [rounded(one * 1e3) for one in proposal.random_s],
                    "given_hosts": list(proposal.given),
                    "proposed_hosts": list(proposal.hosts),
                    "notes": list(proposal.notes),
                }
                for proposal in proposals.jobs
            ],
            "next": next_step or None,
        },
        text=text,
        main=Table("", HOSTS, rows),
        inputs=inputs,
    )


def hostfile(proposal: Proposal) -> str:
    """Return a job's hosts as Open MPI's ``--hostfile`` wants them: a host and its slots to a line, in rank order."""
    return "".join(f"{host} slots={proposal.ranks_per_host}\n" for host in proposal.hosts)


def slurm_hostfile(proposal: Proposal) -> str:
    """Return a job's hosts as ``SLURM_HOSTFILE`` wants them with ``--distribution=arbitrary``: a line per task, in rank order."""
    return "".join(f"{host}\n" * proposal.ranks_per_host for host in proposal.hosts)


def _in_runs(hosts: Sequence[str]) -> str:
    """Return hosts in their order as node sets, one for each run of rising names."""
    keys = [natural_key(host) for host in hosts]
    cuts = [0, *(at for at in range(1, len(hosts)) if keys[at] <= keys[at - 1]), len(hosts)]
    runs = [hosts[first:last] for first, last in pairwise(cuts)]
    try:
        folded = [fold(run) for run in runs[:RUNS]]
    except NodesetError:
        folded = [",".join(run) for run in runs[:RUNS]]
    more = ["... (-o name lists them all)"] if len(runs) > RUNS else []
    return " ".join([*folded, *more])


def _gains(proposal: Proposal) -> dict[str, Any]:
    return {
        "job": proposal.name,
        "hosts": len(proposal.hosts),
        "free": proposal.free,
        "changed": proposal.changed,
        "given_ms": rounded(proposal.given_s * 1e3),
        "random_ms": rounded(proposal.random_mean_s * 1e3),
        "proposed_ms": rounded(proposal.proposed_s * 1e3),
        "bound_ms": rounded(proposal.bound_s * 1e3),
        "gain": rounded(proposal.gain),
        "gain_over_random": rounded(proposal.gain_over_random),
    }


def _hosts(proposal: Proposal) -> list[dict[str, Any]]:
    return [
        {
            "host": host,
            "job": proposal.name,
            "number": number,
            "first_rank": number * proposal.ranks_per_host,
            "given": given,
        }
        for number, (host, given) in enumerate(zip(proposal.hosts, proposal.given, strict=True))
    ]
