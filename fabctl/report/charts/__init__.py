"""Charts as files: PNG and SVG for documents, HTML that opens offline for a closer look."""

from fabctl.registry import Entry, Registry

CHARTS = Registry(
    "chart",
    {
        "html": Entry("fabctl.report.charts.interactive:html", "a page that opens offline; hover to read values"),
        "png": Entry("fabctl.report.charts.still:png", "a picture"),
        "svg": Entry("fabctl.report.charts.still:svg", "a drawing that scales"),
    },
)

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
"""Told apart by everybody, colour-blind or not (Okabe and Ito, Color Universal Design, 2008); the last two are black and grey."""
COLUMNS = 3
"""Panels in a row."""
MISSING = "pip install 'fabctl[report]'"
"""What brings the libraries that draw."""
