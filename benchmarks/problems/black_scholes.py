"""Black and Scholes' price of European calls with delta, gamma, vega, theta and rho, one option an element."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import graphad as ga
from benchmarks.peers import dialect, jax, ours, torch
from benchmarks.problem import Array, Arrays, Case, Entrant, Problem, flat

NAMES = ("S", "K", "T", "r", "sigma")


def data(generator: np.random.Generator, n: int) -> list[Array]:
    """Spot, strike, time, rate, volatility."""
    intervals = ((80, 120), (80, 120), (0.1, 2), (0.0, 0.1), (0.1, 0.5))
    return [generator.uniform(low, high, n) for low, high in intervals]


def normal(xp: Any, x: Any) -> Any:
    """The distribution function of the normal distribution."""
    return 0.5 * (1.0 + xp.erf(x / math.sqrt(2.0)))


def formula(xp: Any, spot: Any, strike: Any, time: Any, rate: Any, volatility: Any) -> Any:
    """The price."""
    spread = volatility * xp.sqrt(time)
    upper = (xp.log(spot / strike) + (rate + 0.5 * volatility**2) * time) / spread
    return spot * normal(xp, upper) - strike * xp.exp(-rate * time) * normal(xp, upper - spread)


def graph(dtype: str = "float64") -> ga.Graph:
    """Price, delta, vega, theta, rho, gamma: derivatives of the sum, which are those of the elements."""
    total = _sum_of_prices(dtype)
    slopes = ga.transform.grad(total, wrt=["S", "sigma", "T", "r"])
    g = ga.Graph("black_scholes")
    options = [g.input(name, shape="n", dtype=dtype) for name in NAMES]
    first = slopes(*options)
    delta, vega, theta, rho = (first[f"dtotal_d{n}"] for n in ("S", "sigma", "T", "r"))
    results = {
        "price": formula(dialect.graphad_dialect(g), *options),
        "delta": delta, "vega": vega, "theta": -theta, "rho": rho, "gamma": _gamma(slopes, dtype)(*options),
    }  # fmt: skip
    for name, value in results.items():
        g.output(name, value)
    return g


def _sum_of_prices(dtype: str) -> ga.Graph:
    g = ga.Graph("prices")
    options = [g.input(name, shape="n", dtype=dtype) for name in NAMES]
    g.output("total", formula(dialect.graphad_dialect(g), *options).sum())
    return g


def _gamma(slopes: ga.Graph, dtype: str) -> ga.Graph:
    g = ga.Graph("deltas")
    options = [g.input(name, shape="n", dtype=dtype) for name in NAMES]
    g.output("total", slopes(*options)["dtotal_dS"].sum())
    return ga.transform.grad(g, wrt="S")


def with_graphad(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """The graph of all Greeks."""
    return ours.calls(ga.compile(graph(arrays["S"].dtype.name)), arrays)


def with_jax(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """`vmap` of the gradient of one option, and of delta's derivative."""
    import jax as library

    xp = dialect.jax_dialect()

    def price(*option: Any) -> Any:
        return formula(xp, *option)

    def greeks(*option: Any) -> Any:
        value, slopes = library.value_and_grad(price, (0, 4, 2, 3))(*option)
        return value, slopes[0], slopes[1], -slopes[2], slopes[3], library.grad(library.grad(price))(*option)

    return jax.waiting(library.vmap(greeks), arrays)


def with_torch(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """The gradient of the sum, kept differentiable for gamma."""
    import torch as library

    library.set_num_threads(1)
    xp = dialect.torch_dialect()
    options = [library.from_numpy(a.copy()).requires_grad_(True) for a in arrays.values()]

    def greeks() -> Any:
        price = formula(xp, *options)
        slopes = library.autograd.grad(price.sum(), [options[i] for i in (0, 4, 2, 3)], create_graph=True)
        (gamma,) = library.autograd.grad(slopes[0].sum(), options[0])
        return price, slopes[0], slopes[1], -slopes[2], slopes[3], gamma

    return {"torch": Entrant(greeks, torch.to_numpy)}


def with_autograd(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """`elementwise_grad` once and twice."""
    import autograd

    xp, values = dialect.autograd_dialect(), list(arrays.values())

    def price(*option: Any) -> Any:
        return formula(xp, *option)

    slope = autograd.elementwise_grad(price, (0, 4, 2, 3))
    second = autograd.elementwise_grad(autograd.elementwise_grad(price))

    def greeks() -> Any:
        delta, vega, theta, rho = slope(*values)
        return price(*values), delta, vega, -theta, rho, second(*values)

    return {"autograd": Entrant(greeks, flat)}


def hand() -> Callable[..., list[Array]]:
    """The closed forms in one loop."""
    from benchmarks.hand import black_scholes

    return black_scholes.greeks


PROBLEM = Problem(
    "black_scholes",
    "Black-Scholes, price and all Greeks",
    dict.fromkeys(NAMES, ("n",)),
    NAMES,
    data,
    formula,
    (Case({"n": 1_000_000}), Case({"n": 1_000_000}, "float32")),
    Case({"n": 5}),
    hand=hand,
    makers={"graphad": with_graphad, "jax": with_jax, "torch": with_torch, "autograd": with_autograd},
    notes="The hand-written closed forms share terms that no differentiation finds: a limit, not a target.",
)
