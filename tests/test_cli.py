"""The command line: each command on a user's file, and what it says about bad input."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from graphad.cli import main
from graphad.ir.operation import OPERATIONS
from graphad.report.progress import busy

MODEL = '''
import numpy as np
import graphad as ga

graph = ga.Graph("rosen")
x = graph.input("x", shape="n", hint=50)
graph.output("y", (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum())

def build():
    return ga.trace(lambda a, i: (np.sin(a), a[i]), a=(3,), i=((), "int64"))

def needs(argument):
    return graph

number = 3
'''


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("cli") / "model.py"
    file.write_text(MODEL, encoding="utf-8")
    return str(file)


def test_explain(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", f"{model}:graph", "--derive", "value_and_grad", "--wrt", "x"]) == 0
    out = capsys.readouterr().out
    for part in ("graph rosen", "x: float64[n] = input", "dy/d(x)", "reverse", "-> nodes", f"{model}:7"):
        assert part in out


def test_source_runs_without_graphad(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["source", f"{model}:graph", "--derive", "grad"]) == 0
    source = capsys.readouterr().out
    assert "import graphad" not in source
    scope: dict[str, object] = {}
    exec(compile(source.replace("cache=True", "cache=False"), "generated.py", "exec"), scope)
    gradient = scope["rosen_grad"](np.array([1.0, 1.0, 2.0]))  # type: ignore[operator]
    np.testing.assert_allclose(gradient, [0.0, -400.0, 200.0], atol=1e-10)


def test_bench_of_a_scalar(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", f"{model}:graph", "--size", "n=20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("rosen at n=20; random inputs")
    assert [line.split()[0] for line in lines[3:] if line] == ["value", "grad", "value_and_grad", "hvp"]
    assert lines[3].split()[-1] == "1.00"
    assert len({line.rstrip()[-3] for line in lines[3:]}) == 1  # aligned at the decimal point


def test_bench_of_arrays_from_a_function(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", f"{model}:build", "--of", "y0", "--derive", "jacobian", "--wrt", "a"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:] if line] == ["value", "jacobian"]


def test_ops_lists_every_operation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ops"]) == 0
    shown = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert set(OPERATIONS) <= shown
    assert main(["ops", "--functions"]) == 0
    assert "np.logaddexp" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", "model.py"], "`model.py` names no graph\n  expected: FILE.py:NAME, such as model.py:graph"),
        (["explain", "nowhere.py:graph"], "graphad: there is no file `nowhere.py`\n  fix: check the path\n"),
        (["explain", "MODEL:nothing"], "does not define `nothing`\n  fix: name a graph at the top of the file\n"),
        (["explain", "MODEL:number"], "is no graph\n  expected: a graphad.Graph, or a function without arguments that "
         "returns one\n  got: int\n"),
        (["explain", "MODEL:needs"], "can not be called\n  got: needs() missing 1 required positional argument"),
        (["source", "MODEL:graph", "--derive", "grad", "--wrt", "q"], "`rosen` has no such input"),
        (["source", "MODEL:build", "--derive", "grad", "--of", "y0", "--of", "y1"], "`grad` is of one output"),
        (["explain", "MODEL:graph", "--html", "out.txt"], "says no format\n  expected: a name that ends in .html"),
        (["draw", "MODEL:graph", "out.png"], "expected: a name that ends in .svg or .dot or .html"),
        (["explain", "MODEL:graph", "--html", "no/such/out.html"], "`no/such/out.html` can not be written"),
        (["bench", "MODEL:graph", "--size", "m=3"], "graphad: `rosen` has no size `m`\n  expected: `n`\n"),
        (["bench", "MODEL:graph", "--size", "n"], "`--size n` is no size\n  expected: NAME=NUMBER, such as n=1000\n"),
        (["bench", "MODEL:graph", "--size", "n=0"], "the slice reaches outside the axis"),
        (["demo", "--cities", "2"], "graphad: so many cities are not on file\n  expected: 4 to"),
        (["demo", "--out", "no/such/folder/map.png"], "can not be written\n  expected: a file in an existing folder\n"),
    ],
)  # fmt: skip
def test_bad_input(arguments: list[str], message: str, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([argument.replace("MODEL", model) for argument in arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "broken.py"
    file.write_text("import numpy\n1 / 0\n", encoding="utf-8")
    assert main(["explain", f"{file}:graph"]) == 2
    assert f"`{file}` fails\n  got: ZeroDivisionError: division by zero" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("demo", "explain", "draw", "source", "bench", "ops"))


def test_explain_as_a_page(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.html"
    assert main(["explain", f"{model}:graph", "--derive", "grad", "--html", str(file)]) == 0
    assert capsys.readouterr().out.startswith(f"{file}: ")
    assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_draw(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.svg"
    assert main(["draw", f"{model}:graph", str(file), "--derive", "grad", "--layout", "layered"]) == 0
    assert capsys.readouterr().out.startswith(f"{file}: ")
    assert 'class="mark operation reverse' in file.read_text(encoding="utf-8")


def terminal() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=True, width=60), out


def test_work_that_takes_long_says_so_at_a_terminal_only() -> None:
    console, shown = terminal()
    with busy("compiling", console, patience=0.01):
        time.sleep(0.3)
    assert "compiling" in shown.getvalue()
    console, shown = terminal()
    with busy("compiling", console):
        pass
    assert shown.getvalue() == ""
    pipe = io.StringIO()
    with busy("compiling", Console(file=pipe), patience=0.0):
        time.sleep(0.05)
    assert pipe.getvalue() == ""
