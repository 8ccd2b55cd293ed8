"""Reference deployments (``topologies/scenarios``): a fabric, a job, what was published of them and what is assumed.

::

    title: "SaturnV: 124 DGX-1 (2016)"
    fabric: {family: rail-optimised, node_type: dgx-1, ...}   # a topology, or the name or path of one
    job: {hosts: all, ranks_per_host: 8, node: dgx-1-p100, ...}    # as in a job file
    # efficiency: 0.4                     # of a training: share of the GPUs' peak while they compute; or
    # compute_ms: 180                     # milliseconds that they compute in a step
    published:
      - {fact: 124 DGX-1, source: "where that was published"}
    assumed:
      - {fact: two levels of switches, why: "what stands in for what was not published"}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from fabctl.model.bench_comparison import Fact, ScenarioFacts
from fabctl.model.step_view import Compute
from fabctl.traffic.job import JobSpec, read_job
from fabctl.yamlspec import Node, load

COMPUTE = ("efficiency", "compute_ms")
KEYS = ("title", "fabric", "job", *COMPUTE, "published", "assumed")


@dataclass(frozen=True)
class Scenario:
    """A reference deployment.

    Parameters
    ----------
    facts : ScenarioFacts
    fabric : Node
        A topology spec, or the name or path of one.
    job : JobSpec
    compute : Compute
        Of a training.
    """

    facts: ScenarioFacts
    fabric: Node
    job: JobSpec
    compute: Compute


def parse_scenario(text: str, path: str) -> Scenario:
    """Read a scenario.

    Raises
    ------
    InputError
        With ``file:line:column``, and the nearest right word for a typo.
    """
    name = PurePath(path).stem
    values = load(text, path).mapping(KEYS, required=("title", "fabric", "job", "published", "assumed"))
    job = read_job(values["job"], name)
    given = [key for key in COMPUTE if key in values]
    if given and not job.training:
        raise values[given[0]].error(f"'{given[0]}' is of a training, and this job has no 'model'")
    if len(given) == 2:
        raise values[given[1]].error("'efficiency' and 'compute_ms' exclude each other")
    return Scenario(
        facts=ScenarioFacts(
            name=name,
            title=values["title"].text(),
            published=_facts(values["published"], "source"),
            assumed=_facts(values["assumed"], "why"),
        ),
        fabric=values["fabric"],
        job=job,
        compute=Compute(
            efficiency=values["efficiency"].number(low=0.01, high=1) if "efficiency" in values else 0.0,
            ms=values["compute_ms"].number(low=1e-3) if "compute_ms" in values else 0.0,
        ),
    )


def _facts(node: Node, why: str) -> tuple[Fact, ...]:
    keys = ("fact", why)
    found = [item.mapping(keys, required=keys) for item in node.items()]
    if not found:
        raise node.error(f"'{node.name}' is an empty list")
    return tuple(Fact(values["fact"].text(), values[why].text()) for values in found)
