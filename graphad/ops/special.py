"""Special functions: logistic family, error functions, gamma functions, sinc."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphad.errors import ArgumentError, DtypeError, describe
from graphad.ir.operation import Custom, Params, Sample, Scalar, function
from graphad.ir.types import TensorType
from graphad.ir.variable import Variable
from graphad.ops.build import elementwise, promoted_float, real_or_complex, unary_function
from graphad.ops.comparison import number_or_zero
from graphad.ops.elementary import vector

TWO_OVER_ROOT_PI = 2.0 / math.sqrt(math.pi)
SINC_TERMS = 14
SINC_NEAR = 0.5


@dataclass(frozen=True)
class Scipy:
    """A function of scipy.special, imported at its first call: the import takes longer than that of graphad."""

    name: str

    @property
    def real(self) -> Any:
        """The function itself."""
        from scipy import special

        return getattr(special, self.name)

    def __call__(self, *arrays: Any) -> Any:
        return self.real(*arrays)


# ---------------------------------------------------------------------- logistic family

elementwise(
    "sigmoid",
    vector("sigmoid"),
    real_or_complex(Scipy("expit"), lambda x: 1.0 / (1.0 + np.exp(-x))),
    (lambda a, y: y * (1.0 - y),),
    analytic=True,
    cost=14.0,
)
sigmoid = unary_function("sigmoid", doc="The logistic function 1/(1 + exp(-x)), without overflow.")

# What the pass `tails` writes: the smaller of σ(x) and σ(-x) with the sign of x, and σ(x) from that (σ(-x) from its
# negative). The first loses no digits where σ(x) is near 1.
elementwise(
    "sigmoid_tail",
    vector("sigmoid_tail"),
    lambda x: np.copysign(np.exp(-np.abs(x)) / (1.0 + np.exp(-np.abs(x))), x),  # SciPy's is 0 where this is subnormal
    (lambda a, y: np.abs(y) * (np.abs(y) - 1.0),),
    domain=((0.1, 2.0),),
    cost=14.0,
)
elementwise(
    "sigmoid_of_tail",
    vector("sigmoid_of_tail"),
    lambda x: (0.5 + np.copysign(0.5, x)) - x,
    (lambda a, y: -1.0,),
    domain=((0.1, 0.4),),
    cost=3.0,
)
elementwise(
    "softplus",
    vector("softplus"),
    real_or_complex(lambda x: np.logaddexp(x, np.zeros_like(x)), lambda x: np.log1p(np.exp(x))),
    (lambda a, y: sigmoid(a),),
    analytic=True,
    cost=24.0,
)
softplus = unary_function("softplus", doc="log(1 + exp(x)), without overflow.")


def _difference(a: Variable, b: Variable) -> Variable:
    """a - b, and 0 where both are the same infinity: equal terms share the derivative."""
    same: Any = np.isinf(a) & (a == b)
    return np.where(same, 0.0, a - b)  # type: ignore[return-value]


elementwise(
    "logaddexp",
    vector("logaddexp", 2),
    real_or_complex(np.logaddexp, lambda a, b: a + np.log1p(np.exp(b - a))),
    (lambda a, b, y: sigmoid(_difference(a, b)), lambda a, b, y: sigmoid(_difference(b, a))),
    analytic=True,
    cost=26.0,
)


@function("logaddexp", np.logaddexp)
def logaddexp(x: Any, y: Any) -> Variable:
    """log(exp(x) + exp(y)), without overflow; the derivatives at equal infinities are ½ each."""
    a, b = promoted_float(x, y)
    return a.graph.apply("logaddexp", a, b)


def _relu_jvp(
    args: tuple[Variable, ...], tangents: tuple[Variable | None, ...], out: Variable, params: Params
) -> Variable:
    return out.graph.apply("where", args[0] > 0.0, number_or_zero(tangents[0], out), number_or_zero(None, out))


def _relu_vjp(args: tuple[Variable, ...], out: Variable, cotangent: Variable, params: Params) -> tuple[Variable]:
    return (out.graph.apply("where", args[0] > 0.0, cotangent, number_or_zero(None, out)),)


elementwise(
    "relu",
    Scalar("({zero} if {0} <= {zero} else {0})"),
    lambda x: np.where(x <= 0, np.zeros_like(x), x),
    Custom(_relu_jvp, _relu_vjp, selects=True),
    arity=1,
)
relu = unary_function("relu", doc="max(x, 0); NaN stays NaN; the derivative at 0 is 0.")

# ---------------------------------------------------------------------- error functions

elementwise(
    "erf",
    vector("erf"),
    Scipy("erf"),
    (lambda a, y: TWO_OVER_ROOT_PI * np.exp(-np.square(a)),),
    analytic=True,
    cost=20.0,
)
erf = unary_function("erf", doc="Error function 2/√π ∫₀ˣ exp(-t²) dt.")

elementwise(
    "erfc",
    vector("erfc"),
    Scipy("erfc"),
    (lambda a, y: -TWO_OVER_ROOT_PI * np.exp(-np.square(a)),),
    analytic=True,
    cost=25.0,
)
erfc = unary_function("erfc", doc="1 - erf(x), accurate where it is small.")

# ---------------------------------------------------------------------- gamma functions


def _real_lgamma(x: Any) -> Any:
    """SciPy's gammaln, but -log |x| where its argument is so small that it overflows."""
    tiny = (x != 0) & (np.abs(x) < np.finfo(np.asarray(x).dtype).tiny)
    return np.where(tiny, -np.log(np.abs(x)), Scipy("gammaln")(x))


elementwise(
    "lgamma",
    vector("lgamma"),
    real_or_complex(_real_lgamma, Scipy("loggamma")),
    (lambda a, y: a.graph.apply("digamma", a),),
    domain=((0.5, 4.0),),
    analytic=True,
    cost=40.0,
)
lgamma = unary_function("lgamma", doc="log |Γ(x)|; inf at 0, -1, -2, …")

elementwise(
    "digamma",
    vector("digamma"),
    Scipy("psi"),
    (lambda a, y: a.graph.apply("polygamma", a.graph.const(1, "int64"), a),),
    domain=((0.5, 4.0),),
    analytic=True,
    cost=40.0,
)
digamma = unary_function("digamma", doc="ψ(x) = d/dx log Γ(x), the derivative of `lgamma`; NaN at 0, -1, -2, …")


def _polygamma_dtype(types: tuple[TensorType, ...]) -> str:
    if types[0].dtype != "int64" or not types[1].is_float:
        raise DtypeError(f"an order of int64 and an argument of floating dtype expected, got {types[0]}, {types[1]}")
    return types[1].dtype


elementwise(
    "polygamma",
    vector("polygamma", 2),
    lambda n, x: Scipy("polygamma")(n, x).astype(np.asarray(x).dtype),
    (None, lambda n, x, y: x.graph.apply("polygamma", n + 1, x)),
    dtype=_polygamma_dtype,
    domain=((1.0, 3.0), (0.8, 4.0)),
    cost=60.0,
    samples=(Sample(((), (3,)), dtypes=("int64", "float64")),),
)


@function("polygamma")
def polygamma(n: int, x: Any) -> Variable:
    """The n-th derivative of `digamma`; n is a literal integer, not negative.

    Its derivative is `polygamma(n + 1, x)`, so `lgamma` is differentiable to any order.
    """
    if isinstance(n, Variable) or not hasattr(n, "__index__") or int(n) < 0:
        raise ArgumentError(describe("`polygamma` needs a literal order", expected="0, 1, 2, …", got=f"`{n!r}`"))
    (value,) = promoted_float(x)
    if int(n) == 0:
        return digamma(value)
    return value.graph.apply("polygamma", value.graph.const(int(n), "int64"), value)


# ---------------------------------------------------------------------- sinc


def _sinc_slope(x: Variable, y: Variable) -> Variable:
    """(cos πx - sinc x)/x, and its Taylor polynomial for |x| < ½, where that difference cancels.

    Both branches are made of differentiable operations. Fourteen terms leave the polynomial's own derivatives exact to
    rounding up to about the tenth order of sinc; the other branch loses a factor of about 2 an order.
    """
    near = np.absolute(x) < SINC_NEAR
    squared = np.square(x)
    polynomial: Any = 0.0
    for k in range(SINC_TERMS, 0, -1):
        coefficient = (-1.0) ** k * math.pi ** (2 * k) * 2 * k / math.factorial(2 * k + 1)
        polynomial = coefficient + (squared * polynomial if k < SINC_TERMS else 0.0)
    divisor = np.where(near, 1.0, x)
    return np.where(near, x * polynomial, (np.cos(math.pi * x) - y) / divisor)  # type: ignore[return-value]


elementwise(
    "sinc",
    Scalar("({one} if {0} == {zero} else {sin}({dtype}(np.pi) * {0}) / ({dtype}(np.pi) * {0}))", ("sin",)),
    lambda x: np.sinc(x).astype(x.dtype),
    (_sinc_slope,),
    analytic=True,
    cost=20.0,
)
sinc = unary_function(
    "sinc", np.sinc, doc="sin(πx)/(πx), 1 at 0; differentiable there too, accurate to about order ten."
)
