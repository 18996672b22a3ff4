"""Bad input: every mistake of docs/errors.md is made, and its message compared; what must not be refused is not."""

from __future__ import annotations

import builtins
import re
from pathlib import Path
from typing import Any

import error_cases_building
import numpy as np
import pytest
from error_cases import CASES
from error_cases_calling import triple
from error_page import PAGE, Case, message_of, page, shown

import graphad as ga
from graphad import errors
from graphad.errors import GraphadError


@pytest.mark.parametrize("one", CASES, ids=lambda c: c.make.__name__)
def test_message(one: Case) -> None:
    message = message_of(one)
    assert f"```text\n{shown(message)}\n```" in PAGE.read_text(encoding="utf-8"), message


def test_the_page_is_complete() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python tests/error_cases.py`"


@pytest.mark.parametrize("one", CASES, ids=lambda c: c.make.__name__)
def test_messages_tell_what_to_do(one: Case) -> None:
    message = message_of(one)
    wanted = ("expected:", "fix:", "before:")
    assert any(part in message for part in wanted), message


@pytest.mark.parametrize("one", CASES, ids=lambda c: c.make.__name__)
def test_lines_are_the_users(one: Case) -> None:
    for filename in re.findall(r"(?m)^  at: (.*):\d+$", message_of(one)):
        assert Path(filename).name.startswith("error_cases_")


def test_lines_point_to_the_cause() -> None:
    wrong = next(c for c in CASES if c.make.__name__ == "incompatible_sizes")
    found = re.search(r"(?m)^  at: .*:(\d+)$", message_of(wrong))
    assert found
    lines = Path(error_cases_building.__file__).read_text().splitlines()
    assert lines[int(found[1]) - 1].strip() == "return x[1:] - x"


def test_titles_differ() -> None:
    titles = [c.title for c in CASES]
    assert len(set(titles)) == len(titles)


def exceptions() -> dict[str, type[Any]]:
    """All exceptions of the tree but its root."""
    return {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, GraphadError) and kind is not GraphadError
    }


@pytest.mark.parametrize("name", exceptions())
def test_exceptions_are_builtins_too(name: str) -> None:
    kind = exceptions()[name]
    inherited = [base.__name__ for base in kind.__mro__ if base.__module__ == "builtins"]
    assert any(n not in ("Exception", "BaseException", "object") and hasattr(builtins, n) for n in inherited)
    assert getattr(ga, name) is kind


# ---------------------------------------------------------------------- what is no mistake


def test_values_that_are_not_finite_propagate() -> None:
    g = ga.Graph("logs")
    x = g.input("x", shape="n")
    g.output("y", np.log(x) * 2.0)
    g.output("total", x.sum())
    f = ga.compile(g)
    x_ = np.array([0.0, -1.0, np.inf, np.nan, 1.0])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(f(x_).y, np.log(x_) * 2.0)
    assert np.isnan(f(x_).total)
    assert f(np.array([np.inf, 1.0])).total == np.inf


def test_gradients_of_values_that_are_not_finite() -> None:
    g = ga.Graph("squares")
    x = g.input("x", shape="n")
    g.output("y", (x * x).sum())
    value, gradient = ga.value_and_grad(g)(np.array([np.nan, np.inf, 1.0]))
    assert np.isnan(value)
    np.testing.assert_array_equal(gradient, [np.nan, np.inf, 2.0])


def test_arguments_are_never_changed() -> None:
    g = ga.Graph("sorted")
    x, i = g.input("x", shape="n"), g.input("i", shape="k", dtype="int64")
    g.output("y", x.at[i].set(0.0))
    g.output("same", x)
    f = ga.compile(g)
    x_, i_ = np.arange(4.0), np.array([-1, 0])
    before = x_.copy(), i_.copy()
    result = f(x_, i_)
    assert result.y.tolist() == [0, 1, 2, 0]
    assert not np.shares_memory(result.same, x_)
    np.testing.assert_array_equal(x_, before[0])
    np.testing.assert_array_equal(i_, before[1])


@pytest.mark.parametrize("seed_first", [True, False])
def test_a_mistake_leaves_the_function_usable(seed_first: bool) -> None:
    f = triple()
    if seed_first:
        with pytest.raises(ga.ShapeError):
            f(np.ones(4))
    assert f(np.ones(3)).tolist() == [1, 1, 1]
