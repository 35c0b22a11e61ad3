"""Several losses over several data sets: Friedman's test, and Nemenyi's critical difference of mean ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

PERMUTATIONS = 9999


@dataclass(frozen=True, slots=True)
class Friedman:
    """The null hypothesis: all k methods are alike, so that every order of them on a data set is equally likely."""

    mean_ranks: tuple[float, ...]  # by method; 1 is best
    chi2: float  # Friedman's statistic
    chi2_p: float  # from the chi-squared distribution with k - 1 degrees of freedom; for many data sets
    f: float  # Iman and Davenport's; infinite where all data sets agree
    f_p: float  # from the F distribution with k - 1 and (k - 1)(n - 1) degrees of freedom
    p: float  # by permutation within data sets; valid for any number of them


def ranks(scores: ArrayLike) -> NDArray[np.float64]:
    """The rank of each method on each data set: [datasets, methods], 1 for the highest score, ties their mean rank.

    -inf is a score like others, and lowest.

    Raises:
        ValueError: not two dimensions, or NaN or +inf among the scores.
    """
    found = np.asarray(scores, float)
    if found.ndim != 2 or not found.size:
        raise ValueError(f"expected scores [datasets, methods], found {found.shape}")
    if not (found < math.inf).all():
        raise ValueError("expected scores that are numbers or -inf, found NaN or infinity")
    scale = np.abs(found[np.isfinite(found)]).max(initial=0.0) or 1.0
    return stats.rankdata(-np.round(found / scale, 12), axis=1)  # rounding must not break ties


def friedman(scores: ArrayLike, *, seed: int) -> Friedman:
    """Friedman's test (1937) with Iman and Davenport's statistic (1980), as in Demšar (2006, section 3.2.2).

    Both statistics are without a correction for ties, which makes them smaller. For few data sets neither distribution
    holds, so that `p` is from 9,999 random orders within each data set and the one observed, drawn with `seed`.

    Args:
        scores: [datasets >= 2, methods >= 2]; higher is better, -inf is worst.
        seed: of the permutations.

    Raises:
        ValueError: see `ranks`; or fewer than two data sets or methods.
    """
    ranked = ranks(scores)
    n, k = ranked.shape
    if n < 2 or k < 2:
        raise ValueError(f"expected at least 2 data sets and 2 methods, found {n} and {k}")
    means = ranked.mean(axis=0)
    chi2 = 12 * n / (k * (k + 1)) * max(0.0, float((means**2).sum()) - k * (k + 1) ** 2 / 4)
    left = n * (k - 1) - chi2
    f = (n - 1) * chi2 / left if left > 1e-9 else math.inf
    sums = np.zeros((PERMUTATIONS, k))
    for row, order in zip(ranked, _orders(n, k, seed), strict=True):
        sums += row[order]
    # the statistic grows with the sum of squares; ranks are multiples of 1/2, so that these sums are exact
    hits = int(((sums**2).sum(axis=1) >= (ranked.sum(axis=0) ** 2).sum()).sum())
    return Friedman(
        mean_ranks=tuple(map(float, means)),
        chi2=chi2,
        chi2_p=float(stats.chi2.sf(chi2, k - 1)),
        f=f,
        f_p=float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))),
        p=(hits + 1) / (PERMUTATIONS + 1),
    )


@lru_cache(maxsize=64)
def critical_difference(methods: int, datasets: int, *, significance: float = 0.05) -> float:
    """The least difference of two mean ranks that Nemenyi's test (1963) calls significant, over all pairs of methods.

    q * sqrt(k (k + 1) / (6 n)) with q the quantile of the studentized range over sqrt(2) (Demšar 2006, section 3.2.2).

    Raises:
        ValueError: fewer than two methods, or no data set.
    """
    if methods < 2 or datasets < 1:
        raise ValueError(f"expected at least 2 methods and a data set, found {methods} and {datasets}")
    q = float(stats.studentized_range.ppf(1 - significance, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * datasets))


def groups(mean_ranks: Mapping[str, float], critical: float) -> list[list[str]]:
    """What a critical-difference diagram joins by bars: the largest sets of at least two methods whose mean ranks
    differ by less than `critical`; by rank, best first."""
    ordered = sorted(mean_ranks, key=lambda key: mean_ranks[key])
    found: list[list[str]] = []
    end = 0
    for start, key in enumerate(ordered):
        stop = start + sum(mean_ranks[other] - mean_ranks[key] < critical for other in ordered[start:])
        if stop > end and stop - start > 1:
            found.append(ordered[start:stop])
        end = max(end, stop)
    return found


@lru_cache(maxsize=4)  # an analysis of the same form again, as in a simulation, has the same
def _orders(n: int, k: int, seed: int) -> NDArray[np.intp]:
    """Random orders of the methods: [datasets, permutations, methods]."""
    return np.random.default_rng(seed).random((n, PERMUTATIONS, k)).argsort(axis=2)
