"""Wilcoxon's signed-rank test, for two losses over data sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from lossmith.study.statistics.differences import finite
from lossmith.study.statistics.signflip import sign_flip


@dataclass(frozen=True, slots=True)
class Wilcoxon:
    n: int  # differences, those of 0 included
    plus: float  # sum of the ranks of positive differences; the ranks of zeros are halved between the two
    minus: float
    p: float  # two-sided


def wilcoxon(differences: ArrayLike, *, seed: int) -> Wilcoxon:
    """Wilcoxon's signed-rank test of differences [n] symmetric about 0 (Wilcoxon 1945), as Demšar (2006, section 3.1.3)
    recommends it for two methods over n data sets.

    Zeros are ranked with the others, and their ranks halved between the two sums (Pratt 1959; Demšar). The p value is
    exact given the ranks, ties included, up to 30 differences other than 0; above, sampled with `seed` (see
    `sign_flip`). The least it can be is 2 / 2^n, so that fewer than 6 data sets cannot reach 5%.

    Raises:
        ValueError: no difference, or one that is not finite.
    """
    found = finite(differences, 1)
    largest = float(np.abs(found).max())
    sizes = np.round(np.abs(found) / largest, 9) if largest else np.zeros(len(found))  # rounding must not break ties
    ranks = stats.rankdata(sizes)
    zeros = float(ranks[sizes == 0].sum())
    signed = np.where(sizes == 0, 0.0, np.sign(found) * ranks)
    plus, minus = float(signed[signed > 0].sum()), float(-signed[signed < 0].sum())
    return Wilcoxon(len(found), plus + zeros / 2, minus + zeros / 2, sign_flip(signed, seed=seed))
