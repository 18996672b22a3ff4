"""Symbolic sizes: canonical form, text that reads back, evaluation as Python's integers."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphad.errors import ShapeError
from graphad.ir import sizes
from graphad.ir.sizes import Size

n, m = Size.name("n"), Size.name("m")

leaves = st.one_of(st.integers(-4, 6), st.sampled_from([n, m]))


def combined(children):
    two = st.tuples(children, children)
    return st.one_of(
        two.map(lambda p: p[0] + p[1]), two.map(lambda p: p[0] - p[1]), two.map(lambda p: p[0] * p[1]),
        two.map(lambda p: sizes.minimum(*p)), two.map(lambda p: sizes.maximum(*p)),
        st.tuples(children, st.integers(1, 4)).map(lambda p: sizes.floordiv(*p)),
    )  # fmt: skip


extents = st.recursive(leaves, combined, max_leaves=6)


@given(extents)
def test_text_reads_back(extent):
    assert Size.parse(str(extent)) == extent


@given(extents, extents, st.integers(0, 7), st.integers(0, 7))
def test_arithmetic_is_that_of_integers(left, right, a, b):
    bound = {"n": a, "m": b}
    x, y = sizes.evaluate(left, bound), sizes.evaluate(right, bound)
    assert sizes.evaluate(left + right, bound) == x + y
    assert sizes.evaluate(left - right, bound) == x - y
    assert sizes.evaluate(left * right, bound) == x * y
    assert sizes.evaluate(sizes.minimum(left, right), bound) == min(x, y)
    assert sizes.evaluate(sizes.maximum(left, right), bound) == max(x, y)
    if y:
        assert sizes.evaluate(sizes.floordiv(left, right), bound) == x // y


@given(extents)
def test_pickling_keeps_equality_and_hash(extent):
    again = pickle.loads(pickle.dumps(extent))
    assert again == extent
    assert hash(again) == hash(extent)


def test_equal_polynomials_are_one_size():
    assert (n + 1) * (n - 1) == n * n - 1
    assert (n + 1) - n == 1
    assert 2 * n // 2 == n
    assert (n * m) // m == n
    assert n != m


@pytest.mark.parametrize("text", ["n +", "n/2", "f(n)", "n if m else 1", "1.5"])
def test_unreadable_sizes_say_what_is_expected(text):
    with pytest.raises(ShapeError, match="can not read the size"):
        Size.parse(text)


def test_substitution():
    assert (n * m + 1).substitute({"n": m}) == m * m + 1
    assert sizes.floordiv(n + 1, 2).substitute({"n": 5}) == 3
