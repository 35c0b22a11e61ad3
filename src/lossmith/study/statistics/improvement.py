"""How often one loss beats another."""

from __future__ import annotations

import math
from dataclasses import dataclass

from numpy.typing import ArrayLike
from scipy import special

from lossmith.study.statistics.differences import finite


@dataclass(frozen=True, slots=True)
class Improvement:
    """The probability that a loss scores higher than the baseline when both train with the same fresh seed."""

    value: float  # in [0, 1]; a tie counts half
    low: float
    high: float


def probability_of_improvement(differences: ArrayLike, *, confidence: float = 0.95) -> Improvement:
    """The share of paired differences above 0, ties half, with Wilson's interval.

    Agarwal et al. (2021, arXiv 2108.13264) define P(X > Y) + P(X = Y) / 2 for independent runs, and
    estimate it from all pairs of runs (Mann-Whitney's U). Here runs are paired by seed, so it is taken within pairs:
    the probability that a person who trains both with one seed sees the loss win, as in Bouthillier et al. (2021,
    arXiv 2103.03098), who ask for 0.75 before they call an improvement meaningful. The interval is Wilson's (1927) for
    n trials, which unlike a bootstrap has a width where all are wins (Brown, Cai and DasGupta 2001); ties make it
    wider than it need be.

    Args:
        differences: [n], n >= 1.
        confidence: of the two-sided interval, in (0, 1).

    Raises:
        ValueError: no difference, or one that is not finite.
    """
    found = finite(differences, 1)
    n = len(found)
    share = float((found > 0).sum() + 0.5 * (found == 0).sum()) / n
    z2 = float(special.ndtri((1 + confidence) / 2)) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Improvement(share, max(0.0, centre - half), min(1.0, centre + half))
