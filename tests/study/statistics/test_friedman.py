from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lossmith.study.statistics import critical_difference, friedman, groups, ranks

# Demšar (2006), table 6: the ranks of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf on 14 data sets
DEMSAR = [
    [4, 3, 2, 1], [1, 2, 3, 4], [4, 1, 2, 3], [4, 1, 3, 2], [4, 2, 3, 1], [1, 2.5, 4, 2.5], [3, 2, 4, 1],
    [2.5, 2.5, 4, 1], [4, 3, 2, 1], [2.5, 2.5, 2.5, 2.5], [4, 2.5, 1, 2.5], [3, 2, 4, 1], [4, 1, 2, 3], [3, 1, 4, 2],
]  # fmt: skip


def test_demsar_s_example() -> None:
    """Demšar (2006), section 3.2.4: mean ranks 3.143, 2.000, 2.893, 1.964; chi2 = 9.28, F = 3.69 (critical value of
    F(3, 39) at 5%: 2.85); the Nemenyi test's critical difference is 1.25 at 5% and 1.12 at 10%."""
    found = friedman(-np.array(DEMSAR), seed=0)
    assert found.mean_ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=5e-4)
    assert found.chi2 == pytest.approx(9.28, abs=0.01)
    assert found.f == pytest.approx(3.69, abs=0.01)
    assert found.f_p < 0.05
    assert found.p < 0.05
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(4, 14, significance=0.1) == pytest.approx(1.12, abs=0.005)


def test_the_critical_values_of_nemenyi() -> None:
    """Demšar (2006), table 5(a): q at 5% and 10% for 2 to 10 classifiers."""
    at_5 = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    at_10 = [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920]
    for k, (five, ten) in enumerate(zip(at_5, at_10, strict=True), start=2):
        unit = math.sqrt(k * (k + 1) / 6)
        assert critical_difference(k, 1) / unit == pytest.approx(five, abs=1.1e-3)
        assert critical_difference(k, 1, significance=0.1) / unit == pytest.approx(ten, abs=1.1e-3)


@pytest.mark.parametrize(
    ("orders", "probability"),
    # Friedman (1937), table V: chi2 >= 6 for k = 3, n = 3; chi2 >= 6.5 for k = 3, n = 4; chi2 >= 6 for k = 4, n = 2
    [([[1, 2, 3]] * 3, 0.028), ([[1, 2, 3]] * 3 + [[1, 3, 2]], 0.042), ([[1, 2, 3, 4]] * 2, 0.042)],
)
def test_the_exact_probabilities_of_few_data_sets(orders: list[list[int]], probability: float) -> None:
    found = friedman(-np.array(orders), seed=0)
    assert found.p == pytest.approx(probability, abs=4 * math.sqrt(probability / 9999) + 5e-4)


def test_scipy_s_statistic_is_the_same_without_ties() -> None:
    scores = np.random.default_rng(0).normal(size=(12, 5))
    expected = stats.friedmanchisquare(*scores.T)
    found = friedman(scores, seed=0)
    assert (found.chi2, found.chi2_p) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.p == pytest.approx(found.f_p, abs=0.03)


@settings(max_examples=30)
@given(st.integers(2, 5), st.integers(2, 5), st.data())
def test_the_order_of_methods_and_of_data_sets_does_not_matter(n: int, k: int, data: st.DataObject) -> None:
    scores = np.array(data.draw(st.lists(st.lists(st.integers(0, 4), min_size=k, max_size=k), min_size=n, max_size=n)))
    found = friedman(scores / 10, seed=0)
    assert sum(found.mean_ranks) == pytest.approx(k * (k + 1) / 2)
    mirrored = friedman(scores[::-1, ::-1] / 10, seed=0)
    assert mirrored.mean_ranks == pytest.approx(found.mean_ranks[::-1])
    assert mirrored.chi2 == pytest.approx(found.chi2, abs=1e-9)
    assert found.chi2 >= 0
    assert 0 < found.p <= 1


def test_equal_methods_and_full_agreement() -> None:
    alike = friedman(np.ones((4, 3)), seed=0)
    assert (alike.chi2, alike.chi2_p, alike.f, alike.p) == (0, 1, 0, 1)
    agreed = friedman([[0.3, 0.2, 0.1]] * 2, seed=0)
    assert (agreed.f, agreed.f_p) == (math.inf, 0)  # a limit that 2 data sets do not deserve
    assert agreed.p == pytest.approx(1 / 6, abs=0.02)


def test_ranks() -> None:
    assert ranks([[0.9, 0.95, 0.9], [-math.inf, 0.1, -math.inf]]).tolist() == [[2.5, 1, 2.5], [2.5, 1, 2.5]]
    assert ranks([[0.1 + 0.2, 0.3]]).tolist() == [[1.5, 1.5]]  # rounding breaks no tie
    with pytest.raises(ValueError, match="NaN"):
        ranks([[0.1, math.nan]])
    with pytest.raises(ValueError, match="datasets"):
        ranks([0.1, 0.2])
    with pytest.raises(ValueError, match="at least 2"):
        friedman([[0.1, 0.2]], seed=0)
    with pytest.raises(ValueError, match="at least 2"):
        critical_difference(1, 3)


def test_groups_of_demsar_s_figure() -> None:
    """Demšar (2006), figure 1(a), from table 6: C4.5 differs from C4.5+m+cf at 10% by 1.179 > 1.12."""
    means = {"C4.5": 3.143, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}
    assert groups(means, 1.12) == [["C4.5+m+cf", "C4.5+m", "C4.5+cf"], ["C4.5+cf", "C4.5"]]
    assert groups(means, 1.25) == [["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]]
    assert groups(means, 0.01) == []
    assert groups({"a": 1.0, "b": 2.0, "c": 3.0}, 1.5) == [["a", "b"], ["b", "c"]]
