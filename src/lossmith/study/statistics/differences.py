"""Differences of paired scores, free of what rounding adds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

DIGITS = 12  # of the largest score: far finer than one image in any test set, far coarser than a double's rounding


def differences(
    scores: Sequence[float] | NDArray[np.float64], baseline: Sequence[float] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Scores minus the baseline's, seed by seed: float64 [n].

    0.3 - 0.2 and 0.2 - 0.1 differ in the last bits. Such noise would turn ties into differences, so they are
    rounded to 12 decimal digits, counted from the first of the largest score.

    Raises:
        ValueError: sequences of different length, or a score that is not finite.
    """
    if len(scores) != len(baseline):
        raise ValueError(f"expected two sequences of the same length, found {len(scores)} and {len(baseline)}")
    if not len(scores):
        return np.empty(0)
    both = finite(np.stack([np.asarray(scores, float), np.asarray(baseline, float)]), 2)
    found = both[0] - both[1]
    largest = float(np.abs(both).max())
    return np.round(found, min(300, DIGITS - math.ceil(math.log10(largest)))) if largest else found


def finite(values: ArrayLike, dimensions: int, least: int = 1) -> NDArray[np.float64]:
    """The values as float64 with that many dimensions, the last at least `least` long.

    Raises:
        ValueError: they are not, or hold a NaN or an infinity.
    """
    found = np.asarray(values, float)
    if found.ndim != dimensions or found.shape[-1] < least:
        raise ValueError(f"expected {dimensions} dimension(s), the last at least {least} long, found {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError("expected finite numbers, found NaN or infinity")
    return found


def constant(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether all values along the last axis are equal but for rounding: they say nothing of their own variance."""
    return np.ptp(values, axis=-1) <= 1e-9 * np.abs(values).max(axis=-1)
