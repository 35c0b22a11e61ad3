"""What a comparison of so many pairs can find."""

from __future__ import annotations

import math
from functools import lru_cache

from scipy import optimize, stats


def power(effect: float, n: int, *, significance: float = 0.05) -> float:
    """The probability that a two-sided paired t test of n pairs finds a mean difference of `effect`.

    From the noncentral t distribution with n - 1 degrees of freedom and noncentrality effect * sqrt(n) (Cohen 1988,
    chapter 2). Where the differences are about normal the sign-flip test has nearly the same power at the level that so
    many pairs attain (see `attainable`).

    Args:
        effect: in standard deviations of the differences.
        n: pairs, >= 2.
        significance: of the test, in (0, 1).

    Raises:
        ValueError: fewer than two pairs, or an effect or significance that is out of range.
    """
    if n < 2 or not math.isfinite(effect) or not 0 < significance < 1:
        raise ValueError(f"expected n >= 2, a finite effect and significance in (0, 1): {n}, {effect}, {significance}")
    critical = float(stats.t.isf(significance / 2, n - 1))
    shift = abs(effect) * math.sqrt(n)
    # the lower tail, mirrored: scipy's cdf(-critical, n - 1, shift) is NaN for large shifts
    return float(stats.nct.sf(critical, n - 1, shift) + stats.nct.sf(critical, n - 1, -shift))


@lru_cache(maxsize=256)
def minimum_detectable_effect(n: int, *, significance: float = 0.05, power_wanted: float = 0.8) -> float:
    """The mean difference, in standard deviations of the differences, that a two-sided paired t test of n pairs finds
    with probability `power_wanted`.

    Raises:
        ValueError: fewer than two pairs, or probabilities out of range (`power_wanted` must exceed `significance`).
    """
    if not significance < power_wanted < 1:
        raise ValueError(f"expected power above {significance} and under 1, found {power_wanted}")
    highest = 1.0
    while power(highest, n, significance=significance) < power_wanted:
        highest *= 2
    found = optimize.root_scalar(
        lambda effect: power(effect, n, significance=significance) - power_wanted, bracket=(0, highest), method="brentq"
    )
    return float(found.root)
