"""The sign-flip permutation test of paired differences."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossmith.study.statistics.differences import finite

EXACT = 30  # differences other than 0 up to which every pattern is counted
RESAMPLES = 2**16 - 1  # random patterns above, besides the one observed
_BATCH = 4096  # random patterns at once, which bounds the memory
_TIE = 1e-9  # of the sum of absolute differences: sums this close are equal but for rounding


def sign_flip(differences: ArrayLike, *, seed: int) -> float:
    """The two-sided p value of mean 0, for paired differences [n], n >= 1; in (0, 1].

    Under the null hypothesis the differences are symmetric about 0, so every pattern of signs is as likely as the one
    observed; p is the share of the 2^n patterns whose sum is at least as far from 0 (Fisher 1935, section 21; Pitman
    1937). For two losses that train equally well that holds exactly, whatever the distribution of their scores. Up to
    30 differences other than 0 all patterns are counted, above that 65,535 random ones drawn with `seed` and the one
    observed, which keeps the test valid (Phipson and Smyth 2010).

    Raises:
        ValueError: no difference, or one that is not finite.
    """
    found = finite(differences, 1)
    found = found[found != 0]  # flipping 0 changes nothing: each pattern is counted twice, and so is their number
    if not len(found):
        return 1.0
    sizes = np.abs(found) / np.abs(found).sum()
    threshold = abs(float(found.sum())) / float(np.abs(found).sum()) - _TIE
    if threshold <= 0:
        return 1.0
    return _exact(sizes, threshold) if len(sizes) <= EXACT else _sampled(sizes, threshold, seed)


def pairs_needed(comparisons: int = 1, significance: float = 0.05) -> int:
    """The least number of pairs with which the test can give p < significance after Holm's correction for that many
    comparisons: the least p that n pairs can give is 2 / 2^n."""
    return math.floor(math.log2(2 * comparisons / significance) + 1e-9) + 1


def attainable(n: int, significance: float = 0.05) -> float:
    """The level at which n pairs are really tested where p < significance is asked: the largest p under it that the
    test can give, where no differences tie. Its p values are multiples of 2 / 2^n; 0 where none is small enough."""
    patterns = 2 ** (n - 1)
    return (math.ceil(significance * patterns - 1e-9) - 1) / patterns


def _exact(sizes: NDArray[np.float64], threshold: float) -> float:
    """The share of patterns with |sum| >= threshold, by meeting in the middle: each sum is one of the first half and
    one of the second, so 2^(n / 2) searches in a sorted list count all 2^n."""
    middle = (len(sizes) + 1) // 2
    first = _sums(sizes[0], sizes[1:middle])  # the first sign stays, since both tails are counted
    second = np.sort(_sums(0.0, sizes[middle:]))
    above = len(second) - np.searchsorted(second, threshold - first, side="left")
    below = np.searchsorted(second, -threshold - first, side="right")
    return int(above.sum() + below.sum()) / 2 ** (len(sizes) - 1)


def _sums(start: float, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """start plus every pattern of signs of the sizes: [2^len(sizes)]."""
    sums = np.array([start])
    for size in sizes:
        sums = np.concatenate([sums + size, sums - size])
    return sums


def _sampled(sizes: NDArray[np.float64], threshold: float, seed: int) -> float:
    """The share of random patterns, and the observed one, with |sum| >= threshold; the sizes sum to 1."""
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, RESAMPLES, _BATCH):
        batch = min(_BATCH, RESAMPLES - start)
        bits = np.unpackbits(rng.integers(0, 256, (batch, (len(sizes) + 7) // 8), dtype=np.uint8), axis=1)
        negative = bits[:, : len(sizes)].astype(np.float64) @ sizes
        hits += int((np.abs(1 - 2 * negative) >= threshold).sum())
    return (hits + 1) / (RESAMPLES + 1)
