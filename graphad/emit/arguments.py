"""The rule by which arguments of compiled functions are taken, copied or refused.

| argument | what happens |
|---|---|
| array of the declared dtype, C-contiguous, aligned | passed as it is, also when it is read-only |
| the same with other strides, byte order or alignment | copied |
| array of another dtype | `DtypeError`: nothing is rounded, truncated or stripped of an imaginary part unasked |
| array of another rank or size | `ShapeError`: nothing is broadcast |
| list, tuple, number for an array | `ArgumentError` |
| `np.matrix`, masked array | `ArgumentError`: their operators mean something else |
| Python number, NumPy scalar, 0-d array for a scalar | taken where nothing is lost; Python's float also for float32 |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphad.errors import ArgumentError, DtypeError, ShapeError, Source, describe
from graphad.ir.types import FLOATS, INTEGERS, TensorType

SCALARS = (bool, int, float, complex, np.generic)


def convert(function: str, name: str, value: Any, kind: TensorType, source: Source | None) -> Any:
    """An argument in the form that kernels take: a contiguous array of the declared dtype, or a Python number.

    Arguments:
        function, name: for messages.
        kind: the declared type; the rank of arrays is checked later, together with all sizes.
        source: where the input was declared.

    Raises `ArgumentError`, `DtypeError` by the rule of the module.
    """
    if isinstance(value, (np.ma.MaskedArray, np.matrix)):
        kind_name = type(value).__name__
        fix = "fill the masked elements: `x.filled(value)`" if kind_name == "MaskedArray" else "pass `np.asarray(x)`"
        raise ArgumentError(_problem(function, name, f"{kind_name} is refused", kind, kind_name, source, fix))
    if isinstance(value, np.ndarray) and value.ndim == 0 and kind.rank == 0:
        _demand_dtype(function, name, value, kind, source)
        return value.item()
    if isinstance(value, np.ndarray):
        _demand_dtype(function, name, value, kind, source)
        return contiguous(value, kind.dtype)
    if kind.rank == 0 and isinstance(value, SCALARS):
        return _scalar(function, name, value, kind, source)
    if isinstance(value, SCALARS):
        raise ShapeError(
            _problem(function, name, "a number where an array is declared", kind, repr(value), source,
                     f'nothing is broadcast silently: `np.full(shape, value, dtype="{kind.dtype}")`')
        )  # fmt: skip
    got = f"{type(value).__name__}"
    if kind.rank:
        fix = f'pass `np.asarray({name}, dtype="{kind.dtype}")`'
        raise ArgumentError(_problem(function, name, "no array", kind, got, source, fix))
    fix = f"pass `{kind.dtype.rstrip('3264')}({name})`"
    raise ArgumentError(_problem(function, name, "no number", kind, got, source, fix))


def contiguous(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The array itself where a kernel can read it, or a copy."""
    native = array.dtype.isnative and array.flags.aligned and array.flags.c_contiguous
    if not native:
        return np.array(array, dtype=dtype, order="C", subok=False)
    return np.asarray(array)


def copied(array: NDArray[Any]) -> NDArray[Any]:
    """A contiguous, aligned copy."""
    return np.array(array, order="C", subok=False)


def fixed(function: str, name: str, value: Any, kind: TensorType, source: Source | None) -> NDArray[Any]:
    """The buffer behind an argument, never a copy of an array; a number gets a new 0-d array.

    Arguments and errors as for `convert`; `ArgumentError` also where the array would have to be copied.
    """
    plain = convert(function, name, value, kind, source)
    if not isinstance(value, np.ndarray):
        return np.array(plain, dtype=kind.dtype)
    if not (value.dtype.isnative and value.flags.aligned and value.flags.c_contiguous):
        what = "an array that would have to be copied"
        got = f"{value.dtype.str} of shape {value.shape} and strides {value.strides}"
        fix = "pass `np.ascontiguousarray(x)`, and write to that array from then on"
        raise ArgumentError(_problem(function, name, what, kind, got, source, fix))
    return np.asarray(value)


def _scalar(function: str, name: str, value: Any, kind: TensorType, source: Source | None) -> Any:
    given = np.asarray(value)
    if kind.dtype == "bool" and given.dtype != np.bool_:
        raise DtypeError(_problem(function, name, "wrong dtype", kind, _show(value), source, "pass True or False"))
    if kind.dtype != "bool" and given.dtype == np.bool_:
        raise DtypeError(_problem(function, name, "wrong dtype", kind, _show(value), source, "pass a number"))
    if kind.dtype in INTEGERS:
        if given.dtype.kind not in "iuO" or not isinstance(value, (int, np.integer)):
            fix = f"pass `int({name})` if that is meant"
            raise DtypeError(_problem(function, name, "wrong dtype", kind, _show(value), source, fix))
        limits = np.iinfo(kind.dtype)
        if not limits.min <= int(value) <= limits.max:
            fix = f"pass a number from {limits.min} to {limits.max}"
            raise DtypeError(_problem(function, name, "an integer too large", kind, _show(value), source, fix))
        return int(value)
    if kind.dtype in FLOATS:
        weak = isinstance(value, (int, float)) and not isinstance(value, np.generic)
        if given.dtype.kind not in "iufO" or not (weak or np.can_cast(given.dtype, kind.dtype, "safe")):
            taken = f"{name}.real" if given.dtype.kind == "c" else f"np.{kind.dtype}({name})"
            fix = f"pass `{taken}` if that is meant"
            raise DtypeError(_problem(function, name, "wrong dtype", kind, _show(value), source, fix))
        try:
            return float(value)
        except OverflowError as error:
            fix = f"pass a number that {kind.dtype} can hold"
            what = _problem(function, name, "an integer too large", kind, type(value).__name__, source, fix)
            raise DtypeError(what) from error
    return bool(value)


def _demand_dtype(function: str, name: str, array: NDArray[Any], kind: TensorType, source: Source | None) -> None:
    if array.dtype.newbyteorder("=") == np.dtype(kind.dtype):
        return
    fix = f'pass `{name}.astype("{kind.dtype}")`'
    if array.dtype.kind == "c":
        fix = f"pass `{name}.real` if that is meant"
    elif array.dtype.name in FLOATS and kind.dtype in FLOATS:
        fix += f', or declare the input with `dtype="{array.dtype.name}"`'
    got = f"{array.dtype.name} of shape {array.shape}"
    raise DtypeError(_problem(function, name, "wrong dtype", kind, got, source, fix))


def _show(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"


def _problem(function: str, name: str, what: str, kind: TensorType, got: str, source: Source | None, fix: str) -> str:
    return describe(f"`{function}`: `{name}`: {what}", expected=str(kind), got=got, source=source, fix=fix)


# ---------------------------------------------------------------------- out=


def outputs_for(
    function: str, out: Any, names: tuple[str, ...], types: Mapping[str, tuple[str, tuple[int, ...]]],
    inputs: Mapping[str, Any],
) -> dict[str, NDArray[Any]]:  # fmt: skip
    """The arrays of `out=` by output name, all checked; nothing is written.

    Arguments:
        out: an array where there is one array output; a dictionary by name; a tuple in the order of `names`, None in
            the place of what is to be fresh.
        names: all outputs in order.
        types: dtype and shape of every output of rank > 0.
        inputs: the arguments as the caller gave them, which `out` must not overlap.

    Raises `ArgumentError`, `DtypeError`, `ShapeError`.
    """
    given = _named_outputs(function, out, names, types)
    for name, array in given.items():
        _check_output(function, name, array, *types[name])
        for other, value in inputs.items():
            if isinstance(value, np.ndarray) and np.may_share_memory(array, value):
                raise ArgumentError(
                    describe(
                        f"`{function}`: out `{name}` overlaps the argument `{other}`",
                        fix="pass another array: arguments are never changed",
                    )
                )
    listed = list(given.items())
    for position, (name, array) in enumerate(listed):
        for other, earlier in listed[:position]:
            if np.may_share_memory(array, earlier):
                what = f"`{function}`: out `{name}` overlaps out `{other}`"
                raise ArgumentError(describe(what, fix="pass two arrays"))
    return given


def _named_outputs(
    function: str, out: Any, names: tuple[str, ...], types: Mapping[str, Any]
) -> dict[str, NDArray[Any]]:
    if isinstance(out, Mapping):
        given = dict(out)
    elif isinstance(out, tuple):
        if len(out) != len(names):
            raise ArgumentError(
                describe(f"`{function}`: out has {len(out)} entries", expected=f"{len(names)}: {', '.join(names)}")
            )
        given = dict(zip(names, out, strict=True))
    elif len(types) == 1:
        given = {next(iter(types)): out}
    else:
        raise ArgumentError(
            describe(
                f"`{function}`: out is {type(out).__name__}",
                expected=f"a dictionary from names to arrays: {', '.join(types)}" if types else "no out",
                fix="results that are scalars are returned, not written" if not types else "",
            )
        )
    given = {name: array for name, array in given.items() if array is not None}
    for name in given:
        if name not in types:
            fix = "a scalar is returned, not written: leave it out" if name in names else "name array outputs"
            raise ArgumentError(
                describe(f"`{function}`: out has no array `{name}`", expected=", ".join(types) or "no out", fix=fix)
            )
    return given


def _check_output(function: str, name: str, array: Any, dtype: str, shape: tuple[int, ...]) -> None:
    what = f"`{function}`: out `{name}`"
    fix = f'pass `np.empty({shape}, dtype="{dtype}")`'
    if type(array) is not np.ndarray:
        raise ArgumentError(
            describe(f"{what} is no array", expected=f"{dtype} {shape}", got=type(array).__name__, fix=fix)
        )
    if array.dtype != np.dtype(dtype):
        raise DtypeError(describe(f"{what} has the wrong dtype", expected=dtype, got=str(array.dtype), fix=fix))
    if array.shape != shape:
        raise ShapeError(describe(f"{what} has the wrong shape", expected=str(shape), got=str(array.shape), fix=fix))
    for wanted in ("c_contiguous", "aligned", "writeable"):
        if not getattr(array.flags, wanted):
            shown = wanted.replace("c_", "C-")
            raise ArgumentError(describe(f"{what} is not {shown}", fix=fix))
