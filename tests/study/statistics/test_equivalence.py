from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossmith.study.statistics import equivalence


def test_the_bioavailability_data_of_sas() -> None:
    """SAS/STAT 9.2 User's Guide, TTEST, example 'Equivalence testing with lognormal data': AUC of 12 subjects, ratio
    0.9412 with 90% limits 0.8634 and 1.0260 inside 0.8 to 1.25, overall p = 0.0031."""
    test = [103.4, 59.92, 68.17, 94.54, 69.48, 72.17, 74.37, 84.44, 96.74, 94.26, 48.52, 95.68]
    reference = [90.11, 77.71, 77.71, 97.51, 58.21, 101.3, 79.84, 96.06, 89.30, 97.22, 61.62, 85.80]
    logs = np.log(test) - np.log(reference)
    assert math.exp(logs.mean()) == pytest.approx(0.9412, abs=5e-5)
    assert equivalence(logs, math.log(1.25)) == pytest.approx(0.0031, abs=5e-5)
    # statsmodels 0.15.0, ttost_paired
    assert equivalence(logs, math.log(1.25)) == pytest.approx(0.0030593385405632938, rel=1e-9)
    assert equivalence(logs, 0.15) == pytest.approx(0.04488999064337887, rel=1e-9)
    assert equivalence(logs, 0.08) == pytest.approx(0.3470991561001696, rel=1e-9)


@given(
    st.lists(st.floats(-1, 1), min_size=2, max_size=20).filter(lambda values: np.std(values) > 1e-3),
    st.floats(0.01, 2),
)
def test_it_is_the_interval_within_the_margin(values: list[float], margin: float) -> None:
    p = equivalence(values, margin)
    low, high = stats.t.interval(0.9, len(values) - 1, np.mean(values), stats.sem(values))
    if abs(p - 0.05) > 1e-6:
        assert (p < 0.05) == (-margin < low and high < margin)
    assert equivalence([-value for value in values], margin) == pytest.approx(p)


def test_equal_differences_are_judged_by_their_signs() -> None:
    assert equivalence([0.0] * 20, 0.001) == 2**-20
    assert equivalence([0.0005] * 4, 0.001) == 2**-4  # too few to say
    assert equivalence([0.0] * 2, 0.001) == 2**-2
    assert equivalence([0.001] * 20, 0.001) == 1  # at the margin
    assert equivalence([-0.002] * 20, 0.001) == 1


@pytest.mark.parametrize("margin", [0.0, -1.0, math.nan, math.inf])
def test_a_margin_that_is_none_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        equivalence([1.0, 2.0], margin)
