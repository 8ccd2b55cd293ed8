"""Charts as PNG and SVG, by matplotlib. The same chart gives the same bytes."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from fabctl.errors import SourceError
from fabctl.model.chart import Chart, Panel
from fabctl.report.charts import COLOURS, COLUMNS, MISSING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL_INCHES = (6.0, 4.2)
LINE_INCHES = 0.2
"""Height of a line of text below the panels."""
DPI = 120
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "fabctl",
    "text.parse_math": False,  # fabrics may be called anything, $(x) too
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def png(chart: Chart) -> bytes:
    """Return a chart as PNG.

    Raises
    ------
    SourceError
        If matplotlib is not installed.
    """
    return _drawn(chart, format="png", dpi=DPI, metadata={"Software": None})


def svg(chart: Chart) -> bytes:
    """Return a chart as SVG; raises as `png` does."""
    return _drawn(chart, format="svg", metadata={"Date": None, "Creator": None})


def _drawn(chart: Chart, **options: Any) -> bytes:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise SourceError("matplotlib is not installed", hint=MISSING) from error
    out = io.BytesIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # drawn as a box
        _figure(chart).savefig(out, **options)
    return out.getvalue()


def _figure(chart: Chart) -> Figure:
    from matplotlib.figure import Figure

    columns = min(len(chart.panels), COLUMNS)
    rows = -(-len(chart.panels) // columns)
    text = LINE_INCHES * (len(chart.lines) + 1)
    height = rows * PANEL_INCHES[1] + text
    figure = Figure(figsize=(max(columns * PANEL_INCHES[0], 9.0), height), layout="constrained")
    figure.get_layout_engine().set(rect=(0, text / height, 1, 1 - text / height))  # type: ignore[union-attr, call-arg]
    figure.suptitle(chart.title, fontweight="bold")
    for axes, panel in zip(figure.subplots(rows, columns, squeeze=False).ravel(), chart.panels, strict=False):
        _draw(axes, chart, panel)
    for axes in figure.axes[len(chart.panels) :]:
        axes.set_visible(False)
    for number, line in enumerate(reversed(chart.lines)):
        figure.text(0.01, (number + 0.5) * LINE_INCHES / height, line, fontsize=8, color="#555555")
    return figure


def _draw(axes: Any, chart: Chart, panel: Panel) -> None:
    for number, series in enumerate(panel.series):
        width = max(3.0 - 0.6 * number, 1.2)  # of curves one over another, all can be seen
        style = {"linestyle": "--", "linewidth": 1.2} if series.dashed else {"marker": "o", "markersize": 3, "linewidth": width}
        axes.plot(series.x, series.y, label=series.name, color=COLOURS[number % len(COLOURS)], **style)
    axes.set_xscale("log", base=2)
    axes.set_xticks([value for value, _ in chart.x_ticks], [label for _, label in chart.x_ticks], minor=False)
    axes.set_ylim(bottom=0)
    axes.set_title(panel.title, fontsize=11)
    axes.set_xlabel(chart.x_title)
    axes.set_ylabel(chart.y_title)
    axes.grid(visible=True, color="#DDDDDD", linewidth=0.6)
    axes.legend(fontsize=8)
