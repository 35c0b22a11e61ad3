"""The bootstrap interval of a mean difference."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lossmith.study.statistics.differences import constant, finite

RESAMPLES = 9999
_TIE = 1e-12  # of the largest difference


def bca_interval(
    differences: ArrayLike, *, confidence: float = 0.95, seed: int, resamples: int = RESAMPLES
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bias-corrected and accelerated bootstrap intervals of the means (Efron 1987; Efron and Tibshirani 1993, 14.3).

    All rows share the resamples, which are those that `scipy.stats.bootstrap` draws with the same seed.

    Args:
        differences: [comparisons, n], n >= 2.
        confidence: of each two-sided interval, in (0, 1).
        seed: of the resamples.
        resamples: how many.

    Returns:
        The lower and the upper bounds, each [comparisons], in the unit of the differences. Where the differences of a
        row are all equal the method is not defined, and both bounds are their value.

    Raises:
        ValueError: another shape, or a difference that is not finite.
    """
    found = finite(differences, 2, least=2)
    low, high = found[:, 0].copy(), found[:, 0].copy()
    vary = ~constant(found)
    if vary.any():
        low[vary], high[vary] = _bca(found[vary], confidence, seed, resamples)
    return low, high


def _bca(
    found_MN: NDArray[np.float64], confidence: float, seed: int, resamples: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    observed_M = found_MN.mean(axis=1)
    weights_BN = _weights(found_MN.shape[1], seed, resamples)
    # row by row: a product of matrices rounds otherwise with other rows beside it
    means_MB = np.stack([weights_BN @ found_N for found_N in found_MN])
    grain_M = _TIE * np.abs(found_MN).max(axis=1)
    return bca_bounds(observed_M, means_MB, found_MN - observed_M[:, None], grain_M, confidence)


def bca_bounds(
    observed_M: NDArray[np.float64],
    resampled_MB: NDArray[np.float64],
    influence_MN: NDArray[np.float64],
    grain_M: NDArray[np.float64],
    confidence: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The bounds of M statistics, each from B resamples; `resampled_MB` is left in another order.

    Args:
        observed_M: the statistics.
        resampled_MB: their values in the resamples.
        influence_MN: how far each is moved by each of its N observations, up to a positive factor: for a mean the
            deviations, else the mean of the jackknife's values less each of them.
        grain_M: values this close to the observed one are equal to it.
        confidence: in (0, 1).
    """
    # the bias: how far the median of the resamples is from what was observed; a tie is half below
    off_MB = resampled_MB - observed_M[:, None]
    below_M = (off_MB < -grain_M[:, None]).sum(axis=1) + (off_MB <= grain_M[:, None]).sum(axis=1)
    bias_M = special.ndtri(below_M / (2 * resampled_MB.shape[1]))
    # the acceleration: a sixth of the skewness of the influence
    acceleration_M = (influence_MN**3).sum(axis=1) / (6 * (influence_MN**2).sum(axis=1) ** 1.5)
    tail = (1 - confidence) / 2
    shares = []
    for z in special.ndtri([tail, 1 - tail]):
        shifted_M = bias_M + z
        shares.append(special.ndtr(bias_M + shifted_M / (1 - acceleration_M * shifted_M)))
    low_M, high_M = _quantiles(resampled_MB, np.stack(shares))
    return low_M, high_M


@lru_cache(maxsize=4)  # 1.6 MB for 20 seeds; the cells of a study have the same number
def _weights(n: int, seed: int, resamples: int) -> NDArray[np.float64]:
    """Each resample as the weights of its mean: [resamples, n]."""
    picked_BN = np.random.default_rng(seed).integers(0, n, (resamples, n))
    places = picked_BN + n * np.arange(resamples)[:, None]
    counts_BN = np.bincount(places.ravel(), minlength=resamples * n).reshape(resamples, n)
    return counts_BN / n


def _quantiles(values_MB: NDArray[np.float64], shares_QM: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles by linear interpolation, other shares for each row: [quantiles, rows]."""
    places_QM = shares_QM * (values_MB.shape[1] - 1)
    under_QM = np.floor(places_QM).astype(int)
    over_QM = np.ceil(places_QM).astype(int)
    found_QM = np.empty_like(shares_QM)
    for row, values_B in enumerate(values_MB):
        under, over = under_QM[:, row], over_QM[:, row]
        values_B.partition(np.unique(np.concatenate([under, over])))
        found_QM[:, row] = values_B[under] + (places_QM[:, row] - under) * (values_B[over] - values_B[under])
    return found_QM
