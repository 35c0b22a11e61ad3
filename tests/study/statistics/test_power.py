from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossmith.study.statistics import minimum_detectable_effect, power


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_the_pairs_for_cohen_s_effects(effect: float, pairs: int) -> None:
    """G*Power 3, matched pairs, two-sided 5%, power 80%: 199, 34 and 15 pairs for small, medium and large effects."""
    assert power(effect, pairs) >= 0.8 > power(effect, pairs - 1)


@pytest.mark.parametrize(
    ("n", "significance", "effect", "at_half"),
    [
        (2, 0.05, 11.549889754978167, 0.06194860668713362),
        (6, 0.05, 1.4345451395119289, 0.17070707964912107),
        (20, 0.05, 0.6604416544380312, 0.5645044184390203),
        (20, 0.05 / 28, 1.0186537327848606, 0.12242656746316234),
        (64, 0.05, 0.35565029367606976, 0.9760555768876558),
    ],
)
def test_statsmodels_says_the_same(n: int, significance: float, effect: float, at_half: float) -> None:
    """statsmodels 0.15.0, TTestPower: solve_power(power=0.8), power(0.5)."""
    assert minimum_detectable_effect(n, significance=significance) == pytest.approx(effect, rel=1e-5)
    assert power(0.5, n, significance=significance) == pytest.approx(at_half, rel=1e-9)


@given(st.integers(2, 200), st.floats(0, 20), st.sampled_from([0.05, 0.001, 0.0003]))
def test_power_is_a_probability_that_grows(n: int, effect: float, significance: float) -> None:
    found = power(effect, n, significance=significance)
    assert significance * (1 - 1e-9) <= found <= 1 + 1e-12
    assert power(-effect, n, significance=significance) == found
    assert power(effect + 0.1, n, significance=significance) >= found - 1e-12


def test_power_is_what_t_tests_find() -> None:
    test: Any = stats.ttest_1samp(np.random.default_rng(0).normal(0.7, 1, (20_000, 12)), 0, axis=1)
    expected = power(0.7, 12)
    assert abs((test.pvalue < 0.05).mean() - expected) < 4 * math.sqrt(expected * (1 - expected) / 20_000)


def test_the_detectable_effect_is_found_with_the_power_wanted() -> None:
    for wanted in (0.5, 0.8, 0.95):
        assert power(minimum_detectable_effect(9, power_wanted=wanted), 9) == pytest.approx(wanted, abs=1e-9)


def test_what_has_no_power_is_refused() -> None:
    with pytest.raises(ValueError, match="n >= 2"):
        power(1.0, 1)
    with pytest.raises(ValueError, match="finite"):
        power(math.nan, 5)
    with pytest.raises(ValueError, match="above"):
        minimum_detectable_effect(5, power_wanted=0.01)
