"""Drawings of graphs and plans: what is shown, as SVG, DOT and HTML, in notebooks and by Graphviz."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import graphad as ga
from graphad.report.dot import dot_text, installed
from graphad.report.drawing import FAMILIES, family, graph_drawing
from graphad.report.groups import MOST, grouped, overview
from graphad.report.svg import svg, template

SVG = "{http://www.w3.org/2000/svg}"


def bottleneck() -> ga.Graph:
    g = ga.Graph("bottleneck")
    x = g.input("x", shape=100)
    a, b = g.input("A", shape=(3, 100)), g.input("B", shape=(100, 3))
    y = b @ np.tanh(a @ np.sin(x))
    g.output("y", np.sin(y) * np.exp(-(y**2)))
    return g.freeze()


@pytest.fixture(scope="module")
def jacobian() -> ga.CompiledFunction:
    return ga.jacobian(bottleneck(), wrt="x", tier="interpreted")


def chain(length: int) -> ga.Graph:
    g = ga.Graph("chain")
    y = g.input("x", shape="n")
    for k in range(length):
        y = np.sin(y) * float(k + 2) + y
    g.output("y", y)
    return g.freeze()


def test_nodes_edges_and_numbers() -> None:
    g = ga.Graph("small")
    x = g.input("x", shape="n")
    g.output("y", (1.0 - x) * np.exp(x))
    drawing = graph_drawing(g)
    assert [m.label for m in drawing.marks] == ["x", "1 - ·", "exp", "mul"]  # 1.0 has no mark of its own
    assert drawing.edges == ((0, 1), (0, 2), (1, 3), (2, 3))
    assert drawing.marks[-1].outputs == ("y",)
    assert "test_drawing.py" in drawing.marks[1].title
    assert "%2: float64[n] = sub %1 x" in drawing.marks[1].title


def test_segments_have_the_colours_of_their_modes(jacobian: ga.CompiledFunction) -> None:
    plan = jacobian.plan
    assert plan.graph is not None
    drawing = graph_drawing(plan.graph, plan)
    chosen = {f"n{v}": family(s.choice) for s in plan.segments for v in s.nodes}
    assert {m.key: m.family for m in drawing.marks if m.kind == "operation"} == chosen
    assert drawing.legend == ("forward", "reverse")


def test_every_colour_is_defined_for_light_and_dark_ground() -> None:
    text = template("drawing.css")
    for name in FAMILIES:
        assert text.count(f"--{name}: #") == text.count(f"--{name}-fill: #") == 2
        assert f".{name} > .box" in text


def test_svg_is_well_formed_and_has_every_node(jacobian: ga.CompiledFunction) -> None:
    plan = jacobian.plan
    assert plan.graph is not None
    root = ET.fromstring(svg(graph_drawing(plan.graph, plan)))
    marks = [e for e in root.iter(f"{SVG}g") if "data-key" in e.attrib]
    assert len(marks) == len(plan.graph.nodes)  # no number among them
    edges = [e for e in root.iter(f"{SVG}path") if e.get("class") == "edge"]
    assert len(edges) == len({(a, i) for i, n in enumerate(plan.graph.nodes) for a in n.args})
    titles = [e.findtext(f"{SVG}title") or "" for e in marks]
    assert any("segment 4: %5 -> %6: forward" in title for title in titles)


def test_text_is_escaped() -> None:
    g = ga.Graph("less")
    x = g.input("x")
    g.output("y", np.where(x < 3.0, x, -x))
    text = svg(graph_drawing(g))
    assert "· &lt; 3" in text
    ET.fromstring(text)


def test_draw_writes_by_the_ending(jacobian: ga.CompiledFunction, tmp_path: Path) -> None:
    g = bottleneck()
    for subject in (g, jacobian):
        for ending, start in ((".svg", "<svg xmlns="), (".dot", 'digraph "bottleneck"'), (".html", "<!DOCTYPE html>")):
            file = subject.draw(tmp_path / f"picture{ending}")
            assert file == tmp_path / f"picture{ending}"
            assert file.read_text(encoding="utf-8").startswith(start)
    assert 'fillcolor="#e1f0fa"' in jacobian.draw(tmp_path / "a.dot").read_text(encoding="utf-8")


def test_without_a_derivative_the_optimized_graph_is_drawn(tmp_path: Path) -> None:
    g = ga.Graph("value")
    x = g.input("x", shape="n")
    g.output("y", x * 1.0 + 0.0 * x + np.sin(x))
    text = ga.compile(g, tier="interpreted").draw(tmp_path / "value.svg", layout="layered").read_text(encoding="utf-8")
    assert "1*·" not in text
    assert ">sin<" in text


@pytest.mark.skipif(not installed(), reason="Graphviz is not installed")
def test_graphviz_lays_out_the_same_drawing(jacobian: ga.CompiledFunction, tmp_path: Path) -> None:
    texts = [
        jacobian.draw(tmp_path / f"{layout}.svg", layout=layout).read_text(encoding="utf-8")
        for layout in ("dot", "layered")
    ]
    keys = [re.findall(r'data-key="(n\d+)"', text) for text in texts]
    assert keys[0] == keys[1]
    assert texts[0] != texts[1]
    edges = [len(re.findall(r'class="edge"', text)) for text in texts]
    assert edges[0] == edges[1]


def test_graphviz_missing(jacobian: ga.CompiledFunction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert jacobian.draw(tmp_path / "a.svg").exists()
    with pytest.raises(ga.ArgumentError, match="needs Graphviz's program `dot`\n  fix: install Graphviz"):
        jacobian.draw(tmp_path / "a.svg", layout="dot")


def test_graphviz_failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "dot"
    fake.write_text("#!/bin/sh\necho 'out of order' >&2\nexit 1\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ga.ArgumentError, match="`dot` fails\n  got: out of order"):
        bottleneck().draw(tmp_path / "a.svg", layout="dot")


def test_graph_names_that_dot_reserves(tmp_path: Path) -> None:
    g = ga.Graph()
    g.output("y", g.input("x") * 2.0)
    assert dot_text(graph_drawing(g)).startswith('digraph "graph" {')


def test_long_graphs_come_in_parts() -> None:
    g = chain(120)
    groups = grouped(g)
    assert [v for group in groups for v in group.nodes] == [
        i for i, node in enumerate(g.nodes) if node.op not in ("input", "const")
    ]
    assert all(MOST // 2 <= len(group.nodes) <= MOST for group in groups[:-1])
    drawing = overview(g, groups)
    assert len(drawing.marks) == len(groups) + 1
    # Cut where one value is alive: each part needs the one before only.
    assert drawing.edges == ((len(groups), 0), *((k, k + 1) for k in range(len(groups) - 1)))


def test_segments_are_parts(jacobian: ga.CompiledFunction) -> None:
    plan = jacobian.plan
    assert plan.graph is not None
    groups = grouped(plan.graph, plan)
    assert [group.label for group in groups] == [s.subject for s in plan.segments]
    assert [group.nodes for group in groups] == [s.nodes for s in plan.segments]


def test_notebooks(jacobian: ga.CompiledFunction) -> None:
    small, large = bottleneck()._repr_html_(), chain(120)._repr_html_()
    assert "<svg" in small
    assert "parts" not in small
    assert "nodes in 8 parts" in large
    assert len(large) < 30_000
    for shown in (jacobian._repr_html_(), jacobian.plan._repr_html_()):
        assert "segment 4: %5 -&gt; %6" in shown
        assert "<svg" in shown
    assert "&lt;interpreted bottleneck_jacobian(" in jacobian._repr_html_()
    assert "<svg" not in ga.compile(bottleneck(), tier="interpreted").plan._repr_html_()
