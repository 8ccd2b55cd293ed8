"""Causes that numbers suggest: what was measured is what would be, if."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from statistics import median

from fabctl.bench.validation.ground import Expected, Ground, nearest, speed_ratio
from fabctl.model.cables import list_cables
from fabctl.model.health.rates import rate_findings
from fabctl.model.offloads import Offloads
from fabctl.model.predictions import LATENCY
from fabctl.model.validation import PAIRS, Cause, Compared, Run
from fabctl.units import size_text

UNSTEADY = 1.5
"""How much longer one of two equal operations takes, at least, to be named."""
CLIFF = 2.0
"""How far bandwidth falls from a size to a larger one, at least, to be named."""
SHARED = 0.22
"""How far from 1/k of the prediction k flows on one cable may be: NCCL issue 319 has 1/2.23 where two meet."""
FLOOR_GB_S = 0.05
"""Below it, bandwidth is latency, and its falls are noise."""
NCCL_CHOICE = "NCCL_DEBUG=INFO NCCL_DEBUG_SUBSYS=TUNING shows what NCCL takes at each size"
MPI_CHOICE = "UCX_PROTO_INFO=y shows what UCX takes at each size; UCX_RNDV_THRESH and UCX_RNDV_SCHEME move the step"
SHOWN = 4


@dataclass(frozen=True, eq=False)
class Case:
    """A run whose sizes are flagged."""

    run: Run
    rows: tuple[Compared, ...]
    expected: Expected
    ground: Ground
    threshold: float

    @cached_property
    def large(self) -> tuple[Compared, ...]:
        """Rows whose bytes count for more than their latency."""
        return tuple(row for row in self.rows if row.ratio and row.predicted and row.predicted.binds != LATENCY)

    @cached_property
    def level(self) -> float:
        """Median of measured over predicted of large messages; 1 where there are none."""
        return median(row.ratio or 1.0 for row in self.large) if self.large else 1.0

    @property
    def slow(self) -> bool:
        """Whether large messages are slower than predicted."""
        return self.level < 1 - self.threshold

    @property
    def fast(self) -> bool:
        """Whether large messages are faster than predicted."""
        return self.level > 1 + self.threshold

    def level_with(self, offloads: Offloads) -> float | None:
        """Return the level that other offloads give; None where they cannot work here or change nothing."""
        sizes = self.expected.with_offloads(offloads)
        ascending = sorted(sizes)
        factor = self.run.n_ranks if self.run.per_piece else 1
        ratios = [speed_ratio(row.sample, nearest(sizes, row.sample.size_bytes * factor, ascending)) for row in self.large]
        known = [ratio for ratio in ratios if ratio]
        return median(known) if known else None

    def fits(self, level: float | None) -> bool:
        """Tell whether a level explains what was measured, and better than the prediction does."""
        return level is not None and abs(level - 1) <= self.threshold and abs(level - 1) < abs(self.level - 1) / 2


def offload_off(case: Case, name: str, code: str, title: str, next_step: str) -> Cause | None:
    """Say that an offload that is counted on may be off."""
    if not case.slow or not getattr(case.expected.offloads, name):
        return None
    level = case.level_with(replace(case.expected.offloads, **{name: False}))
    if not case.fits(level):
        return None
    evidence = f"large messages reach {case.level:.0%} of what is predicted with it, {level:.0%} of what is predicted without"
    return Cause(code, title, "likely", (evidence,), next_step)


def gdr_off(case: Case) -> Cause | None:
    """Say that GPUDirect RDMA may be off."""
    step = "lsmod | grep nvidia_peermem; NCCL_DEBUG=INFO must say GDRDMA"
    return offload_off(case, "gdr", "VAL211", "GPUDirect RDMA is off", step)


def nvls_off(case: Case) -> Cause | None:
    """Say that the NVSwitches may not reduce."""
    step = "NCCL_NVLS_ENABLE unset, nvidia-fabricmanager running; NCCL_DEBUG=INFO must count nvls channels"
    return offload_off(case, "nvls", "VAL212", "NVLink SHARP is not active", step)


def sharp_off(case: Case) -> Cause | None:
    """Say that SHARP may not be active although it is counted on."""
    step = "NCCL_COLLNET_ENABLE=1 and the plugin; NCCL_DEBUG=INFO must count collnet channels; sharp_hello on each host"
    return offload_off(case, "sharp", "VAL213", "SHARP is not active", step)


def sharp_on(case: Case) -> Cause | None:
    """Say that SHARP may be active although it is not counted on."""
    if not case.fast or case.expected.offloads.sharp:
        return None
    level = case.level_with(replace(case.expected.offloads, sharp=True))
    if not case.fits(level):
        return None
    evidence = f"large messages reach {case.level:.0%} of what is predicted without it, {level:.0%} of what is predicted with it"
    return Cause("VAL214", "SHARP is active", "likely", (evidence,), case.ground.again(offload="sharp"))


def hosts_unknown(case: Case) -> Cause | None:
    """Say that a run that was taken for one host's may have left it."""
    if not case.slow or case.run.hosts or case.expected.job is not None or case.run.operation in PAIRS:
        return None
    return Cause(
        "VAL226",
        "this may have run over several hosts",
        "possible",
        ("the log does not name its hosts, and its ranks fit into one",),
        "--job FILE with hosts and ranks_per_host, and --fabric SOURCE",
    )


def two_hosts(case: Case) -> Cause | None:
    """Say that busbw on two hosts may be more than the network carries."""
    job = case.expected.job
    if not case.fast or job is None or job.n_hosts != 2 or case.run.operation != "all_reduce":
        return None
    return Cause(
        "VAL215",
        "a tree on two hosts: its busbw is up to twice what the HCAs carry",
        "likely",
        ("a tree sends the message once between two hosts, busbw counts it as a ring would send it (NCCL issues 307, 812)",),
        "NCCL_ALGO=Ring judges the network" + ("" if case.ground.node else "; --node NODE predicts trees"),
    )


def beyond_cables(case: Case) -> Cause | None:
    """Say that more was measured than the hosts' own cables carry."""
    found, job = case.expected.prediction, case.expected.job
    if not case.fast or found is None or job is None or (job.n_hosts == 2 and case.run.operation == "all_reduce"):
        return None
    best = max(row.sample.best_gb_s for row in case.large)
    if best <= 1.05 * found.host_busbw_gb_s:
        return None
    evidence = f"{best:.1f} GB/s busbw; the {len(job.rails)} HCA ports of a host carry {found.host_busbw_gb_s:.1f}"
    step = "is it the log's fabric, and its hosts? --fabric, --job"
    return Cause("VAL225", "more was measured than the hosts' own cables carry", "certain", (evidence,), step)


def shared_cable(case: Case) -> Cause | None:
    """Say that flows may meet on a cable where the prediction has them apart."""
    if not case.slow or case.expected.job is None:
        return None
    for flows in (2, 3, 4):
        if abs(case.level * flows - 1) <= SHARED:
            break
    else:
        return None
    evidence = f"large messages reach {case.level:.2f} of what is predicted: {flows} flows on one cable would make 1/{flows}"
    if case.ground.read:
        step = f"fabctl job show JOB {case.ground.source} --tables FILE: which cables carry most"
    else:
        step = f"dump_fts > lfts.txt; {case.ground.again(tables='lfts.txt')}"
    return Cause("VAL216", "flows collide on a cable of the real routes", "possible", (evidence,), step)


def predicted_collision(case: Case) -> Cause | None:
    """Say that these very routes cost bandwidth, or that the real ones do not cost what these would."""
    found = case.expected.prediction
    if found is None or found.bound is None or found.bound.at_host or found.bound.flows < 2:
        return None
    bound, peak, free = found.bound, found.peak_busbw_gb_s, found.host_busbw_gb_s
    if peak > 0.99 * free:
        return None
    allowed = f"they allow {peak:.1f} GB/s busbw, the hosts' own cables {free:.1f}"
    title = f"these routes put {bound.flows} flows on one cable"
    step = f"fabctl bench compare {case.ground.source.removeprefix('--fabric ')} --job JOB --engine minhop,ftree,jobs"
    best = max((row.sample.best_gb_s for row in case.large), default=0.0)
    if case.fast and best > 1.05 * peak:
        allowed += f"; {best:.1f} was measured"
        title = f"the {bound.flows} flows that these routes put on one cable do not meet on it"
        step = (
            case.ground.again(offload="ar")
            if case.ground.read
            else f"dump_fts > lfts.txt; {case.ground.again(tables='lfts.txt')}"
        )
    return Cause("VAL217", title, "likely", (f"{bound.label} ({bound.speed})", allowed), step)


def degraded_links(case: Case) -> Cause | None:
    """Say that links of the fabric are slower or narrower than their like."""
    fabric = case.ground.fabric
    if not case.slow or fabric is None or len(case.run.hosts) == 1:
        return None
    findings = [finding for finding in rate_findings(fabric, list_cables(fabric)) if finding.code in ("FAB131", "FAB132")]
    hosts = case.expected.job.hosts if case.expected.job else ()
    items = [item for finding in findings for item in finding.items]
    if not items:
        return None
    own = [item for item in items if any(host in item for host in hosts)]
    return Cause(
        "VAL218",
        "degraded links" + (" at the job's hosts" if own else ""),
        "likely" if own else "possible",
        tuple((own or items)[:SHOWN]),
        f"fabctl discover {case.ground.source.removeprefix('--fabric ')}: findings FAB131, FAB132",
    )


def wrong_unit(case: Case) -> Cause | None:
    """Say that bits may stand for bytes."""
    for factor, what in ((8.0, "Gb/s where GB/s are expected"), (1 / 8, "GB/s where Gb/s are expected")):
        if case.large and abs(case.level / factor - 1) < 0.08:
            evidence = f"large messages reach {case.level:.3g} times what is predicted"
            return Cause("VAL219", f"the log may give {what}", "possible", (evidence,), "look at the headings of its columns")
    return None


def slow_latency(case: Case) -> Cause | None:
    """Say that small messages are slow where large ones are not."""
    small = [row.ratio for row in case.rows if row.ratio and row.predicted and row.predicted.binds == LATENCY]
    if case.slow or not small or median(small) >= 1 - case.threshold or case.run.operation in PAIRS:
        return None
    return Cause(
        "VAL220",
        "every step takes longer; bandwidth is as it should be",
        "possible",
        (f"small messages run at {median(small):.0%} of the predicted speed, large ones at {case.level:.0%}",),
        "ib_send_lat between two hosts; CPU governor and C-states, NUMA binding of the ranks (--bind-to numa), IOMMU and ACS",
    )


def unsteady(rows: tuple[Compared, ...]) -> Cause | None:
    """Say at which sizes one of two equal operations took much longer."""
    pairs = [(row, row.sample.time_us, row.sample.in_place_us) for row in rows if row.sample.in_place_us]
    found = [row for row, one, other in pairs if max(one, other) > UNSTEADY * min(one, other)]
    if not found:
        return None
    shown = [
        f"{size_text(row.sample.size_bytes)}: {row.sample.time_us:g} us out of place, {row.sample.in_place_us:g} in place"
        for row in found[:SHOWN]
    ]
    more = f"; {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return Cause(
        "VAL221",
        f"{_sizes(len(found))} unsteady: the better of both is judged",
        "possible",
        (*shown[:-1], shown[-1] + more),
        "measure again with more warm-up and iterations: -w 20 -n 100",
    )


def slow_member(case: Case) -> Cause | None:
    """Say that one host may hold up all."""
    job = case.expected.job
    if not case.slow or job is None:
        return None
    if job.n_hosts == 2:
        one, other = case.run.hosts or job.hosts
        step = f"fabctl explain {one} {other} {case.ground.source}; then each with another partner"
    else:
        step = "all_reduce_perf with NCCL_ALGO=Ring on pairs of these hosts, then: fabctl bench validate pair-*.log"
    return Cause(
        "VAL223", "one host or one pair of hosts is slow", "possible", ("all are as fast as the slowest among them",), step
    )


def _sizes(count: int) -> str:
    return "1 size is" if count == 1 else f"{count} sizes are"


def cliff(run: Run, rows: tuple[Compared, ...]) -> Cause | None:
    """Say where bandwidth falls from one size to a larger one."""
    steps = [(one.sample, other.sample) for one, other in pairwise(rows) if one.sample.size_bytes < other.sample.size_bytes]
    falls = [(one, other) for one, other in steps if one.best_gb_s > max(FLOOR_GB_S, CLIFF * other.best_gb_s)]
    if not falls:
        return None
    one, other = falls[0]
    return Cause(
        "VAL222",
        f"bandwidth falls from {size_text(one.size_bytes)} to {size_text(other.size_bytes)}: another protocol or path takes over",
        "likely",
        (f"{one.best_gb_s:.3g} GB/s, then {other.best_gb_s:.3g}",),
        MPI_CHOICE if run.mpi else NCCL_CHOICE,
    )


def plateau(case: Case) -> Cause | None:
    """Say where bandwidth stays flat, well below what is predicted, until a larger size."""
    slow = [row.sample for row in case.rows if row.flag == "slow"]
    after = {one.sample.line: other.sample for one, other in pairwise(case.rows)}
    for one, other in pairwise(slow):
        beyond = after.get(other.line)
        if beyond and abs(other.best_gb_s / one.best_gb_s - 1) < 0.05 and beyond.best_gb_s > UNSTEADY * other.best_gb_s:
            return Cause(
                "VAL224",
                f"up to {size_text(other.size_bytes)} another protocol or path is in use than beyond",
                "likely",
                (f"{other.best_gb_s:.3g} GB/s, flat, then {beyond.best_gb_s:.3g}",),
                MPI_CHOICE if case.run.mpi else NCCL_CHOICE,
            )
    return None
