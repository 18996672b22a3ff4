"""The command line: `graphad demo`, `explain`, `draw`, `source`, `bench` and `ops`."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from graphad import api
from graphad.compile import CompiledFunction
from graphad.demo.run import Options, run
from graphad.errors import ArgumentError, GraphadError, describe
from graphad.ir.graph import Graph
from graphad.ir.types import TensorType
from graphad.report.bench import duration, measure, random_inputs, sizes_of
from graphad.report.draw import ENDINGS, LAYOUTS, in_a_folder, writable
from graphad.report.operations import builder_rows, rows
from graphad.report.progress import busy
from graphad.report.tables import table
from passes.pipeline import program_text

DERIVATIVES: dict[str, Callable[..., CompiledFunction]] = {
    "value": api.compile,
    "grad": api.grad,
    "value_and_grad": api.value_and_grad,
    "jvp": api.jvp,
    "vjp": api.vjp,
    "jacobian": partial(api.jacobian, sparse=False),
    "hessian": partial(api.hessian, sparse=False),
    "hvp": api.hvp,
}
OF_SCALARS = ("value", "grad", "value_and_grad", "hvp")
OF_ARRAYS = ("value", "jvp", "vjp")
BAD_INPUT = 2
PIPE_WIDTH = 160
EXAMPLES = """\
examples, for a graph `graph` in model.py:
  graphad explain model.py:graph --derive value_and_grad --wrt x
  graphad explain model.py:graph --derive jacobian --html page.html
  graphad draw    model.py:graph --derive jacobian graph.svg
  graphad bench   model.py:graph --size n=1000
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, or 2 for bad input.

    Arguments:
        arguments: without the program's name; None takes those of the process.
    """
    options = parser().parse_args(arguments)
    try:
        options.command(options, console())
    except GraphadError as error:
        Console(stderr=True).print(f"graphad: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return BAD_INPUT
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
    return 0


def console() -> Console:
    """The terminal; for a file or a pipe wide enough that no table is folded."""
    return Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    plain = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="graphad", description="Derivatives of static graphs, compiled.", epilog=EXAMPLES, formatter_class=plain
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        sub.set_defaults(command=run)
        return sub

    demo = command("demo", _demo, "a map of Europe from great-circle distances")
    demo.add_argument("--seed", type=int, default=0, help="of the random start (default 0)")
    demo.add_argument("--out", type=Path, default=Path("map.png"), help="the picture (default map.png)")
    demo.add_argument("--cities", type=int, default=None, help="how many (default: all)")
    demo.add_argument("--quick", action="store_true", help="shorter timings and a shorter long run")

    explain = command("explain", _explain, "the graph, what was decided about its derivative and why, and what runs")
    _function_arguments(explain)
    explain.add_argument("--html", type=Path, metavar="FILE.html", help="write one page with drawings instead")

    draw = command("draw", _draw, "a drawing of the graph, its segments coloured by mode")
    _function_arguments(draw)
    draw.add_argument("file", type=Path, metavar="FILE", help="ends in .svg, .dot (for Graphviz) or .html")
    draw.add_argument("--layout", choices=LAYOUTS, help="default: dot for small graphs where it is installed")

    _function_arguments(command("source", _source, "the generated module, which runs without graphad"))

    bench = command("bench", _bench, "times of value and derivatives on random inputs")
    _graph_argument(bench)
    bench.add_argument("--size", action="append", default=[], metavar="NAME=NUMBER", help="a named size, repeatable")
    what = f"repeatable: {', '.join(DERIVATIVES)} (default: what fits)"
    bench.add_argument("--derive", action="append", choices=DERIVATIVES, metavar="WHAT", help=what)
    _derivative_arguments(bench)

    operations = command("ops", _ops, "the operations and their derivatives")
    operations.add_argument("--functions", action="store_true", help="what one writes, rather than what graphs hold")
    return top


def _graph_argument(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("graph", metavar="FILE.py:NAME", help="a graph, or a function without arguments that returns one")


def _function_arguments(sub: argparse.ArgumentParser) -> None:
    _graph_argument(sub)
    what = f"{', '.join(DERIVATIVES)} (default: value)"
    sub.add_argument("--derive", choices=DERIVATIVES, default="value", metavar="WHAT", help=what)
    _derivative_arguments(sub)


def _derivative_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--wrt", action="append", metavar="INPUT", help="repeatable (default: all of floating dtype)")
    sub.add_argument("--of", action="append", metavar="OUTPUT", help="repeatable (default: all of floating dtype)")


def load_graph(where: str) -> Graph:
    """The graph that `FILE.py:NAME` means.

    Raises `ArgumentError` where the file or the name does not exist, the file fails, or the name is no graph.
    """
    path_text, separator, name = where.rpartition(":")
    if not separator or not name.isidentifier():
        raise ArgumentError(describe(f"`{where}` names no graph", expected="FILE.py:NAME, such as model.py:graph"))
    path = Path(path_text)
    if not path.is_file():
        raise ArgumentError(describe(f"there is no file `{path}`", fix="check the path"))
    found = vars(_module(path)).get(name)
    if found is None:
        raise ArgumentError(describe(f"`{path}` does not define `{name}`", fix="name a graph at the top of the file"))
    if callable(found) and not isinstance(found, Graph):
        found = _called(found, where)
    if not isinstance(found, Graph):
        expected = "a graphad.Graph, or a function without arguments that returns one"
        raise ArgumentError(describe(f"`{where}` is no graph", expected=expected, got=type(found).__name__))
    return found.freeze()


def _called(function: Callable[..., Any], where: str) -> Any:
    try:
        return function()
    except TypeError as error:
        fix = "define a function without arguments that returns a graph"
        raise ArgumentError(describe(f"`{where}` can not be called", got=str(error), fix=fix)) from error


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"graphad_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ArgumentError(describe(f"`{path}` is no Python file", expected="a file that ends in .py"))
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except GraphadError:
        raise
    except Exception as error:
        raise ArgumentError(describe(f"`{path}` fails", got=f"{type(error).__name__}: {error}")) from error
    finally:
        sys.path.pop(0)
    return module


def derive(graph: Graph, name: str, wrt: list[str] | None, of: list[str] | None) -> CompiledFunction:
    """One of `DERIVATIVES` of a graph; a scalar output's derivative takes one `of`."""
    if name == "value":
        return api.compile(graph)
    inputs = wrt[0] if wrt and len(wrt) == 1 else wrt
    outputs = of[0] if of and len(of) == 1 else of
    if isinstance(outputs, list) and name in ("grad", "value_and_grad", "hessian", "hvp"):
        raise ArgumentError(describe(f"`{name}` is of one output", got=f"--of {' --of '.join(outputs)}"))
    return DERIVATIVES[name](graph, inputs, outputs)


def _demo(options: argparse.Namespace, console: Console) -> None:
    in_a_folder(options.out)
    run(Options(options.seed, options.out, options.cities, options.quick), console)


def _made(options: argparse.Namespace) -> CompiledFunction:
    with busy(f"compiling {options.derive} of {options.graph}"):
        return derive(load_graph(options.graph), options.derive, options.wrt, options.of)


def _explain(options: argparse.Namespace, console: Console) -> None:
    page = None if options.html is None else writable(options.html, (".html",))
    function = _made(options)
    with busy("laying out the page" if page else "explaining"):
        width = max(80, console.width)
        text = function.explain(format="html") if page else function.explain(passes=True, loops=True, width=width)
    if page:
        page.write_text(text, encoding="utf-8")
        _wrote(page, console)
        return
    for part in (f"{program_text(function.plan.graph or function.graph)}\n", text):
        console.print(part, markup=False, highlight=False, soft_wrap=True)


def _draw(options: argparse.Namespace, console: Console) -> None:
    file = writable(options.file, ENDINGS)
    function = _made(options)
    with busy("laying out"):
        function.draw(file, layout=options.layout)
    _wrote(file, console)


def _wrote(file: Path, console: Console) -> None:
    console.print(f"{file}: {file.stat().st_size:,} bytes", markup=False, highlight=False)


def _source(options: argparse.Namespace, console: Console) -> None:
    function = _made(options)
    console.file.write(function.source)


def _bench(options: argparse.Namespace, console: Console) -> None:
    graph = load_graph(options.graph)
    given = _sizes(options.size)
    chosen = options.derive or _fitting(graph, options.of)
    names = ["value", *(name for name in chosen if name != "value")]
    timings = []
    for name in names:
        make = partial(derive, graph, name, options.wrt, options.of)
        with busy(f"compiling and timing {name}"):
            timings.append(measure(name, make, lambda f: list(random_inputs(f.graph, given).values())))
    value = timings[0].steady
    cells = [[t.name, *map(duration, (t.compile, t.first, t.steady)), f"{t.steady / value:.2f}"] for t in timings]
    used = ", ".join(f"{name}={number}" for name, number in sizes_of(graph, given).items())
    heading = f"{graph.name}{f' at {used}' if used else ''}; random inputs; a compilation may come from the cache"
    console.print(heading, markup=False, highlight=False)
    columns = ["derivative", "compile", "first call", "steady median", "/ value"]
    console.print(table(columns, cells, right=columns[1:]))


def _sizes(given: list[str]) -> dict[str, int]:
    """`n=1000` as a name and a number."""
    result = {}
    for text in given:
        name, _, number = text.partition("=")
        if not (name.isidentifier() and number.isdecimal()):
            raise ArgumentError(describe(f"`--size {text}` is no size", expected="NAME=NUMBER, such as n=1000"))
        result[name] = int(number)
    return result


def _fitting(graph: Graph, of: list[str] | None) -> tuple[str, ...]:
    """Gradients for one scalar output, products with the Jacobian otherwise."""
    types: list[TensorType] = [graph.nodes[i].type for n, i in graph.outputs.items() if of is None or n in of]
    floats = [kind for kind in types if kind.is_float]
    return OF_SCALARS if len(floats) == 1 and floats[0].shape == () else OF_ARRAYS


def _ops(options: argparse.Namespace, console: Console) -> None:
    if options.functions:
        console.print(table(["function", "NumPy", "meaning"], builder_rows()), soft_wrap=True)
        return
    columns = ["operation", "operands", "kind", "derivative", "flops"]
    console.print(table(columns, rows(), right=["operands", "flops"]), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
