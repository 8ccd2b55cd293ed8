"""Charts as one HTML page that opens offline, by Plotly, whose script lies in the page. The same chart gives the same bytes."""

from __future__ import annotations

from html import escape
from typing import Any

from fabctl.errors import SourceError
from fabctl.model.chart import Chart
from fabctl.report.charts import COLOURS, COLUMNS, MISSING

PANEL_PIXELS = 460

PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 110rem; padding: 0 1rem; color: #222; }}
h1 {{ font-size: 1.3rem; }}
li {{ color: #555; }}
</style>
<h1>{title}</h1>
{figure}
<ul>
{lines}
</ul>
</html>
"""


def html(chart: Chart) -> bytes:
    """Return a chart as a page.

    Raises
    ------
    SourceError
        If Plotly is not installed.
    """
    try:
        from plotly.subplots import make_subplots
    except ImportError as error:
        raise SourceError("Plotly is not installed", hint=MISSING) from error
    columns = min(len(chart.panels), COLUMNS)
    rows = -(-len(chart.panels) // columns)
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=[escape(panel.title) for panel in chart.panels])
    named: dict[str, str] = {}
    for place, panel in enumerate(chart.panels):
        for series in panel.series:
            colour = named.setdefault(series.name, COLOURS[len(named) % len(COLOURS)])
            figure.add_scatter(
                x=series.x,
                y=series.y,
                name=escape(series.name),
                legendgroup=series.name,
                showlegend=not any(series.name == other.name for before in chart.panels[:place] for other in before.series),
                mode="lines" if series.dashed else "lines+markers",
                line={"color": colour, "dash": "dash" if series.dashed else "solid"},
                row=place // columns + 1,
                col=place % columns + 1,
            )
    ticks = {"tickvals": [value for value, _ in chart.x_ticks], "ticktext": [escape(label) for _, label in chart.x_ticks]}
    figure.update_xaxes(type="log", title=escape(chart.x_title), **ticks)
    figure.update_yaxes(rangemode="tozero", title=escape(chart.y_title))
    figure.update_layout(height=PANEL_PIXELS * rows, template="plotly_white", margin={"t": 40})
    return _page(chart, figure).encode()


def _page(chart: Chart, figure: Any) -> str:
    drawn = figure.to_html(full_html=False, include_plotlyjs=True, div_id="chart", config={"displaylogo": False})
    lines = "\n".join(f"<li>{escape(line)}</li>" for line in chart.lines)
    return PAGE.format(title=escape(chart.title), figure=drawn, lines=lines)
