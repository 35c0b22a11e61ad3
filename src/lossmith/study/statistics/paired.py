"""A comparison of two losses on one task, in one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from lossmith.study.statistics.differences import constant, differences
from lossmith.study.statistics.signflip import sign_flip

CONFIDENCE = 0.95


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

    The interval is Student's t for paired samples, which holds its confidence for any number of pairs where the
    differences are about normal (a bootstrap's is too short for the few pairs of a plain comparison); the p value is
    from `sign_flip`, whose random patterns are drawn with `seed`.

    Raises:
        ValueError: fewer than two pairs, sequences of different length, or a score that is not finite.
    """
    if len(scores) != len(baseline) or len(scores) < 2:
        raise ValueError(f"expected two sequences of the same length >= 2, found {len(scores)} and {len(baseline)}")
    found = differences(scores, baseline)
    n, mean, sd = len(found), float(found.mean()), float(found.std(ddof=1))
    if constant(found):  # the interval is a point; the test is exact all the same
        mean, sd = float(found[0]), 0.0
        low = high = mean
    else:
        low, high = map(float, stats.t.interval(CONFIDENCE, n - 1, loc=mean, scale=sd / np.sqrt(n)))
    return PairedDifference(n, mean, sd, low, high, sign_flip(found, seed=seed))
