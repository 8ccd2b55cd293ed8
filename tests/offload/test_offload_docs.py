"""docs/offload.md names every feature, driver, subcommand, state and risk; every subcommand explains itself."""

from __future__ import annotations

import re
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any

import click
import pytest
from test_cli_contract import heavy_modules

from fabctl.cli.offload import SUBCOMMANDS
from fabctl.model.offload_plan import Risk
from fabctl.model.operation import State
from fabctl.offload import DRIVERS, FEATURES


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    return (project / "docs" / "offload.md").read_text()


def rows(page: str, heading: str) -> set[str]:
    """Return the names in the first column of the first table below a heading."""
    lines = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0].splitlines()
    table = takewhile(lambda line: line.startswith("|"), dropwhile(lambda line: not line.startswith("|"), lines))
    return {name for line in list(table)[2:] for name in re.findall(r"`([^`]+)`", line.split("|")[1])}


def test_every_feature_and_driver_has_a_row(page: str) -> None:
    assert set(FEATURES.names()) - {"lab"} <= rows(page, "Features")
    assert rows(page, "Drivers") == set(DRIVERS.names()) - {"lab"}


def test_every_subcommand_state_and_risk_has_a_row(page: str) -> None:
    named = {name.split()[0] for name in rows(page, "The cycle")}
    assert named | {"disable"} == set(SUBCOMMANDS.names())
    cycle = page.partition("\n## The cycle\n")[2].partition("\n## ")[0]
    found = set(re.findall(r"^\| `([\w-]+)` \|", cycle, re.MULTILINE))
    assert found >= {*State, *(risk.name.lower() for risk in Risk)}
    for risk in Risk:
        assert f"| `{risk.name.lower()}` | {risk.meaning} |" in page


@pytest.mark.parametrize("name", SUBCOMMANDS.names())
def test_every_subcommand_explains_itself(run: Any, name: str) -> None:
    command: click.Command = SUBCOMMANDS.load(name)
    assert command.get_short_help_str(limit=1000) == SUBCOMMANDS.entries[name].summary
    done = run("offload", name, "--help")
    assert (done.code, done.err) == (0, "")
    lines = re.findall(rf"^    fabctl offload {name}(?: .*)?$", done.out, re.MULTILINE)
    assert lines, "no example"
    known = {option for parameter in command.params for option in parameter.opts}
    assert {option for line in lines for option in re.findall(r"(?<!\S)--?[a-z][\w-]*", line)} <= known
    assert [parameter.name for parameter in command.params if isinstance(parameter, click.Option) and not parameter.help] == []


@pytest.mark.parametrize("name", SUBCOMMANDS.names())
def test_help_imports_nothing_heavy(name: str) -> None:
    assert heavy_modules("offload", name, "--help") == set()


def test_help_topics_list_every_key(run: Any) -> None:
    for topic, registry in (("features", FEATURES), ("drivers", DRIVERS)):
        out = run("help", topic).out
        for name in registry.names():
            assert re.search(rf"^  {name} +\S", out, re.MULTILINE)
            for key in registry.load(name).keys:
                assert re.search(rf"^    {key}= +\S", out, re.MULTILINE), f"{name} {key}"
