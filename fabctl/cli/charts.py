"""Reports as charts: ``-o html``, ``-o png`` and ``-o svg``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fabctl.errors import UsageError
from fabctl.report.charts import CHARTS

if TYPE_CHECKING:
    from fabctl.model.chart import Chart


def wants_chart(output: dict[str, Any]) -> bool:
    """Return whether the output options ask for a chart.

    Raises
    ------
    UsageError
        If they ask for one and name no file.
    """
    chart = output["output_format"] in CHARTS.entries
    if chart and output["out"] in (None, "-"):
        raise UsageError(f"-o {output['output_format']} is a file", hint=f"--out chart.{output['output_format']}")
    return chart


def write_chart(chart: Chart, output: dict[str, Any]) -> None:
    """Draw a chart into the file that the output options name, whole or not at all."""
    from fabctl.atomic import write_atomic

    write_atomic(output["out"], CHARTS.load(output["output_format"])(chart))
