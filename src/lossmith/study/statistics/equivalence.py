"""The test of equivalence: is a difference smaller than matters?"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike
from scipy import stats

from lossmith.study.statistics.differences import constant, finite


def equivalence(differences: ArrayLike, margin: float) -> float:
    """The p value of two one-sided paired t tests (TOST; Schuirmann 1987): in (0, 1].

    The null hypothesis is that the mean difference is at least `margin` away from 0. p <= alpha is the same as: the
    t interval of the mean at confidence 1 - 2 alpha lies within (-margin, margin).

    Where all differences are equal there is no t; p is then that of the one-sided sign-flip test against the nearer
    bound, 2^-n where they lie within it.

    Args:
        differences: [n], n >= 2.
        margin: > 0, in the unit of the differences.

    Raises:
        ValueError: fewer than two differences, one that is not finite, or a margin that is not positive.
    """
    found = finite(differences, 1, least=2)
    if not 0 < margin < math.inf:
        raise ValueError(f"expected a margin above 0, found {margin}")
    n, mean = len(found), abs(float(found.mean()))
    if constant(found):
        return 0.5**n if abs(float(found[0])) < margin * (1 - 1e-9) else 1.0
    error = float(found.std(ddof=1)) / math.sqrt(n)
    return float(stats.t.sf((margin - mean) / error, n - 1))  # the larger of the two p values
