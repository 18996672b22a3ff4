"""AC optimal power flow: the constraints' Jacobian and the Lagrangian's Hessian of meshed networks, polar form.

The formulation is that of PowerModels; networks are random, with as many buses, generators, branches and shunts as the
118 and 1354 bus cases, and at most one kind of shunt a bus.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from benchmarks.problem import Array, Case, Problem

NEAR, FAR = 12, 40  # how far a bus may be from its parent in the tree, and from the other end of a loop
BRANCH = {"g": (1.0, 9.0), "b": (-30.0, -3.0), "gf": (0.0, 0.01), "bf": (0.0, 0.2), "gt": (0.0, 0.01), "bt": (0.0, 0.2)}


class Counts(NamedTuple):
    """What a network has."""

    buses: int
    generators: int
    branches: int
    shunts: int

    @property
    def variables(self) -> int:
        """va, vm, pg, qg, and p and q at both ends of each branch."""
        return 2 * self.buses + 2 * self.generators + 4 * self.branches

    @property
    def constraints(self) -> int:
        """The reference, two balances a bus, seven equations and limits a branch."""
        return 1 + 2 * self.buses + 7 * self.branches


COUNTS = {118: Counts(118, 54, 186, 14), 1354: Counts(1354, 260, 1991, 1082)}
Network = Mapping[str, Array]


def network(counts: Counts, seed: int = 0) -> Network:
    """A connected network: a random tree with short branches, then loops between near buses."""
    rng = np.random.default_rng(seed)
    ends = [(i, max(0, i - 1 - int(rng.integers(0, min(i, NEAR))))) for i in range(1, counts.buses)]
    known = set(ends)
    while len(ends) < counts.branches:
        a = int(rng.integers(0, counts.buses))
        b = int(np.clip(a + rng.integers(-FAR, FAR + 1), 0, counts.buses - 1))
        if a != b and (a, b) not in known and (b, a) not in known:
            ends.append((a, b))
            known.add((a, b))
    made: dict[str, Array] = {n: rng.uniform(low, high, counts.branches) for n, (low, high) in BRANCH.items()}
    angle, size = rng.uniform(-0.1, 0.1, counts.branches), rng.uniform(0.95, 1.05, counts.branches)
    made |= {"tr": size * np.cos(angle), "ti": size * np.sin(angle)}
    made |= {"f": np.array(ends)[:, 0], "t": np.array(ends)[:, 1]}
    made["at"] = rng.integers(0, counts.buses, counts.generators)
    made |= {"pd": rng.uniform(0.0, 1.0, counts.buses), "qd": rng.uniform(0.0, 0.3, counts.buses)}
    chosen, half = rng.permutation(counts.buses)[: counts.shunts], counts.shunts // 2
    made |= {"gs": np.zeros(counts.buses), "bs": np.zeros(counts.buses)}
    made["gs"][chosen[:half]] = rng.uniform(0.01, 0.1, half)
    made["bs"][chosen[half:]] = rng.uniform(0.01, 0.3, counts.shunts - half)
    for name, high in (("c2", 10.0), ("c1", 40.0), ("c0", 5.0)):
        made[name] = rng.uniform(0.0, high, counts.generators)
    return made


def parts(counts: Counts, x: Any) -> list[Any]:
    """va, vm, pg, qg, p and q at the from and the to ends: p_f, p_t, q_f, q_t."""
    sizes = [counts.buses] * 2 + [counts.generators] * 2 + [counts.branches] * 4
    places = np.cumsum([0, *sizes]).tolist()
    return [x[low:high] for low, high in pairwise(places)]


def flows(xp: Any, d: Network, angle: Any, vf: Any, vt: Any) -> list[Any]:
    """What flows into a branch at both ends: p_f, q_f, p_t, q_t."""
    g, b, tr, ti = d["g"], d["b"], d["tr"], d["ti"]
    tm = tr**2 + ti**2
    c, s = vf * vt * xp.cos(angle), vf * vt * xp.sin(angle)
    near, far = (b * ti - g * tr) / tm, (-b * tr - g * ti) / tm
    back, forth = (-g * tr - b * ti) / tm, (g * ti - b * tr) / tm
    return [
        (g + d["gf"]) / tm * vf**2 + near * c + far * s,
        -(b + d["bf"]) / tm * vf**2 - far * c + near * s,
        (g + d["gt"]) * vt**2 + back * c - forth * s,
        -(b + d["bt"]) * vt**2 - forth * c - back * s,
    ]


def constraints(xp: Any, counts: Counts, d: Network, x: Any) -> Any:
    """All constraints; `xp.scatter(base, index, values)` adds values at positions."""
    va, vm, pg, qg, pf, pt, qf, qt = parts(counts, x)
    f, t, at = d["f"], d["t"], d["at"]
    angle = va[f] - va[t]
    into_pf, into_qf, into_pt, into_qt = flows(xp, d, angle, vm[f], vm[t])

    def balance(base: Any, ends: list[Any], generated: Any) -> Any:
        return xp.scatter(xp.scatter(xp.scatter(base, f, ends[0]), t, ends[1]), at, -generated)

    p = balance(d["gs"] * vm**2 + d["pd"], [pf, pt], pg)
    q = balance(d["qd"] - d["bs"] * vm**2, [qf, qt], qg)
    limits = [pf**2 + qf**2, pt**2 + qt**2]
    return xp.concatenate([va[:1], p, q, into_pf - pf, into_qf - qf, into_pt - pt, into_qt - qt, angle, *limits])


def lagrangian(xp: Any, counts: Counts, d: Network, x: Any, multipliers: Any, scale: Any) -> Any:
    """The scaled cost plus multipliers times constraints."""
    pg = parts(counts, x)[2]
    cost = xp.sum(d["c2"] * pg**2 + d["c1"] * pg + d["c0"])
    return scale[0] * cost + xp.sum(multipliers * constraints(xp, counts, d, x))


class Columns:
    """NumPy's names on CasADi's columns."""

    def __init__(self, ca: Any) -> None:
        self.ca = ca
        self.cos, self.sin, self.sum = ca.cos, ca.sin, ca.sum1

    def concatenate(self, columns: list[Any]) -> Any:
        """One below the other."""
        return self.ca.vertcat(*columns)

    def scatter(self, base: Any, index: list[int], values: Any) -> Any:
        """A product with a sparse matrix of ones."""
        count = len(index)
        places = self.ca.Sparsity.triplet(base.shape[0], count, index, list(range(count)))
        return base + self.ca.mtimes(self.ca.DM(places, np.ones(count)), values)


def point(generator: np.random.Generator, counts: Counts) -> Array:
    """Angles near 0, all else near 1."""
    x = generator.uniform(0.9, 1.1, counts.variables)
    x[: counts.buses] -= 1.0
    return x


def _casadi_formula(counts: Counts, d: Network, hessian: bool) -> Any:
    def formula(ca: Any, x: Any, *rest: Any) -> Any:
        columns = {n: a.tolist() if a.dtype.kind == "i" else ca.DM(a) for n, a in d.items()}
        return (lagrangian if hessian else constraints)(Columns(ca), counts, columns, x, *rest)

    return formula


def jacobian_problem(buses: int) -> Problem:
    """The constraints' Jacobian."""
    counts = COUNTS[buses]
    d = network(counts)
    return Problem(
        f"opf_{buses}",
        f"sparse Jacobian of the constraints of AC optimal power flow, {buses} buses",
        {"x": (counts.variables,)},
        ("x",),
        lambda generator, buses: [point(generator, COUNTS[buses])],
        lambda xp, x: constraints(xp, counts, d, x),
        (Case({"buses": buses}),),
        Case({"buses": buses}),
        derivative="sparse_jacobian",
        formulas={"casadi": _casadi_formula(counts, d, hessian=False)},
        peers=("jax", "casadi"),
    )


def hessian_problem(buses: int) -> Problem:
    """The Lagrangian's Hessian."""
    counts = COUNTS[buses]
    d = network(counts)

    def data(generator: np.random.Generator, buses: int) -> list[Array]:
        return [point(generator, counts), generator.normal(size=counts.constraints), np.array([1.5])]

    return Problem(
        f"opf_hessian_{buses}",
        f"sparse Hessian of the Lagrangian of AC optimal power flow, {buses} buses",
        {"x": (counts.variables,), "multipliers": (counts.constraints,), "scale": (1,)},
        ("x",),
        data,
        lambda xp, x, multipliers, scale: lagrangian(xp, counts, d, x, multipliers, scale),
        (Case({"buses": buses}),),
        Case({"buses": buses}),
        derivative="sparse_hessian",
        formulas={"casadi": _casadi_formula(counts, d, hessian=True)},
        peers=("jax", "casadi"),
    )


JACOBIANS = tuple(jacobian_problem(buses) for buses in COUNTS)
HESSIANS = tuple(hessian_problem(buses) for buses in COUNTS)
