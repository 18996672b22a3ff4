"""Sparse Jacobians and Hessians: how each library makes them, and the products by which they are compared.

Patterns may differ in entries that are zero, and block formats in order, so results are compared by their products with
two fixed vectors, from the right and from the left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import graphad as ga
from benchmarks.peers.dialect import jax_dialect, numpy_dialect
from benchmarks.problem import Array, Arrays, Entrant, Problem
from graphad.analysis.cost import graph_flops
from graphad.interpret import solve_sizes


def products(matrix: Any) -> list[Array]:
    """A matrix times a vector, and another vector times the matrix."""
    rows, columns = matrix.shape
    return [matrix @ np.cos(np.arange(columns)), matrix.T @ np.sin(1.0 + np.arange(rows))]


def calls(function: ga.SparseFunction, arrays: Arrays) -> Mapping[str, Entrant]:
    """The three ways to call a function of one sparse matrix."""
    values = tuple(arrays.values())
    extents = solve_sizes(function.graph, {n: v.shape for n, v in arrays.items()})
    flops = graph_flops(function.optimized, extents)
    matrix = function(*values)

    def copied() -> Any:
        result = function(*values)
        result.indices, result.indptr = result.indices.copy(), result.indptr.copy()
        return result

    return {
        "graphad": Entrant(lambda: function(*values), products, flops),
        "graphad bound": Entrant(lambda: function(*values, out=matrix.data), products),
        "graphad copied": Entrant(copied, products),
    }


def jax(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """JAX with asdex: the pattern found and coloured once, then a jitted function to a sparse array of JAX's."""
    import asdex
    import jax as library

    library.config.update("jax_enable_x64", True)
    dialect, formula, position = jax_dialect(), problem.formula_of("jax"), problem.positions[0]

    def f(*inputs: Any) -> Any:
        result = formula(dialect, *inputs)
        return result if problem.derivative == "sparse_hessian" else result.reshape(-1)

    values = [library.device_put(a) for a in arrays.values()]
    make = asdex.hessian if problem.derivative == "sparse_hessian" else asdex.jacobian
    function = library.jit(make(f, *values, argnums=position))
    size = int(np.prod(arrays[problem.wrt[0]].shape))

    def result_products(result: Any) -> list[Array]:
        from scipy.sparse import coo_array

        data, places = np.asarray(result.data), np.asarray(result.indices)
        shape = (int(np.prod(result.shape)) // size, size)
        places = np.ravel_multi_index(tuple(places.T), result.shape)
        return products(coo_array((data, (places // size, places % size)), shape=shape).tocsr())

    return {"jax": Entrant(lambda: library.block_until_ready(function(*values)), result_products)}


def casadi(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """CasADi's `Function` called with its own arrays, and through buffers ("bound"), which skips the conversion."""
    import casadi as ca

    symbols = [ca.SX.sym(n, *(a.shape if a.ndim else (1,))) for n, a in arrays.items()]
    value = problem.formulas["casadi"](ca, *symbols)
    leaf = symbols[problem.positions[0]]
    hessian = problem.derivative == "sparse_hessian"
    derived = ca.hessian(value, leaf)[0] if hessian else ca.jacobian(value, leaf)
    return casadi_calls(ca.Function(problem.name, symbols, [derived]), arrays)


def casadi_calls(function: Any, arrays: Arrays) -> Mapping[str, Entrant]:
    """Both ways to call a function of one sparse matrix."""
    import casadi as ca
    from scipy.sparse import csc_matrix

    given = [ca.DM(a) for a in arrays.values()]
    out = np.zeros(function.nnz_out(0))
    buffer, run = function.buffer()
    inputs: list[Any] = [np.ascontiguousarray(a.ravel(order="F")) for a in arrays.values()]
    for place, array in enumerate(inputs):
        buffer.set_arg(place, memoryview(array))
    buffer.set_res(0, memoryview(out.data))
    places = function.sparsity_out(0)
    shape, indptr, indices = places.shape, np.array(places.colind()), np.array(places.row())
    # The buffer does not keep its arrays alive, nor does the function that runs on it keep the buffer.
    kept = (buffer, inputs, out)
    return {
        "casadi": Entrant(lambda: function(*given), lambda result: products(result.sparse().tocsr())),
        "casadi bound": Entrant(
            run, lambda result: products(csc_matrix((kept[-1], indices, indptr), shape=shape).tocsr())
        ),
    }


def rsdag(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """The values of the structural nonzeros by its native emitter."""
    import rsdag as library
    from scipy.sparse import csr_array

    dialect, formula, values = numpy_dialect(), problem.formula_of("rsdag"), list(arrays.values())
    position = problem.positions[0]
    derived = library.jacobian(lambda *inputs: formula(dialect, *inputs), wrt=position, native=True, sparse=True)

    def result_products(result: Any) -> list[Array]:
        rows, columns = derived.pattern(*values)
        size = values[position].size
        return products(csr_array((result, (rows, columns)), shape=(int(np.max(rows)) + 1, size)))

    return {"rsdag": Entrant(lambda: derived(*values), result_products)}


Maker = Callable[[Problem, Arrays], Mapping[str, Entrant]]
MAKERS: Mapping[str, Maker] = {"jax": jax, "casadi": casadi, "rsdag": rsdag}
