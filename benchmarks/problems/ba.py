"""Bundle adjustment (ADBench): errors of reprojection and of weights, their Jacobian as one CSR matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import graphad as ga
from benchmarks.peers import sparse
from benchmarks.problem import Array, Arrays, Case, Entrant, Problem

CAMERA, POINT = 11, 3


def reprojection(xp: Any, camera: list[Any], x: list[Any], weight: Any, feature: list[Any]) -> list[Any]:
    """Both components of the error of an observation, or of arrays of them.

    Arguments:
        camera: rotation vector, centre, focal length, principal point, radial distortion: 3 + 3 + 1 + 2 + 2.
        x: a point in space.
        weight: of the observation.
        feature: where the point was seen.
    """
    r0, r1, r2, c0, c1, c2, focal, u, v, k1, k2 = camera
    a, b, c = x[0] - c0, x[1] - c1, x[2] - c2
    squared = r0 * r0 + r1 * r1 + r2 * r2
    turned = squared > 0.0
    safe = xp.where(turned, squared, 1.0)
    angle = xp.sqrt(safe)
    cosine = xp.where(turned, xp.cos(angle), 1.0)
    sine = xp.where(turned, xp.sin(angle) / angle, 1.0)
    along = xp.where(turned, (1.0 - xp.cos(angle)) / safe, 0.0) * (r0 * a + r1 * b + r2 * c)
    y0 = a * cosine + (r1 * c - r2 * b) * sine + r0 * along
    y1 = b * cosine + (r2 * a - r0 * c) * sine + r1 * along
    y2 = c * cosine + (r0 * b - r1 * a) * sine + r2 * along
    p0, p1 = y0 / y2, y1 / y2
    r = p0 * p0 + p1 * p1
    distortion = 1.0 + k1 * r + k2 * r * r
    return [
        weight * (focal * p0 * distortion + u - feature[0]),
        weight * (focal * p1 * distortion + v - feature[1]),
    ]


def errors(xp: Any, z: Any, cameras: Any, points: Any, features: Any, n: int, m: int) -> Any:
    """All errors: two for each observation, then one for each weight.

    Arguments:
        z: n cameras, m points, one weight for each observation.
        cameras, points: for each observation which camera saw which point.
    """
    first, second = CAMERA * n, CAMERA * n + POINT * m
    camera = xp.reshape(z[:first], (n, CAMERA))[cameras]
    x = xp.reshape(z[first:second], (m, POINT))[points]
    weight = z[second:]
    both = reprojection(
        xp, [camera[:, k] for k in range(CAMERA)], [x[:, k] for k in range(POINT)], weight,
        [features[:, 0], features[:, 1]],
    )  # fmt: skip
    return xp.concatenate([xp.reshape(xp.stack(both, -1), (-1,)), 1.0 - weight * weight])


def data(generator: np.random.Generator, n: int, m: int, p: int) -> list[Array]:
    """Cameras near the origin that look at points around (0, 0, 6)."""
    cameras = 0.1 * generator.normal(size=(n, CAMERA))
    cameras[:, 6] += 1.5
    points = 0.5 * generator.normal(size=(m, POINT)) + np.array([0.0, 0.0, 6.0])
    weights = generator.uniform(0.5, 1.0, p)
    return [np.concatenate([cameras.ravel(), points.ravel(), weights]), generator.normal(size=(p, 2))]


def graph(arrays: Arrays) -> tuple[ga.Graph, Arrays]:
    """The graph of a case, and its arguments: cameras and points of observations are arguments of the call."""
    sizes = _sizes(arrays)
    made = ga.Graph("ba")
    z = made.input("z", shape=len(arrays["z"]))
    cameras, points = (made.input(name, shape=sizes["p"], dtype="int64") for name in ("cameras", "points"))
    features = made.input("features", shape=(sizes["p"], 2))
    made.output("y", errors(np, z, cameras, points, features, sizes["n"], sizes["m"]))
    seen = np.arange(sizes["p"])
    given = {"z": arrays["z"], "cameras": seen % sizes["n"], "points": seen % sizes["m"]}
    return made, {**given, "features": arrays["features"]}


def with_graphad(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """One matrix; the structure follows from the index arrays and is made once."""
    made, given = graph(arrays)
    return sparse.calls(ga.jacobian(made, "z", sparse=True), given)


def with_jax(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """Forward mode by the 15 inputs of an observation, mapped over observations; the result is blocks."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    sizes = _sizes(arrays)
    n, m = sizes["n"], sizes["m"]
    seen = np.arange(sizes["p"])

    def one(inputs: Any, feature: Any) -> Any:
        camera, x = list(inputs[:CAMERA]), list(inputs[CAMERA : CAMERA + POINT])
        return jnp.stack(reprojection(jnp, camera, x, inputs[-1], list(feature)))

    def blocks(z: Any, cameras: Any, points: Any, features: Any) -> Any:
        camera = z[: CAMERA * n].reshape(n, CAMERA)[cameras]
        x = z[CAMERA * n : CAMERA * n + POINT * m].reshape(m, POINT)[points]
        weight = z[CAMERA * n + POINT * m :]
        inputs = jnp.concatenate([camera, x, weight[:, None]], axis=1)
        return jax.vmap(jax.jacfwd(one))(inputs, features), -2.0 * weight

    jitted = jax.jit(blocks)
    given = [jax.device_put(a) for a in (arrays["z"], seen % n, seen % m, arrays["features"])]
    return {
        "jax": Entrant(
            lambda: jax.block_until_ready(jitted(*given)),
            lambda result: sparse.products(assembled(np.asarray(result[0]), np.asarray(result[1]), n, m)),
        )
    }


def with_casadi(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """The Jacobian of one observation, mapped over observations; gathering its inputs is not timed."""
    import casadi as ca

    sizes = _sizes(arrays)
    n, m, p = sizes["n"], sizes["m"], sizes["p"]
    inputs, feature = ca.SX.sym("inputs", CAMERA + POINT + 1), ca.SX.sym("feature", 2)
    split = ca.vertsplit(inputs)
    names = _CasadiNames(ca)
    value = ca.vertcat(*reprojection(names, split[:CAMERA], split[CAMERA:-1], split[-1], ca.vertsplit(feature)))
    function = ca.Function("one", [inputs, feature], [ca.densify(ca.jacobian(value, inputs))]).map(p)
    seen, z = np.arange(p), arrays["z"]
    camera, x = z[: CAMERA * n].reshape(n, CAMERA)[seen % n], z[CAMERA * n : -p].reshape(m, POINT)[seen % m]
    weight = z[-p:]
    given = [ca.DM(np.concatenate([camera, x, weight[:, None]], axis=1).T), ca.DM(arrays["features"].T)]

    def result_products(result: Any) -> list[Array]:
        parts = np.array(result[0].full()).reshape(2, p, CAMERA + POINT + 1).transpose(1, 0, 2)
        return sparse.products(assembled(parts, result[1], n, m))

    return {"casadi": Entrant(lambda: (function(*given), -2.0 * weight), result_products)}


class _CasadiNames:
    def __init__(self, ca: Any) -> None:
        self.where, self.sqrt, self.cos, self.sin = ca.if_else, ca.sqrt, ca.cos, ca.sin


def assembled(blocks: Array, weights: Array, n: int, m: int) -> Any:
    """The CSR matrix of a block for each observation and one element for each weight."""
    from scipy.sparse import coo_array

    p = len(weights)
    seen = np.arange(p)
    columns = np.concatenate([
        CAMERA * (seen % n)[:, None] + np.arange(CAMERA), CAMERA * n + POINT * (seen % m)[:, None] + np.arange(POINT),
        CAMERA * n + POINT * m + seen[:, None],
    ], axis=1)  # fmt: skip
    rows = np.broadcast_to(np.arange(2 * p).reshape(p, 2, 1), blocks.shape)
    everywhere = np.broadcast_to(columns[:, None, :], blocks.shape)
    places = [np.r_[rows.ravel(), 2 * p + seen], np.r_[everywhere.ravel(), columns[:, -1]]]
    return coo_array((np.r_[blocks.ravel(), weights], tuple(places)), shape=(3 * p, columns[-1, -1] + 1)).tocsr()


def _sizes(arrays: Arrays) -> Mapping[str, int]:
    """The sizes of the case that the data are of."""
    cases = [*PROBLEM.cases, PROBLEM.small]
    return next(c.sizes for c in cases if c.sizes["p"] == len(arrays["features"]))


def formula(xp: Any, z: Any, features: Any, n: int, m: int) -> Any:
    """The errors with the cameras and points of ADBench: observation i sees camera i mod n and point i mod m."""
    seen = np.arange(features.shape[0])
    return errors(xp, z, seen % n, seen % m, features, n, m)


SMALL = {"n": 3, "m": 4, "p": 7}
PROBLEM = Problem(
    "ba",
    "sparse Jacobian of bundle adjustment",
    {"z": ("11*n+3*m+p",), "features": ("p", 2)},
    ("z",),
    data,
    lambda xp, z, features: formula(xp, z, features, SMALL["n"], SMALL["m"]),
    (Case({"n": 49, "m": 7776, "p": 31_843}), Case({"n": 1197, "m": 126_327, "p": 563_734})),
    Case(SMALL),
    derivative="sparse_jacobian",
    makers={"graphad": with_graphad, "jax": with_jax, "casadi": with_casadi},
    peers=("jax", "casadi"),
    notes="JAX and CasADi give the blocks of observations; graphad gives a matrix, the others' assembly is not timed.",
)
