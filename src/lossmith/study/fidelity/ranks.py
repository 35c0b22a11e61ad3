"""How well one order of losses agrees with another: Kendall's tau-b, Spearman's rho, top-k recall.

Each is computed for a set of losses or for many resamples of it at once. A resample is given by how often it holds each
loss. A pair of copies of one loss is tied in both orders and tells nothing, so no statistic counts it.

Legend: N losses, B resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_DIGITS = 12  # to which scores are rounded: equal numbers of images, added in another order, are ties


def scores_of(values: Sequence[float | None]) -> Array:
    """Scores [N]; None, a training that failed, is below every score."""
    return np.array([-np.inf if value is None else round(value, _DIGITS) for value in values])


def mean_scores(values_SN: Sequence[Array]) -> Array:
    """The mean over seeds of each loss's scores; below every other where one training failed."""
    return np.round(np.mean(np.stack(values_SN), axis=0), _DIGITS)


def resamples(losses: int, count: int, seed: int) -> Array:
    """How often each of `losses` is in each of `count` samples drawn with replacement, as large: [B, N]."""
    picked_BN = np.random.default_rng(seed).integers(0, losses, (count, losses))
    places = picked_BN + losses * np.arange(count)[:, None]
    return np.bincount(places.ravel(), minlength=losses * count).reshape(count, losses).astype(np.float64)


def once(losses: int) -> Array:
    """The losses themselves, as the one resample that holds each once: [1, N]."""
    return np.ones((1, losses))


def tau(a_N: Array, b_N: Array, counts_BN: Array) -> Array:
    """Kendall's tau-b (Kendall 1945) in each resample: [B], in [-1, 1]; 0 where an order is all ties."""
    a_NN, b_NN = _signs(a_N), _signs(b_N)
    agree_B = _pairs(a_NN * b_NN, counts_BN)
    size_B = np.sqrt(_pairs(np.abs(a_NN), counts_BN) * _pairs(np.abs(b_NN), counts_BN))
    return np.divide(agree_B, size_B, out=np.zeros_like(agree_B), where=size_B > 0)


def ordered_rightly(a_N: Array, b_N: Array, counts_BN: Array) -> Array:
    """Of the pairs that order b tells apart, the share that order a puts the same way, a tie in a counting half: [B].

    0.5 where b tells none apart.
    """
    a_NN, b_NN = _signs(a_N), _signs(b_N)
    told_B = _pairs(np.abs(b_NN), counts_BN)
    agree_B = _pairs(a_NN * b_NN, counts_BN)
    return 0.5 + 0.5 * np.divide(agree_B, told_B, out=np.zeros_like(agree_B), where=told_B > 0)


def spearman(a_N: Array, b_N: Array, counts_BN: Array) -> Array:
    """Spearman's rank correlation, with mid-ranks for ties, in each resample: [B]; 0 where an order is all ties."""
    size_B1 = counts_BN.sum(axis=1, keepdims=True)
    a_BN, b_BN = (counts_BN @ _below(x_N) - size_B1 / 2 for x_N in (a_N, b_N))  # mid-ranks less their mean
    both_B = (counts_BN * a_BN * b_BN).sum(axis=1)
    scale_B = np.sqrt((counts_BN * a_BN**2).sum(axis=1) * (counts_BN * b_BN**2).sum(axis=1))
    return np.divide(both_B, scale_B, out=np.zeros_like(both_B), where=scale_B > 0)


def recall(a_N: Array, b_N: Array, k: int) -> float:
    """The share of the best `k` by b that is among the best `k` by a; ties at the edge are broken at random, and this
    is what is to be expected of it."""
    return float((_share_in_top(a_N, k) * _share_in_top(b_N, k)).sum() / k)


def recall_resampled(a_N: Array, b_N: Array, k: int, counts_BN: Array, seed: int) -> Array:
    """The same in each resample: [B]. There ties are broken at random; copies of one loss stay together."""
    rng = np.random.default_rng(seed)
    a_BN, b_BN = (_taken(x_N, k, counts_BN, rng) for x_N in (a_N, b_N))
    return np.minimum(a_BN, b_BN).sum(axis=1) / k


def _signs(x_N: Array) -> Array:
    """Which is better: [N, N], 1 where the first is, -1 where the second is, 0 for a tie."""
    better_NN = x_N[:, None] > x_N[None, :]
    return better_NN.astype(np.float64) - better_NN.T


def _pairs(values_NN: Array, counts_BN: Array) -> Array:
    """The sum over ordered pairs in each resample: [B]."""
    return ((counts_BN @ values_NN) * counts_BN).sum(axis=1)


def _below(x_N: Array) -> Array:
    """[N, N]: what the first adds to the mid-rank of the second, 1 where it is below, a half where they are equal."""
    below_NN = (x_N[:, None] < x_N[None, :]).astype(np.float64)
    return below_NN + 0.5 * (x_N[:, None] == x_N[None, :])


def _share_in_top(x_N: Array, k: int) -> Array:
    """How probably each is among the best `k`: [N]."""
    above_N = (x_N[:, None] < x_N[None, :]).sum(axis=1)
    equal_N = (x_N[:, None] == x_N[None, :]).sum(axis=1)  # itself included
    return np.clip((k - above_N) / equal_N, 0.0, 1.0)


def _taken(x_N: Array, k: int, counts_BN: Array, rng: np.random.Generator) -> Array:
    """How many copies of each loss are among the best `k` of each resample: [B, N]."""
    _, place_N = np.unique(x_N, return_inverse=True)
    order_BN = np.argsort(-(place_N + rng.random(counts_BN.shape)), axis=1)
    sorted_BN = np.take_along_axis(counts_BN, order_BN, axis=1)
    before_BN = np.cumsum(sorted_BN, axis=1) - sorted_BN
    taken_BN = np.empty_like(counts_BN)
    np.put_along_axis(taken_BN, order_BN, np.clip(k - before_BN, 0.0, sorted_BN), axis=1)
    return taken_BN
