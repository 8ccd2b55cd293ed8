"""The sections of docs/scenarios.md, one for each scenario, made by running it.

python tests/bench/scenario_pages.py --write
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from fabctl.cli.main import main
from fabctl.model.bench_comparison import WORTH
from fabctl.report.bench_words import size_words

PROJECT = Path(__file__).resolve().parent.parent.parent
PAGE = PROJECT / "docs/scenarios.md"
BEGIN, END = "<!-- begin: tests/bench/scenario_pages.py -->", "<!-- end -->"


def names() -> list[str]:
    """Return the names of the scenarios that ship."""
    return sorted(path.stem for path in (PROJECT / "topologies/scenarios").glob("*.yaml"))


@cache
def outcome(name: str) -> dict[str, Any]:
    """Run a scenario and return what its JSON report holds."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(["bench", "compare", "--scenario", name, "-o", "json"])
    assert code == 0, out.getvalue()
    data: dict[str, Any] = json.loads(out.getvalue())["data"]
    return data


def overview(every: list[dict[str, Any]]) -> str:
    """Return the table that stands before the sections: what the fastest row of each scenario gains."""
    rows = [
        f"| [{data['scenario']['name']}](#{data['scenario']['name']}) | {data['scenario']['title']} | {_gains(data)} |"
        for data in every
    ]
    return "\n".join(["| scenario | what it is | worth, of the largest message |", "|---|---|---|", *rows, ""])


def _gains(data: dict[str, Any]) -> str:
    ran = [outcome for outcome in data["outcomes"] if outcome["points"]]
    operations = [point["operation"] for point in ran[0]["points"]]
    last = [len(operations) - 1 - operations[::-1].index(operation) for operation, _ in groupby(operations)]
    gains = []
    for index in last:
        most = max(outcome["points"][index]["ratio"] for outcome in ran)
        first = next(outcome for outcome in ran if outcome["points"][index]["ratio"] >= most / (1 + WORTH))
        gains.append(f"{operations[index]} {first['points'][index]['ratio']:.2f}x ({first['offloads']})")
    return "; ".join(gains)


def section(data: dict[str, Any]) -> str:
    """Return a scenario's section in Markdown."""
    facts, job = data["scenario"], data["job"]
    ran = [outcome for outcome in data["outcomes"] if outcome["points"]]
    refused = [outcome for outcome in data["outcomes"] if outcome["refusal"]]
    titles = [_title(point) for point in ran[0]["points"]]
    rows = [f"| {outcome['offloads']} | {' | '.join(_cell(point) for point in outcome['points'])} |" for outcome in ran]
    return "\n".join(
        [
            f"## {facts['name']}",
            "",
            f"{facts['title']}. {job['n_hosts']:,} hosts, ranks in each: {job['ranks_per_host']}; {data['node']}.",
            "",
            f"    fabctl bench compare --scenario {facts['name']}",
            "",
            f"| predicted | {' | '.join(titles)} |",
            f"|---|{'--:|' * len(titles)}",
            *rows,
            "",
            *(f"{outcome['offloads']} is refused: {outcome['refusal']}.\n" for outcome in refused),
            "Published:",
            "",
            *(f"- {fact['fact']} ({fact['source']})" for fact in facts["published"]),
            "",
            "Assumed:",
            "",
            *(f"- {fact['fact']}: {fact['why']}" for fact in facts["assumed"]),
            "",
        ]
    )


def page_overview() -> str:
    """Return the overview that docs/scenarios.md holds."""
    return PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split("\n## ")[0].strip() + "\n"


def page_section(name: str) -> str:
    """Return the section of a scenario that docs/scenarios.md holds."""
    body = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    return f"## {name}\n" + body.partition(f"\n## {name}\n")[2].partition("\n## ")[0].rstrip("\n") + "\n"


def _title(point: dict[str, Any]) -> str:
    return f"{point['operation']} {size_words(point['size_bytes'])}" if point["size_bytes"] else point["operation"]


def _cell(point: dict[str, Any]) -> str:
    unit, factor = next((unit, factor) for unit, factor in (("s", 1e6), ("ms", 1e3), ("us", 1)) if point["time_us"] >= factor)
    return f"{point['time_us'] / factor:.4g} {unit}, {point['ratio']:.2f}x"


if __name__ == "__main__":
    every = [outcome(name) for name in names()]
    made = "\n".join([overview(every), *(section(data) for data in every)])
    if "--write" in sys.argv:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{made}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    else:
        sys.stdout.write(made)
