# mypy: disable-error-code="no-any-return"
"""The error function of float64 and its complement."""

from __future__ import annotations

from graphad.emit.vecmath.bits import _copysign, _fabs, _fma, _polynomial, _select
from graphad.emit.vecmath.exp_log import _exp_parts, _scale, exp
from graphad.emit.vecmath.tracing import elementary

# erf(x) = x + x p(x^2) for |x| <= 1: error 2^-55.9.
ERF_SMALL = (
    0.12837916709551256,
    -0.3761263890318334,
    0.11283791670936534,
    -0.026866170641867814,
    0.005223977595819475,
    -0.0008548325434600711,
    0.00012055278834611909,
    -1.492443136071241e-05,
    1.6443704939495657e-06,
    -1.6180444842543725e-07,
    1.3600925921801192e-08,
    -7.577781179210014e-10,
)
# erf(x) = 1 - exp(-p(x - 1)) for 1 <= x <= 6: error 2^-57.0.
ERF_LARGE = (
    1.8496055099332482,
    2.6389675142347837,
    0.8431072563591034,
    0.041561098030292815,
    -0.010033825226743372,
    0.001977901481224655,
    -0.00023731740545757424,
    -2.6293884370901062e-05,
    2.7194608203842447e-05,
    -9.665725213675712e-06,
    2.126574376309364e-06,
    -2.0106432865608642e-07,
    -5.992839377799113e-08,
    3.409858129922709e-08,
    -8.701602079457876e-09,
    1.3504388635196546e-09,
    -1.225181457055461e-10,
    5.011059526904241e-12,
)
# erfc(x) = e^(-x^2) p((x - 3) / (x + 3)) / (1 + 2x) for 0 <= x <= 27.3: error 2^-54.2.
ERFC = (
    1.2530080582697296,
    -0.13562110612458073,
    -0.04756229435343735,
    0.12964515870271673,
    -0.11927366341597533,
    0.06830802734526334,
    -0.023770514905730608,
    0.0025293917989081963,
    0.0018886902307114952,
    -0.0007798321456719866,
    -0.00010515905099669562,
    0.0001250987811606377,
    4.946741531754832e-06,
    -2.0098872687498874e-05,
    -7.249530312390486e-07,
    3.4689382657152322e-06,
    3.464207961649581e-07,
    -6.115796984326499e-07,
    -1.3050901355467557e-07,
    9.670152338577094e-08,
    3.3883985535062414e-08,
    -1.0012241011087818e-08,
    -4.825611505898665e-09,
)


@elementary
def erf(x: float) -> float:
    """The error function."""
    a = _fabs(x)
    a = _select(a > 6.0, 6.0, a)
    small = _fma(a, _polynomial(a * a, ERF_SMALL), a)
    large = 1.0 - exp(-_polynomial(a - 1.0, ERF_LARGE))
    return _copysign(_select(a < 1.0, small, large), x)


@elementary
def erfc(x: float) -> float:
    """1 - erf(x) without cancellation."""
    a = _fabs(x)
    a = _select(a > 27.3, 27.3, a)
    square = a * a
    p, n = _exp_parts(-square, -_fma(a, a, -square))
    total = a + 3.0
    divisor = _fma(2.0, a, 1.0)
    both = 1.0 / (total * divisor)
    inverse = both * total
    top = _polynomial((a - 3.0) * (both * divisor), ERFC)
    quotient = top * inverse
    rest = _fma(-quotient, divisor, top) - quotient * _fma(2.0, a, 1.0 - divisor)
    y = _scale(p * _fma(rest, inverse, quotient), n)
    near = 1.0 - _fma(x, _polynomial(square, ERF_SMALL), x)
    return _select(a < 0.5, near, _select(x < 0.0, 2.0 - y, y))
