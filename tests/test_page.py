"""The page of a compiled function: what is in it, and that a browser draws it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from test_drawing import bottleneck, chain

import graphad as ga
from graphad.plan.coloring import Coloring
from graphad.report.drawing import family, graph_drawing
from graphad.report.page import graph_page
from graphad.report.patterns import pattern_svg
from graphad.report.svg import svg
from graphad.report.timeline import Held, curves_svg, live_bytes, scratch_arrays, timeline_svg
from graphad.sparse.sparsity import Sparsity
from tests.strategies import STEPS_WITH_INTEGERS, cases

BROWSER = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1400,900",
)  # fmt: skip
VOID = {"meta", "input", "br", "link", "img"}


class Balance(HTMLParser):
    """Tags that are closed in another order than they were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        """Nothing is left open."""

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture(scope="module")
def page() -> str:
    return ga.jacobian(bottleneck(), wrt="x", tier="interpreted").explain(format="html")


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_one_file_without_links(page: str) -> None:
    assert not re.search(r"<link|<img|@import|url\(|\bsrc=|https?://(?!www\.w3\.org/2000/svg)", page)
    balance = Balance()
    balance.feed(page)
    assert (balance.wrong, balance.open) == ([], [])
    assert "<!--" not in page


def test_nodes_and_decisions(page: str) -> None:
    data = data_of(page)
    differentiated, derivative = data["canvases"]
    sine = differentiated["nodes"]["n3"]
    assert sine["text"] == "%3: float64[100] = sin x"
    assert (sine["type"], sine["args"], sine["users"], sine["flops"]) == ("float64[100]", ["n0"], ["n4"], 1500)
    assert sine["code"] == "y = b @ np.tanh(a @ np.sin(x))"
    assert re.search(r"test_drawing\.py:\d+$", sine["at"])
    decision = data["decisions"][sine["decision"]]
    assert (decision["subject"], decision["choice"], decision["family"]) == (
        "segment 1: x -> %3",
        "adjoints",
        "reverse",
    )
    assert decision["counts"] == "100 -> 100"
    assert decision["candidates"] == ["  forward  10,000 multiplications: 100 x 100",
                                      "  reverse  10,000 multiplications: 100 x 100"]  # fmt: skip
    assert "decision" not in derivative["nodes"]["n3"]
    for title in ("plan", "passes", "loops, sizes at their hints"):
        assert f"<summary>{title}</summary>" in page


def test_names_of_users_can_not_break_out_of_the_page() -> None:
    g = ga.Graph("sneaky")
    x = g.input("x")
    code = 'g.output("y", np.sin(x))  # </script><b>'
    exec(compile(code, "</script><script>alert(1)", "exec"), {"g": g, "x": x, "np": np})
    page = ga.grad(g, tier="interpreted").explain(format="html")
    assert "</script><script>alert" not in page
    assert data_of(page)["canvases"][0]["nodes"]["n1"]["at"].startswith("</script>")


def test_nodes_lead_into_loops() -> None:
    g = ga.Graph("outer")
    x = g.input("x")
    g.output("y", ga.fori_loop(0, 5, lambda i, v: ga.fori_loop(0, 2, lambda j, u: np.cos(u), v) * 2.0, x))
    file = ga.grad(g, tier="interpreted").explain(format="html")
    titles = re.findall(r'<option value="(\d+)">([^<]*)', file)
    outer = next(int(k) for k, title in titles if title.startswith("outer: body of scan"))
    data = data_of(file)["canvases"]
    (loop,) = (n for n in data[0]["nodes"].values() if n["op"] == "scan")
    assert loop["bodies"] == [["body", outer]]
    (nested,) = (n for n in data[outer]["nodes"].values() if n["op"] == "scan")
    assert "cos" in {n["op"] for n in data[nested["bodies"][0][1]]["nodes"].values()}


def test_the_graph_of_one_row_is_drawn_with_its_plan() -> None:
    g = ga.Graph("norms")
    q = g.input("q", shape=("n", 3))
    g.output("r", np.sqrt((q * q).sum(axis=1)))
    plan = ga.jacobian(g, tier="interpreted").plan
    whole, row = plan.graphs
    assert [decision.subject for decision in plan.about(whole)] == ["rows of r"]
    (inner,) = plan.about(row)
    assert {row.nodes[i].op for i in inner.nodes} >= {"sqrt"}
    assert {mark.family for mark in graph_drawing(row, plan).marks} == {"", family(inner.choice)}
    data = data_of(ga.jacobian(g, tier="interpreted").explain(format="html"))
    assert len(data["canvases"]) == 3


def test_patterns_of_sparse_results_are_drawn() -> None:
    g = ga.Graph("steps")
    x = g.input("x", shape="n", hint=12)
    g.output("y", x[1:] * x[:-1])
    page = ga.jacobian(g, sparse=True, tier="interpreted").explain(format="html")
    (drawn,) = re.findall(r'<svg[^>]*class="graphad-pattern".*?</svg>', page)
    cells = re.findall(r"M(\d+) (\d+)h1v1h-1z", drawn)
    assert sorted((int(row), int(column)) for column, row in cells) == sorted(
        (row, column) for row in range(11) for column in (row, row + 1)
    )
    assert "22 entries" in page
    assert "&lt;sparse interpreted steps_jacobian(x, *, out=None)&gt;" in page


def test_a_coloured_pattern_shows_its_sweeps() -> None:
    rows, columns = np.nonzero(np.tri(6, 6, 1) - np.tri(6, 6, -2))
    colours = np.arange(6, dtype=np.int32) % 3
    coloring = Coloring(colours, np.full(6, -1, dtype=np.int32), 3, 0)
    indptr = np.searchsorted(rows, np.arange(7))
    drawn = pattern_svg("tridiagonal", Sparsity((6, 6), indptr, columns, "coloured", coloring))
    paths = re.findall(r'fill="(hsl[^"]*)" d="([^"]*)"', drawn)
    assert len({fill for fill, _ in paths}) == 3
    first = re.findall(r"M(\d+) (\d+)", paths[0][1])
    assert {int(column) for column, _ in first} == {0, 3}


def test_a_large_pattern_is_drawn_in_blocks() -> None:
    size = 100_000
    diagonal = Sparsity((size, size), np.arange(size + 1), np.arange(size), "direct")
    assert len(pattern_svg("diagonal", diagonal)) < 10_000
    assert "M" not in pattern_svg("empty", Sparsity((0, 3), np.zeros(1, dtype=int), np.zeros(0, dtype=int), "direct"))


def test_of_huge_graphs_the_page_knows_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphad.report.page.OPENABLE", 100)
    drawn = data_of(graph_page(chain(100)))["canvases"][0]
    assert list(drawn["nodes"]) == ["n0"]
    assert sum(group["count"] for group in drawn["groups"].values()) == 300
    assert all(group["nodes"] == [] for group in drawn["groups"].values())


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases(steps=STEPS_WITH_INTEGERS))
def test_every_graph_has_a_drawing_and_a_page(case: Any) -> None:
    ET.fromstring(svg(graph_drawing(case.graph)))
    file = ga.compile(case.graph, tier="interpreted").explain(format="html")
    balance = Balance()
    balance.feed(file)
    assert (balance.wrong, balance.open) == ([], [])
    assert len(data_of(file)["canvases"][0]["nodes"]) > 0


def chromium(tmp_path: Path, name: str, page: str, fragment: str) -> str:
    """The document as the browser has it after the script, and a screenshot beside the page."""
    assert BROWSER is not None
    file = tmp_path / f"{name}.html"
    file.write_text(page, encoding="utf-8")
    arguments = [f"--user-data-dir={tmp_path / name}", "--dump-dom", f"--screenshot={file.with_suffix('.png')}"]
    command = [BROWSER, *FLAGS, *arguments, f"file://{file}#{fragment}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed: the page is not tried in a browser")
def test_a_browser_draws_all_nodes_of_a_small_graph(tmp_path: Path, page: str) -> None:
    seen = chromium(tmp_path, "small", page, "keep=n3")
    assert 'data-ready="yes"' in seen  # the script ran to its end
    assert re.search(r'class="view shown" data-view="flat"|data-view="flat" class="view shown"', seen)
    assert "<h2>segment 1: x -&gt; %3: <span" in seen
    assert "y = b @ np.tanh(a @ np.sin(x))</code>" in seen
    assert colours(tmp_path / "small.png") > 50


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed: the page is not tried in a browser")
def test_a_browser_opens_a_part_of_a_long_graph(tmp_path: Path) -> None:
    large = ga.grad(sums(chain(300)), tier="interpreted").explain(format="html")
    seen = chromium(tmp_path, "large", large, "open=g1")
    assert 'data-ready="yes"' in seen
    assert re.search(r'class="view shown" data-view="parts"|data-view="parts" class="view shown"', seen)
    assert re.search(r'class="mark group reverse opened" data-key="g1"', seen)
    assert colours(tmp_path / "large.png") > 50


CLICKS = """
<script>
const found = [], mark = (key) => document.querySelector(`.canvas.shown .view.shown > .mark[data-key="${key}"]`);
const press = (key, at) => at.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const note = (what) => found.push([what, document.querySelectorAll(".canvas.shown .opened").length,
  document.querySelectorAll(".mark.kept").length, document.querySelector("#about h2, #about code")?.textContent || ""]);
note("start");
mark("g0").dispatchEvent(new MouseEvent("click", { bubbles: true }));
note("click");
press("Escape", mark("g0"));
note("escape");
press("Enter", mark("g1"));
note("enter");
const search = document.getElementById("find");
search.value = "%7";
search.dispatchEvent(new Event("input"));
note("find");
const list = document.getElementById("which");
list.value = "1";
list.dispatchEvent(new Event("change"));
note("other graph");
document.body.dataset.found = JSON.stringify(found);
</script>
</body>"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed: the page is not tried in a browser")
def test_clicks_and_keys(tmp_path: Path) -> None:
    page = ga.grad(sums(chain(100)), tier="interpreted").explain(format="html")
    seen = chromium(tmp_path, "clicks", page.replace("</body>", CLICKS), "view=parts")
    found = re.search(r'data-found="([^"]*)"', seen)
    assert found
    assert json.loads(unescape(found[1])) == [
        ["start", 0, 0, ""],
        ["click", 1, 1, "part 1 of 7: dtotal/d(x)"],
        ["escape", 1, 0, "part 1 of 7: dtotal/d(x)"],
        ["enter", 2, 1, "part 2 of 7: dtotal/d(x)"],
        ["find", 2, 1, "%7: float64[n] = mul %5 %6"],
        ["other graph", 0, 0, "%7: float64[n] = mul %5 %6"],
    ]


def sums(graph: ga.Graph) -> ga.Graph:
    """The sum of a graph's output."""
    g = graph.copy()
    g.outputs = {}
    g.output("total", g.variable(graph.outputs["y"]).sum())
    return g.freeze()


def colours(picture: Path) -> int:
    """How many different colours a screenshot has: an empty page has a handful."""
    from matplotlib.image import imread

    pixels = np.asarray(imread(picture))[:, :800, :3]
    return len(np.unique(np.round(255 * pixels).astype(int).reshape(-1, 3), axis=0))


def test_the_timeline_of_scratch_memory() -> None:
    arrays = [Held("a", 0, 640, 0, 1), Held("b", 640, 1280, 1, 3), Held("c", 0, 320, 2, 3)]
    assert live_bytes(arrays) == [640, 1280, 960, 960]
    drawn = ET.fromstring(timeline_svg("memory", arrays))
    boxes = list(drawn.iter("{http://www.w3.org/2000/svg}rect"))
    sizes = {str(e.findtext("{http://www.w3.org/2000/svg}title"))[0]: (e.get("x"), e.get("width")) for e in boxes}
    assert sizes == {"a": ("70.0", "245.0"), "b": ("192.5", "367.5"), "c": ("315.0", "245.0")}
    assert live_bytes([Held("inner", 0, 64, 0, 0), Held("other", 32, 96, 0, 0)]) == [96]
    assert live_bytes([]) == []
    ET.fromstring(timeline_svg("empty", []))


def test_functions_with_scratch_memory_show_it() -> None:
    g = ga.Graph("softmax")
    x = g.input("x", shape="n", hint=100)
    y = np.exp(x) / np.exp(x).sum()
    g.output("y", y * y.max())
    f = ga.compile(g, tier="interpreted")
    page = f.explain(format="html")
    assert page.count("graphad-timeline") == 2  # the picture and its style
    arrays = scratch_arrays(f.generated.slots, {"n": 100})
    assert max(a.end for a in arrays) <= f.scratch_bytes()
    assert all(f"{a.name}: {a.end - a.begin:,} bytes at {a.begin:,}" in page for a in arrays)


def test_curves_of_live_bytes() -> None:
    drawn = ET.fromstring(curves_svg("memory", {"before": [10, 40, 20], "after": [10, 20]}))
    paths = [e.get("d") or "" for e in drawn.iter("{http://www.w3.org/2000/svg}path")]
    heights = [[280.0 - float(y) for y in re.findall(r"V([\d.]+)h", path)] for path in paths]
    assert heights == [[55.0, 220.0, 110.0], [55.0, 110.0]]
    assert "before: 40 at most" in "".join(drawn.itertext())
    ET.fromstring(curves_svg("nothing", {"before": []}))
