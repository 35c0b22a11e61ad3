"""Statistics of paired scores: two losses trained with the same seeds.

Pairing (same split, initial weights, batches and augmentation) removes what the seeds share from a difference, so
everything here works on the differences seed by seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
_RESAMPLES = 2**16  # sign patterns: all of them up to 16 pairs, that many random ones above


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Scores minus a baseline's, in the scores' unit."""

    n: int  # pairs
    mean: float
    sd: float  # of the differences, with n - 1
    low: float  # Student's t interval of the mean at CONFIDENCE
    high: float
    p: float  # two-sided sign-flip permutation test of mean 0


def paired_difference(scores: Sequence[float], baseline: Sequence[float], seed: int) -> PairedDifference:
    """The mean difference of paired scores with its interval and p value.

    The interval is Student's t for paired samples; the p value is from flipping the signs of the differences (all 2^n
    patterns up to n = 16, then 65,536 random ones drawn with `seed`), which assumes only that the differences are
    symmetric about 0 under the null hypothesis.

    Raises:
        ValueError: fewer than two pairs, or sequences of different length.
    """
    if len(scores) != len(baseline) or len(scores) < 2:
        raise ValueError(f"expected two sequences of the same length >= 2, found {len(scores)} and {len(baseline)}")
    differences = np.asarray(scores, float) - np.asarray(baseline, float)
    n, mean, sd = len(differences), float(differences.mean()), float(differences.std(ddof=1))
    if sd == 0:  # the interval is a point; the test is exact all the same
        low = high = mean
    else:
        low, high = map(float, stats.t.interval(CONFIDENCE, n - 1, loc=mean, scale=sd / np.sqrt(n)))
    test = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=_RESAMPLES,
        vectorized=True,
        batch=4096,  # patterns at once, which bounds the memory for many pairs
        rng=np.random.default_rng(seed),
    )
    return PairedDifference(n, mean, sd, low, high, float(test.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values (Holm 1979), in the order given; they control the family-wise error rate."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted
