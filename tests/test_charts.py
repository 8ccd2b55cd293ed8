"""Charts: the same bytes for the same numbers, whatever things are called, and pages that a browser draws offline."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from fabctl.errors import SourceError
from fabctl.model.chart import Chart, Panel, Series
from fabctl.report.charts import CHARTS

NASTY = ("$(reboot)", "</script><script>alert(1)</script>", "<b>bold</b> & $x^2", "leaf-1 über 漢")
SIZES = tuple(float(8 << 3 * step) for step in range(9))


def chart(names: tuple[str, ...] = ("minhop", "ftree"), panels: int = 2) -> Chart:
    curves = [Series(name, SIZES, tuple(size / (size + 1e5 * (1 + at)) for size in SIZES)) for at, name in enumerate(names)]
    allowed = Series("hosts' cables", (SIZES[0], SIZES[-1]), (1.0, 1.0), dashed=True)
    one = Panel(f"all_reduce {names[0]}", (*curves, allowed))
    ticks = tuple((size, f"{size:.0f}") for size in SIZES[::3])
    return Chart(
        f"busbw {names[0]}", "size (bytes)", "busbw (GB/s)", (one,) * panels, ticks, tuple(f"line {name}" for name in names)
    )


@pytest.mark.parametrize("kind", CHARTS.names())
def test_the_same_chart_gives_the_same_bytes_in_another_process(kind: str, project: Path) -> None:
    program = "import sys; sys.path.insert(0, 'tests'); from test_charts import CHARTS, chart; "
    program += f"sys.stdout.buffer.write(CHARTS.load({kind!r})(chart()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=project, check=True)
    assert done.stdout == CHARTS.load(kind)(chart())


@pytest.mark.parametrize("panels", [1, 2, 3, 5])
def test_png_is_a_picture_as_wide_as_its_panels(panels: int) -> None:
    data = CHARTS.load("png")(chart(panels=panels))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert width == max(min(panels, 3) * 720, 1080)
    assert height > 500 * -(-panels // 3)


@pytest.mark.parametrize("name", NASTY)
def test_names_are_drawn_as_they_are(name: str) -> None:
    """matplotlib would take $...$ for a formula; SVG writes each text into a comment beside its glyphs."""
    drawn = CHARTS.load("svg")(chart((name, "other")))
    root = ET.fromstring(drawn, ET.XMLParser(target=ET.TreeBuilder(insert_comments=True)))
    said = [element.text for element in root.iter() if element.tag is ET.Comment]
    assert any(name in (text or "").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">") for text in said)


@pytest.mark.parametrize("name", NASTY)
def test_names_do_not_become_code_on_the_page(name: str) -> None:
    page = CHARTS.load("html")(chart((name, "other"))).decode()
    assert "<script>alert" not in page
    assert not re.search(r"""<(?:script|link|img)[^>]+(?:src|href)=["']?http""", page), "the page needs no network"


def test_a_browser_draws_every_curve_offline(tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no browser: apt-get install chromium")
    (tmp_path / "chart.html").write_bytes(CHARTS.load("html")(chart(NASTY[:2])))
    options = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-sync",
    )
    more = (
        "--disable-component-update",
        "--disable-quic",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=5000",
    )
    argv = [browser, *options, *more, "--dump-dom", f"file://{tmp_path / 'chart.html'}"]
    dom = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True).stdout
    drawn = dom.split("</style>", 1)[1]
    assert drawn.count('class="trace scatter') == 2 * 3
    assert drawn.count('class="legendtext"') == 3
    assert "$(reboot)" in re.sub(r"<script.*?</script>", "", drawn, flags=re.DOTALL)


@pytest.mark.parametrize(("kind", "library"), [("png", "matplotlib"), ("svg", "matplotlib"), ("html", "plotly.subplots")])
def test_a_missing_library_is_named(kind: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SourceError) as caught:
        CHARTS.load(kind)(chart())
    assert caught.value.hint == "pip install 'fabctl[report]'"


def test_the_curves_on_the_page_are_the_numbers() -> None:
    page = CHARTS.load("html")(chart()).decode()
    traces = json.loads(re.search(r"Plotly\.newPlot\(\s*\"chart\",\s*(\[.*?\])\s*,\s*\{", page, re.DOTALL)[1])  # type: ignore[index]
    assert [trace["name"] for trace in traces] == ["minhop", "ftree", "hosts&#x27; cables"] * 2
    assert traces[0]["y"] == list(chart().panels[0].series[0].y)
