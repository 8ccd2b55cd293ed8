"""What `fabctl.bench.place` proposes: the hosts of jobs in rank order, and what that gains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Proposal:
    """Hosts for one job.

    Parameters
    ----------
    name : str
    ranks_per_host : int
    given, hosts : tuple of str
        As the job has them and as proposed, in rank order.
    free : int
        Hosts that it could have, its own included; no more than these for a job whose hosts are named.
    given_s, proposed_s : float
        Communication time of a step beside the others, in seconds: with all jobs as given, and with all as proposed.
    random_s : tuple of float
        The same with all jobs on random hosts in random order, once for each drawing.
    bound_s : float
        Time that no hosts get below: that of the hosts' own cables.
    notes : tuple of str
        Worth printing.
    """

    name: str
    ranks_per_host: int
    given: tuple[str, ...]
    hosts: tuple[str, ...]
    free: int
    given_s: float
    proposed_s: float
    random_s: tuple[float, ...]
    bound_s: float
    notes: tuple[str, ...] = ()

    @property
    def random_mean_s(self) -> float:
        """Mean of `random_s`."""
        return sum(self.random_s) / len(self.random_s)

    @property
    def gain(self) -> float:
        """`given_s` over `proposed_s`; 1 for a job that sends nothing."""
        return self.given_s / self.proposed_s if self.proposed_s > 0 else 1.0

    @property
    def gain_over_random(self) -> float:
        """`random_mean_s` over `proposed_s`; 1 for a job that sends nothing."""
        return self.random_mean_s / self.proposed_s if self.proposed_s > 0 else 1.0

    @property
    def changed(self) -> int:
        """Places whose host is another one."""
        return sum(before != after for before, after in zip(self.given, self.hosts, strict=True))


@dataclass(frozen=True)
class Proposals:
    """Hosts for jobs that run side by side.

    Parameters
    ----------
    routes : str
        Engine or tables file.
    others : tuple of str
        Jobs that stay where they are.
    jobs : tuple of Proposal
        In the order asked for.
    turns : tuple of str
        The same jobs in the order in which they were placed.
    """

    routes: str
    others: tuple[str, ...]
    jobs: tuple[Proposal, ...]
    turns: tuple[str, ...]

    @property
    def gains(self) -> bool:
        """Whether any job is faster than as given."""
        return any(proposal.gain > 1 + 1e-9 for proposal in self.jobs)
