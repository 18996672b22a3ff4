"""PyTorch, eager: leaf tensors, the formula, `torch.autograd.grad`; `torch.func` for Jacobians and Hessian products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.peers.dialect import torch_dialect
from benchmarks.problem import Arrays, Entrant, Problem, flat


def entrants(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """One entrant, on one thread."""
    import torch

    torch.set_num_threads(1)
    dialect, formula = torch_dialect(), problem.formula_of("torch")

    def f(*inputs: Any) -> Any:
        return formula(dialect, *inputs)

    # Numbers made from integers take the default dtype, which is float32.
    torch.set_default_dtype(getattr(torch, next(iter(arrays.values())).dtype.name))
    tensors = [torch.from_numpy(a.copy()) for a in arrays.values()]
    leaves = tuple(tensors[p] for p in problem.positions)
    make: dict[str, Callable[[], Any]] = {
        "value_and_grad": lambda: _gradient(f, tensors, leaves),
        "grad": lambda: _gradient(f, tensors, leaves)[1],
        "hvp": lambda: torch.func.jvp(torch.func.grad(f), tuple(tensors[:1]), tuple(tensors[1:]))[1],
        "jacobian": lambda: torch.func.jacfwd(f)(*tensors),
    }
    if problem.derivative in ("value_and_grad", "grad"):
        for leaf in leaves:
            leaf.requires_grad_(True)
    return {"torch": Entrant(make[problem.derivative], to_numpy)}


def to_numpy(result: Any) -> list[Any]:
    """The tensors of a nested result as arrays."""
    if isinstance(result, (tuple, list)):
        return [leaf for part in result for leaf in to_numpy(part)]
    return flat(result.detach().numpy())


def _gradient(f: Callable[..., Any], tensors: list[Any], leaves: tuple[Any, ...]) -> Any:
    import torch

    value = f(*tensors)
    return value, torch.autograd.grad(value, leaves)
