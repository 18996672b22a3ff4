"""Black-Scholes' price and Greeks in closed form, one loop over options."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.hand.common import elementary, kernel
from benchmarks.problem import Array

exp, log, erf = elementary("exp"), elementary("log"), elementary("erf")
exp_f32, log_f32, erf_f32 = elementary("exp_f32"), elementary("log_f32"), elementary("erf_f32")
ROOT_HALF = math.sqrt(0.5)
DENSITY = 1.0 / math.sqrt(2.0 * math.pi)


def greeks(spot: Array, strike: Array, time: Array, rate: Array, volatility: Array) -> list[Array]:
    """Price, delta, vega, theta, rho, gamma, each (n,)."""
    results = [np.empty_like(spot) for _ in range(6)]
    run = _single if spot.dtype == np.float32 else _double
    run(spot, strike, time, rate, volatility, *results)
    return results


@kernel
def _double(spot, strike, time, rate, volatility, price, delta, vega, theta, rho, gamma):  # type: ignore[no-untyped-def]
    for i in range(spot.size):
        root = math.sqrt(time[i])
        spread = volatility[i] * root
        upper = (log(spot[i] / strike[i]) + (rate[i] + 0.5 * volatility[i] * volatility[i]) * time[i]) / spread
        discounted = strike[i] * exp(-rate[i] * time[i])
        density = DENSITY * exp(-0.5 * upper * upper)
        below = 0.5 * (1.0 + erf((upper - spread) * ROOT_HALF))
        delta[i] = 0.5 * (1.0 + erf(upper * ROOT_HALF))
        price[i] = spot[i] * delta[i] - discounted * below
        vega[i] = spot[i] * density * root
        theta[i] = -0.5 * spot[i] * density * volatility[i] / root - rate[i] * discounted * below
        rho[i] = time[i] * discounted * below
        gamma[i] = density / (spot[i] * spread)


@kernel
def _single(spot, strike, time, rate, volatility, price, delta, vega, theta, rho, gamma):  # type: ignore[no-untyped-def]
    half, one, density_0 = np.float32(0.5), np.float32(1.0), np.float32(DENSITY)
    root_half = np.float32(ROOT_HALF)
    for i in range(spot.size):
        root = np.float32(math.sqrt(time[i]))
        spread = volatility[i] * root
        upper = (log_f32(spot[i] / strike[i]) + (rate[i] + half * volatility[i] * volatility[i]) * time[i]) / spread
        discounted = strike[i] * exp_f32(-rate[i] * time[i])
        density = density_0 * exp_f32(-half * upper * upper)
        below = half * (one + erf_f32((upper - spread) * root_half))
        delta[i] = half * (one + erf_f32(upper * root_half))
        price[i] = spot[i] * delta[i] - discounted * below
        vega[i] = spot[i] * density * root
        theta[i] = -half * spot[i] * density * volatility[i] / root - rate[i] * discounted * below
        rho[i] = time[i] * discounted * below
        gamma[i] = density / (spot[i] * spread)
