"""Correction for several tests at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values (Holm 1979), in the order given; they control the family-wise error rate, whatever the
    dependence of the tests.

    Raises:
        ValueError: a p value outside [0, 1], or NaN.
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError("expected p values in [0, 1]")
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted
