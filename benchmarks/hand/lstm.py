"""LSTM language model with diagonal weights: loops over characters and layers, the states of all gates stored."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.hand.common import elementary, kernel
from benchmarks.problem import Array

exp = elementary("exp")


def value_and_grad(main: Array, extra: Array, state: Array, sequence: Array) -> list[Array]:
    """The loss () and its gradients by weights of the layers (2 l, 4 b) and of input and output (3, b)."""
    (layers, width), (c, b) = main.shape, sequence.shape
    weights, states = main.reshape(layers // 2, 2, 4, b), state.reshape(layers // 2, 2, b)
    gates, hidden, totals = np.empty((c, layers // 2, 6, b)), np.empty((c, layers // 2, b)), np.empty(c)
    main_bar, extra_bar = np.zeros_like(weights), np.zeros_like(extra)
    value = _value(weights, extra, states, sequence, gates, hidden, totals)
    _gradient(weights, extra, sequence, gates, hidden, totals, main_bar, extra_bar)
    return [np.asarray(value), main_bar.reshape(layers, width), extra_bar]


@kernel
def _value(mp, ep, st, seq, gates, before, totals):  # type: ignore[no-untyped-def]
    c, b = seq.shape
    hidden, cell, x, y = st[:, 0].copy(), st[:, 1].copy(), np.empty(b), np.empty(b)
    total = 0.0
    for t in range(c - 1):
        for i in range(b):
            x[i] = seq[t, i] * ep[0, i]
        for k in range(mp.shape[0]):
            for i in range(b):
                f = 1.0 / (1.0 + exp(-(x[i] * mp[k, 0, 0, i] + mp[k, 1, 0, i])))
                g = 1.0 / (1.0 + exp(-(hidden[k, i] * mp[k, 0, 1, i] + mp[k, 1, 1, i])))
                o = 1.0 / (1.0 + exp(-(x[i] * mp[k, 0, 2, i] + mp[k, 1, 2, i])))
                change = 1.0 - 2.0 / (1.0 + exp(2.0 * (hidden[k, i] * mp[k, 0, 3, i] + mp[k, 1, 3, i])))
                gates[t, k, 0, i], gates[t, k, 1, i], gates[t, k, 2, i] = f, g, o
                gates[t, k, 3, i], gates[t, k, 4, i], before[t, k, i] = change, cell[k, i], hidden[k, i]
                following = cell[k, i] * f + g * change
                bent = 1.0 - 2.0 / (1.0 + exp(2.0 * following))
                cell[k, i], gates[t, k, 5, i], hidden[k, i], x[i] = following, bent, o * bent, o * bent
        summed = 2.0
        for i in range(b):
            y[i] = x[i] * ep[1, i] + ep[2, i]
            summed += exp(y[i])
        totals[t] = math.log(summed)
        for i in range(b):
            total += seq[t + 1, i] * (y[i] - totals[t])
    return -total / ((c - 1) * b)


@kernel
def _gradient(mp, ep, seq, gates, before, totals, gm, ge):  # type: ignore[no-untyped-def]
    c, b = seq.shape
    layers = mp.shape[0]
    hidden_bar, cell_bar, x_bar = np.zeros((layers, b)), np.zeros((layers, b)), np.empty(b)
    weight = -1.0 / ((c - 1) * b)
    for t in range(c - 2, -1, -1):
        picked = 0.0
        for i in range(b):
            picked += seq[t + 1, i]
        for i in range(b):
            h = gates[t, layers - 1, 2, i] * gates[t, layers - 1, 5, i]
            d = weight * (seq[t + 1, i] - picked * exp(h * ep[1, i] + ep[2, i] - totals[t]))
            ge[1, i] += d * h
            ge[2, i] += d
            x_bar[i] = d * ep[1, i]
        for k in range(layers - 1, -1, -1):
            for i in range(b):
                f, g, o = gates[t, k, 0, i], gates[t, k, 1, i], gates[t, k, 2, i]
                change, cell, bent, hidden = gates[t, k, 3, i], gates[t, k, 4, i], gates[t, k, 5, i], before[t, k, i]
                lower = max(k - 1, 0)
                x = seq[t, i] * ep[0, i] if k == 0 else gates[t, lower, 2, i] * gates[t, lower, 5, i]
                d = hidden_bar[k, i] + x_bar[i]
                to_out = d * bent * o * (1.0 - o)
                to_cell = cell_bar[k, i] + d * o * (1.0 - bent * bent)
                cell_bar[k, i] = to_cell * f
                to_forget, to_in = to_cell * cell * f * (1.0 - f), to_cell * change * g * (1.0 - g)
                to_change = to_cell * g * (1.0 - change * change)
                gm[k, 0, 0, i] += to_forget * x
                gm[k, 1, 0, i] += to_forget
                gm[k, 0, 1, i] += to_in * hidden
                gm[k, 1, 1, i] += to_in
                gm[k, 0, 2, i] += to_out * x
                gm[k, 1, 2, i] += to_out
                gm[k, 0, 3, i] += to_change * hidden
                gm[k, 1, 3, i] += to_change
                hidden_bar[k, i] = to_in * mp[k, 0, 1, i] + to_change * mp[k, 0, 3, i]
                x_bar[i] = to_forget * mp[k, 0, 0, i] + to_out * mp[k, 0, 2, i]
        for i in range(b):
            ge[0, i] += x_bar[i] * seq[t, i]
