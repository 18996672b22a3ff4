"""Symbolic sizes in arithmetic with variables: integers of weak dtype, as Python integers are."""

import numpy as np
import pytest

import graphad as ga


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_sizes_follow_the_dtype_of_the_other_operand(dtype):
    g = ga.Graph("f")
    x = g.input("x", ("n", 3), dtype)
    n = x.shape[0]
    g.output("mean", x.sum() / n)
    g.output("left", (n - 1) * x[0])
    g.output("right", x[0] * n - n)
    results = ga.compile(g)(np.full((4, 3), 2.0, dtype))
    assert [r.dtype.name for r in results] == [dtype] * 3
    np.testing.assert_array_equal(results.mean, 6.0)
    np.testing.assert_array_equal(results.left, [6.0] * 3)
    np.testing.assert_array_equal(results.right, [4.0] * 3)


def test_index_arithmetic_with_sizes():
    g = ga.Graph("reverse")
    x = g.input("x", "n")
    n = x.shape[0]
    g.output("y", x[n - 1 - ga.arange(n, graph=g)])
    assert ga.compile(g)(np.arange(4.0)).tolist() == [3.0, 2.0, 1.0, 0.0]


def test_the_gradient_of_a_mean_divides_by_the_size():
    g = ga.Graph("mean")
    x = g.input("x", "n")
    g.output("y", (x * x).sum() / x.shape[0])
    np.testing.assert_allclose(ga.grad(g)(np.array([1.0, 2.0])), [1.0, 2.0], rtol=1e-15)
