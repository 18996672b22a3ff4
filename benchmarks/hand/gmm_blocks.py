"""Gaussian mixture in blocks of 64 points with the point innermost, so that every statement is a vector loop."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.hand.common import elementary, kernel

BLOCK = 64
exp = elementary("exp")


@kernel
def _scaled(points, start, count, mean, diagonal, lower, centred, scaled):  # type: ignore[no-untyped-def]
    """Q (x − μ) of the points of a block for one component."""
    d = mean.size
    for j in range(d):
        for a in range(count):
            centred[j, a] = points[j, start + a] - mean[j]
            scaled[j, a] = diagonal[j] * centred[j, a]
    place = 0
    for i in range(d):
        for j in range(i + 1, d):
            for a in range(count):
                scaled[j, a] += lower[place] * centred[i, a]
            place += 1


@kernel
def _weights(beta, largest, total, count):  # type: ignore[no-untyped-def]
    """Softmax over the components, before its division."""
    for a in range(count):
        largest[a], total[a] = beta[0, a], 0.0
    for c in range(1, beta.shape[0]):
        for a in range(count):
            largest[a] = max(largest[a], beta[c, a])
    for c in range(beta.shape[0]):
        for a in range(count):
            beta[c, a] = exp(beta[c, a] - largest[a])
            total[a] += beta[c, a]


@kernel
def _component(weight, count, diagonal, lower, centred, scaled, slopes, to_mean, to_q, to_lower):  # type: ignore[no-untyped-def]
    """Add a component's gradient; `weight` holds the points' probabilities."""
    share = 0.0
    for a in range(count):
        share += weight[a]
    for j in range(slopes.size):
        slope = moment = 0.0
        for a in range(count):
            scaled[j, a] *= -weight[a]
            slope += scaled[j, a]
            moment += scaled[j, a] * centred[j, a]
        slopes[j] = slope
        to_q[j] += share + moment * diagonal[j]
        to_mean[j] -= slope * diagonal[j]
    place = 0
    for i in range(slopes.size):
        for j in range(i + 1, slopes.size):
            moment = 0.0
            for a in range(count):
                moment += scaled[j, a] * centred[i, a]
            to_lower[place] += moment
            to_mean[i] -= lower[place] * slopes[j]
            place += 1
    return share


@kernel
def accumulate(offset, mu, diagonal, lower, points, to_alpha, to_mu, to_q, to_lower):  # type: ignore[no-untyped-def]
    """Σ_i logsumexp_k β_ik; gradients are added to. `offset` is α_k + Σ_j q_kj, `points` is (d, n)."""
    (d, n), k = points.shape, mu.shape[0]
    centred, scaled, beta = np.empty((d, BLOCK)), np.empty((d, BLOCK)), np.empty((k, BLOCK))
    largest, total, slopes = np.empty(BLOCK), np.empty(BLOCK), np.empty(d)
    fit = 0.0
    for start in range(0, n, BLOCK):
        count = min(BLOCK, n - start)
        for c in range(k):
            _scaled(points, start, count, mu[c], diagonal[c], lower[c], centred, scaled)
            for a in range(count):
                beta[c, a] = 0.0
            for j in range(d):
                for a in range(count):
                    beta[c, a] += scaled[j, a] * scaled[j, a]
            for a in range(count):
                beta[c, a] = offset[c] - 0.5 * beta[c, a]
        _weights(beta, largest, total, count)
        for a in range(count):
            fit += math.log(total[a]) + largest[a]
            total[a] = 1.0 / total[a]
        for c in range(k):
            _scaled(points, start, count, mu[c], diagonal[c], lower[c], centred, scaled)
            for a in range(count):
                beta[c, a] *= total[a]
            to_alpha[c] += _component(
                beta[c], count, diagonal[c], lower[c], centred, scaled, slopes, to_mu[c], to_q[c], to_lower[c]
            )
    return fit
