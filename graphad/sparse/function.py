"""The function that users call for sparse Jacobians: values by a compiled graph, structure once for given sizes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from graphad.analysis.cost import typical_sizes
from graphad.compile import CompiledFunction
from graphad.emit.arguments import convert
from graphad.emit.result import Packing, Record, record_class
from graphad.errors import ArgumentError, DtypeError, GraphadError, ShapeError, describe
from graphad.interpret import solve_sizes
from graphad.ir import sizes
from graphad.ir.apply import bind_arguments
from graphad.ir.graph import Graph
from graphad.plan.direct import Block, Places, shape_at
from graphad.plan.modes import Plan
from graphad.sparse.place import Fill, compressed, fill_by_numba, fill_by_numpy
from graphad.sparse.sparsity import Sparsity

_new = object.__new__
KEPT = 16  # structures of different sizes or index arrays that a function remembers


class Method(Protocol):
    """How the entries of sparse Jacobians are computed, and where they go."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """What is computed."""

    @property
    def graph(self) -> Graph:
        """The values, one vector for each block; its inputs are the user's, then seeds."""

    @property
    def fixed_by(self) -> tuple[str, ...]:
        """Inputs on which the structure depends besides sizes."""

    @property
    def seeds(self) -> tuple[str, ...]:
        """The inputs of the graph that are seeds."""

    def places(self, arrays: Mapping[str, NDArray[Any]], bound: Mapping[str, int]) -> Places:
        """Seeds and coordinates at some sizes."""


@dataclass(frozen=True, eq=False)
class Matrix:
    """The structure of one block at some sizes.

    `template` is a CSR matrix of this structure, of which results are copies with other data; `fill` makes these from
    computed values, None where they are computed in place.
    """

    template: Any
    fill: Fill | None
    sparsity: Sparsity
    dtype: np.dtype[Any]
    nonzeros: int

    def filled(self, data: NDArray[Any]) -> Any:
        """A CSR matrix of this structure; the structure is shared."""
        made = _new(self.template.__class__)
        attributes = made.__dict__
        attributes.update(self.template.__dict__)
        attributes["data"] = data
        return made


@dataclass(frozen=True, eq=False)
class Structure:
    """All that is known about calls with some sizes and index arrays.

    `pool` holds arrays for computed values, taken by a call and put back after it.
    """

    fixed: tuple[NDArray[Any], ...]
    seeds: tuple[NDArray[Any], ...]
    matrices: tuple[Matrix, ...]
    pool: list[NDArray[Any]]

    def fits(self, inputs: tuple[Any, ...], positions: tuple[int, ...]) -> bool:
        """Whether the integer inputs at some positions are those of this structure."""
        return all(np.array_equal(inputs[p], a) for p, a in zip(positions, self.fixed, strict=True))


class SparseFunction:
    """A function of a graph's inputs whose results are sparse matrices, as `scipy.sparse.csr_array`.

    The structure (`indptr`, `indices`) is computed in the first call with given sizes, and again where an integer
    input on which it depends has changed. All results share its arrays, which are read-only: `J(x).copy()` has its own.
    Columns are sorted, no element is stored twice, and what is stored may be zero.

    Called with the graph's inputs, by position or by name, and `out=`: the array of the data of a result (float, one
    element for each entry) or a matrix that such a function has returned; it is written and is in the result.

    Attributes:
        values: the compiled function behind it: its results are the computed values before they are put in order.
        method: how entries are computed.

    >>> import graphad as ga
    >>> g = ga.Graph("steps")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", (x[1:] - x[:-1]) ** 2)
    >>> J = ga.jacobian(g, sparse=True, tier="interpreted")
    >>> J(np.array([1.0, 3.0, 4.0])).toarray()
    array([[-4.,  4.,  0.],
           [ 0., -2.,  2.]])
    """

    def __init__(self, method: Method, packing: Packing, values: CompiledFunction) -> None:
        self.method = method
        self.packing = packing
        self.values = values
        self._fill = fill_by_numba if values.recipe.tier == "compiled" else fill_by_numpy
        self._user = _without_seeds(method)
        self._count = len(self._user.inputs)
        self._alone = isinstance(packing, str)
        self._known: dict[tuple[tuple[int, ...], ...], list[Structure]] = {}
        self._last: Structure | None = None
        self._positions = tuple(list(self._user.inputs).index(name) for name in method.fixed_by)

    # ------------------------------------------------------------------ calling

    def __call__(self, *inputs: Any, out: Any = None, **named: Any) -> Any:
        """The matrices; see the class."""
        if named or len(inputs) != self._count:
            inputs = tuple(bind_arguments(self._user, inputs, named).values())
        structure = self._find(inputs)
        if len(structure.matrices) > 1:
            return self._several(structure, inputs, out)
        matrix, given = structure.matrices[0], (*inputs, *structure.seeds)
        data = np.empty(matrix.nonzeros, matrix.dtype) if out is None else self._data_of(out, matrix, inputs)
        if matrix.fill is None:
            self._compute(*given, out=data)
            return self._handed(matrix.filled(data))
        try:
            values = structure.pool.pop()
        except IndexError:
            values = self._compute(*given)
        else:
            self._compute(*given, out=values)
        matrix.fill(values, data)
        structure.pool.append(values)
        return self._handed(matrix.filled(data))

    def _handed(self, matrix: Any) -> Any:
        """The only matrix as itself, or in named tuples where a list of one name was asked for."""
        return matrix if self._alone else _packed(self.packing, {self.method.blocks[0].name: matrix})

    def _several(self, structure: Structure, inputs: tuple[Any, ...], out: Any) -> Any:
        if out is not None:
            names = ", ".join(b.name for b in self.method.blocks)
            what = f"`{self.name}`: several matrices take no out="
            raise ArgumentError(describe(what, got=names, fix="compute one block: name one of `wrt` and one of `of`"))
        found = {}
        computed = self.values(*inputs, *structure.seeds)
        for block, matrix, values in zip(self.method.blocks, structure.matrices, computed, strict=True):
            data = values
            if matrix.fill is not None:
                data = np.empty(matrix.nonzeros, matrix.dtype)
                matrix.fill(values, data)
            found[block.name] = matrix.filled(data)
        return _packed(self.packing, found)

    def _data_of(self, out: Any, matrix: Matrix, inputs: tuple[Any, ...]) -> NDArray[Any]:
        """The array to be written, from what the user gave."""
        data = out if type(out) is np.ndarray else self._data_in(out, matrix)
        plain = data.dtype == matrix.dtype and data.shape == (matrix.nonzeros,) and data.flags.carray
        if not plain or any(_overlap(data, x) for x in inputs):
            raise _wrong_out(self.name, data, matrix)
        return data

    def _data_in(self, out: Any, matrix: Matrix) -> NDArray[Any]:
        """The data of a matrix of the right structure."""
        if not all(hasattr(out, name) for name in ("indptr", "indices", "data")):
            what = f"`{self.name}`: out is no matrix and no array"
            fix = "pass a matrix that this function returned, or the array of its data"
            raise ArgumentError(describe(what, expected="a result or its data", got=type(out).__name__, fix=fix))
        same = out.indptr is matrix.template.indptr and out.indices is matrix.template.indices
        if out.shape != matrix.template.shape or not (same or _same_structure(out, matrix.template)):
            what = f"`{self.name}`: out is a matrix of another structure"
            got = f"{out.shape[0]} x {out.shape[1]}, {out.nnz} entries"
            raise ArgumentError(describe(what, expected=repr(matrix.sparsity), got=got, fix="leave it out"))
        data: NDArray[Any] = out.data
        return data

    # ------------------------------------------------------------------ structure

    def _find(self, inputs: tuple[Any, ...]) -> Structure:
        key = tuple([x.shape if type(x) is np.ndarray else np.shape(x) for x in inputs])
        for structure in self._known.get(key, ()):
            if not self._positions or structure.fits(inputs, self._positions):
                self._last = structure
                return structure
        return self._new(key, inputs)

    def _new(self, key: tuple[tuple[int, ...], ...], inputs: tuple[Any, ...]) -> Structure:
        graph = self._user
        arrays = {}
        for (name, node_id), value in zip(graph.inputs.items(), inputs, strict=True):
            arrays[name] = convert(graph.name, name, value, graph.nodes[node_id].type, graph.nodes[node_id].source)
        bound = solve_sizes(graph, {name: np.shape(array) for name, array in arrays.items()})
        if self.method.fixed_by and not self.method.seeds:
            self.values(*inputs)  # refuses positions that are out of range with the line of the user
        structure = self._structure({n: np.array(arrays[n]) for n in self.method.fixed_by}, bound)
        kept = self._known.setdefault(key, [])
        kept.insert(0, structure)
        del kept[KEPT:]
        while len(self._known) > KEPT:
            self._known.pop(next(iter(self._known)), None)
        self._last = structure
        return structure

    def _structure(self, arrays: Mapping[str, NDArray[Any]], bound: Mapping[str, int]) -> Structure:
        places = self.method.places(arrays, bound)
        matrices = []
        for block, found in zip(self.method.blocks, places.blocks, strict=True):
            shape = shape_at(block, bound)
            kind = self.values.graph.nodes[self.values.graph.outputs[block.name]].type
            whole = {**bound, **_seed_sizes(self.method, places.seeds)}
            made = compressed(found, shape, sizes.evaluate(kind.elements, whole))
            for array in (made.indptr, made.indices):
                array.flags.writeable = False
            method = "direct" if found.coloring is None else "coloured"
            sparsity = Sparsity(shape, made.indptr, made.indices, method, found.coloring)
            dtype = np.dtype(block.dtype)
            fill = None if made.placement.how == "as computed" else self._fill(made.placement, dtype)
            matrices.append(Matrix(_template(sparsity, dtype), fill, sparsity, dtype, sparsity.nonzeros))
        return Structure(tuple(arrays[n] for n in self.method.fixed_by), places.seeds, tuple(matrices), [])

    @property
    def _compute(self) -> Callable[..., Any]:
        """The call of the compiled function at present."""
        return self.values.__call__

    @property
    def sparsity(self) -> Any:
        """The pattern and the colours: a `Sparsity`, or several by the names of blocks.

        At the sizes of the last call; before the first call at the hints of the sizes.

        Raises `ArgumentError` before the first call where the pattern depends on an integer input.
        """
        structure = self._last
        if structure is None:
            bound, names = typical_sizes(self._user), ", ".join(f"`{n}`" for n in self.method.fixed_by)
            what = f"the pattern depends on the values of {names}" if names else ""
            if not all(r.holds(bound) for r in self._user.requirements):
                what = "the hints of sizes break what the graph requires of them"
            if what:
                raise ArgumentError(describe(f"`{self.name}`: {what}", fix="call the function once"))
            structure = self._structure({}, bound)
        found = {b.name: m.sparsity for b, m in zip(self.method.blocks, structure.matrices, strict=True)}
        return next(iter(found.values())) if len(found) == 1 else found

    # ------------------------------------------------------------------ what stands behind it

    @property
    def name(self) -> str:
        """The name of the derivative graph."""
        return self.values.name

    @property
    def graph(self) -> Graph:
        """The graph of the values, before passes."""
        return self.values.graph

    @property
    def optimized(self) -> Graph:
        """The graph of the values after passes."""
        return self.values.optimized

    @property
    def plan(self) -> Plan:
        """What was decided and why."""
        return self.values.plan

    @property
    def source(self) -> str:
        """The generated module of the values."""
        return self.values.source

    def explain(
        self,
        passes: bool = False,
        loops: bool = False,
        width: int = 100,
        format: Literal["text", "html"] = "text",
    ) -> str:
        """What was decided and why; arguments as for `CompiledFunction.explain`. The page shows the pattern as well."""
        if format == "html":
            from graphad.report.page import function_page

            return function_page(self.values, self._patterns(), repr(self))
        return self.values.explain(passes=passes, loops=loops, width=width, format=format)

    def draw(self, path: str | os.PathLike[str], *, layout: str | None = None) -> Path:
        """Write a drawing; arguments as for `CompiledFunction.draw`. The page shows the pattern as well."""
        from graphad.report.draw import draw_function

        return draw_function(self.values, path, layout, lambda: self.explain(format="html"))

    def _patterns(self) -> dict[str, Sparsity]:
        """The structures that are known, by the names of the results."""
        if self._last is None and self.method.fixed_by:
            return {}
        found = self.sparsity
        return found if isinstance(found, dict) else {self.method.blocks[0].name: found}

    def _repr_html_(self) -> str:
        return self.values._repr_html_()

    def __repr__(self) -> str:
        return f"<sparse {self.values.recipe.tier} {self.name}({', '.join(self._user.inputs)}, *, out=None)>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (SparseFunction, (self.method, self.packing, self.values))


def _without_seeds(method: Method) -> Graph:
    """The inputs and requirements of the user's own call."""
    graph = method.graph.copy()
    graph.inputs = {n: i for n, i in graph.inputs.items() if n not in method.seeds}
    return graph.freeze()


def _seed_sizes(method: Method, seeds: Sequence[NDArray[Any]]) -> dict[str, int]:
    """The sizes that only seeds have: the leading axis of each."""
    nodes = [method.graph.nodes[method.graph.inputs[name]] for name in method.seeds]
    return {str(node.type.shape[0]): len(seed) for node, seed in zip(nodes, seeds, strict=True)}


def _template(sparsity: Sparsity, dtype: np.dtype[Any]) -> Any:
    from scipy.sparse import csr_array

    data = np.zeros(sparsity.nonzeros, dtype)
    made = csr_array((data, sparsity.indices, sparsity.indptr), shape=sparsity.shape)
    made.indices, made.indptr = sparsity.indices, sparsity.indptr
    made.has_sorted_indices = made.has_canonical_format = True
    return made


def _same_structure(left: Any, right: Any) -> bool:
    return np.array_equal(left.indptr, right.indptr) and np.array_equal(left.indices, right.indices)


def _overlap(data: NDArray[Any], x: Any) -> bool:
    """Whether an argument shares memory with an array; two arrays that own theirs can only do so by being one."""
    if type(x) is np.ndarray and x.base is None and data.base is None:
        return x is data
    return isinstance(x, np.ndarray) and np.may_share_memory(data, x)


def _wrong_out(name: str, data: NDArray[Any], matrix: Matrix) -> GraphadError:
    """What is wrong with an array that was given for data."""
    fix = f'pass `np.empty({matrix.nonzeros}, dtype="{matrix.dtype}")` or a matrix that this function returned'
    if data.dtype != matrix.dtype:
        what = f"`{name}`: out has the wrong dtype"
        return DtypeError(describe(what, expected=str(matrix.dtype), got=str(data.dtype), fix=fix))
    if data.shape != (matrix.nonzeros,):
        what, expected = f"`{name}`: out has the wrong shape", f"({matrix.nonzeros},): one for each entry"
        return ShapeError(describe(what, expected=expected, got=str(data.shape), fix=fix))
    expected = "a contiguous, writeable array that overlaps no argument"
    return ArgumentError(describe(f"`{name}`: out can not be written to", expected=expected, fix=fix))


def _packed(packing: Packing, found: Mapping[str, Any]) -> Any:
    if isinstance(packing, str):
        return found[packing]
    assert isinstance(packing, Record)
    parts = tuple(_packed(part, found) for part in packing.parts)
    return record_class(packing.name, packing.fields)._make(parts) if packing.fields else parts
