"""Jacobians of four programs of some hundred scalar operations, at each of n points.

The tasks of AlphaGrad (J. Lohoff, E. Neftci, Optimizing automatic differentiation with deep reinforcement learning,
NeurIPS 2024): a Roe solver's flux, a robot arm of six joints, the dipole of a human heart and the combustion of propane
(J. Moré, B. Garbow, K. Hillstrom, MINPACK-2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers import dialect, jax
from benchmarks.problem import Array, Arrays, Case, Entrant, Problem

Scalars = Sequence[Any]
Program = Callable[[Any, Scalars], list[Any]]


def roe_flux(xp: Any, x: Scalars) -> list[Any]:
    """The flux between two states (density, momentum, energy) by Roe's approximate Riemann solver."""
    first, second = x[:3], x[3:]
    pressures, enthalpies, speeds = zip(*(_state(*u) for u in (first, second)), strict=True)
    weights = [xp.sqrt(first[0]), xp.sqrt(second[0])]
    total = weights[0] + weights[1]
    u = (weights[0] * speeds[0] + weights[1] * speeds[1]) / total
    h = (weights[0] * enthalpies[0] + weights[1] * enthalpies[1]) / total
    a = xp.sqrt(-0.5 * (h - 0.5 * u**2))
    density = xp.sqrt(first[0] * second[0])
    jump, dp, dv = second[0] - first[0], pressures[1] - pressures[0], speeds[1] - speeds[0]
    slow, scale = a * density, 0.5 * density / a
    c0 = (jump - dp / a**2) * xp.abs(u)
    c1 = scale * ((dv + dp / slow) * xp.abs(u + a))
    c2 = scale * ((dv - dp / slow) * xp.abs(u))
    flux = [
        first[1] + second[1],
        pressures[0] + first[1] * speeds[0] + pressures[1] + second[1] * speeds[1],
        speeds[0] * (pressures[0] + first[2]) + speeds[1] * (pressures[1] + second[2]),
    ]
    waves = [
        c0 + c1 - c2,
        c0 * u + c1 * (u + a) - c2 * (u - a),
        0.5 * c0 * u**2 + c1 * (h + u * a) - c2 * (h - u * a),
    ]
    return [0.5 * (f - w) for f, w in zip(flux, waves, strict=True)]


def _state(density: Any, momentum: Any, energy: Any) -> tuple[Any, Any, Any]:
    """Pressure, enthalpy and speed."""
    pressure = -0.5 * (energy - 0.5 * momentum**2 / density)
    return pressure, (energy + pressure) / density, momentum / density


def robot_arm(xp: Any, t: Scalars) -> list[Any]:
    """Position and three angles of the hand for the angles of six joints."""
    (c1, c2, c3, c4, c5, c6), (s1, s2, s3, s4, s5, s6) = [[f(angle) for angle in t] for f in (xp.cos, xp.sin)]
    a1, a2, a3, d1, d4, d6 = 175.0, 890.0, 50.0, 575.0, 1035.0, 185.0
    c23, s23 = c2 * c3 - s2 * s3, c2 * s3 + s2 * c3
    u = c1 * c23 * c4 + s1 * s4
    ax = s5 * u + c1 * s23 * c5
    ay = s5 * (s1 * c23 * c4 - c1 * s4) + s1 * s23 * c5
    az = s23 * c4 * s5 - c23 * c5
    bend = c23 * s5 + s23 * c4 * c5
    nz, oz = c6 * bend - s23 * s4 * s6, -s6 * bend - s23 * s4 * c6
    reach = a1 + a2 * c2 + a3 * c23 + d4 * s23
    px = d6 * (s5 * u + c1 * s23 * c5) + c1 * reach
    py = d6 * (s5 * (s1 * c23 * c4 + c1 * s4) + s1 * s23 * c5) + s1 * reach
    pz = a2 * s2 + d1 + a3 * s23 - d4 * c23 + d6 * (s23 * c4 * s5 - c23 * c5)
    angles = [xp.arctan2(ay, ax), xp.arctan2(xp.sqrt(1.0 - az**2), az), xp.arctan2(oz, -nz)]
    return [px, py, pz, *angles]


def heart_dipole(xp: Any, x: Scalars) -> list[Any]:
    """Residuals of moments of a dipole; all measured sums are 1."""
    x1, x2, x3, x4, x5, x6, x7, x8 = x
    a, b = x5**2 - x7**2, x6**2 - x8**2
    c, d = x5 * (x5**2 - 3.0 * x7**2), x7 * (x7**2 - 3.0 * x5**2)
    e, f = x6 * (x6**2 - 3.0 * x8**2), x8 * (x8**2 - 3.0 * x6**2)
    return [
        x1 + x2 - 1.0,
        x3 + x4 - 1.0,
        x5 * x1 + x6 * x2 - x7 * x3 - x8 * x4 - 1.0,
        x7 * x1 + x8 * x2 + x5 * x3 + x6 * x4 - 1.0,
        x1 * a - 2.0 * x3 * x5 * x7 + x2 * b - 2.0 * x4 * x6 * x8 - 1.0,
        x3 * a - 2.0 * x1 * x5 * x7 + x4 * b - 2.0 * x2 * x6 * x8 - 1.0,
        x1 * c + x3 * d + x2 * e + x4 * f - 1.0,
        x3 * c - x1 * d + x4 * e - x2 * f - 1.0,
    ]


def propane(xp: Any, x: Scalars) -> list[Any]:
    """Residuals of the chemical equilibrium of burning propane in air, pressure 40."""
    x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11 = x
    p, air = 40.0, 10.0
    w = xp.sqrt(p / x11)
    return [
        x1 + x4 - 3.0,
        2.0 * x1 + x2 + x4 + x7 + x8 + x9 + 2.0 * x10 - air,
        2.0 * x2 + 2.0 * x5 + x6 + x7 - 8.0,
        2.0 * x3 + x9 - 4.0 * air,
        x2 * x4 - x1 * x5,
        xp.sqrt(x2 * x4) - xp.sqrt(x1) * w * x6,
        xp.sqrt(x1 * x2) - xp.sqrt(x4) * x7 * w,
        x1 - x4 * x8 * p / x11,
        x1 * xp.sqrt(x3) - x4 * x9 * w,
        x1**2 - x4**2 * x10 * p / x11,
        x11 - (x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9 + x10),
    ]


def with_jax(program: Program, problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """`vmap` of `jacfwd` or of `jacrev` of the program of one point, whichever is the faster on these arrays."""
    import jax as library

    xp = dialect.jax_dialect()

    def one(point: Any) -> Any:
        return xp.stack(program(xp, [point[i] for i in range(point.shape[0])]))

    both = [jax.waiting(library.vmap(make(one)), arrays)["jax"] for make in (library.jacfwd, library.jacrev)]
    return {"jax": min(both, key=lambda entrant: _least(entrant.call))}


def _least(call: Callable[[], Any]) -> float:
    import timeit

    call()
    return min(timeit.repeat(call, number=5, repeat=20))


def problem(name: str, title: str, program: Program, start: Sequence[float]) -> Problem:
    """The Jacobian of a program at each of n points, near the published start."""
    count = len(start)

    def data(generator: np.random.Generator, n: int) -> list[Array]:
        return [np.array(start) * generator.uniform(0.95, 1.05, size=(n, count))]

    def formula(xp: Any, x: Any) -> Any:
        return xp.stack(program(xp, [x[:, i] for i in range(count)]), axis=1)

    return Problem(
        name,
        title,
        {"x": ("n", count)},
        ("x",),
        data,
        formula,
        (Case({"n": 512}),),
        Case({"n": 3}),
        derivative="batched_jacobian",
        makers={"jax": partial(with_jax, program)},
        peers=("jax",),
        notes="JAX is the faster of `jit(vmap(jacfwd))` and `jit(vmap(jacrev))`.",
    )


ROE = problem("roe_flux", "Jacobian of a Roe flux at n points", roe_flux, (0.01, 0.02, 0.02, 0.01, 0.03, 0.03))
ROBOT = problem("robot_arm", "Jacobian of a robot arm at n points", robot_arm, (0.02,) * 6)
HEART = problem("heart_dipole", "Jacobian of a heart's dipole at n points", heart_dipole, (0.15,) * 8)
PROPANE = problem("propane", "Jacobian of burning propane at n points", propane, (0.15,) * 11)
