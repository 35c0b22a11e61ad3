from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossmith.study.statistics import attainable, pairs_needed, sign_flip
from lossmith.study.statistics.signflip import EXACT, RESAMPLES, _exact


def counted(differences: list[int]) -> float:
    """The definition, in whole numbers."""
    observed = abs(sum(differences))
    patterns = itertools.product([1, -1], repeat=len(differences))
    hits = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= observed for signs in patterns]
    return sum(hits) / len(hits)


def test_fisher_s_maize() -> None:
    """Fisher (1935), section 21, Darwin's maize: 1,726 of the 2^15 sign patterns are as extreme, p = 5.267%."""
    differences = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert sign_flip(differences, seed=0) == 1726 / 2**15


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=10), st.sampled_from([1, 297, 1000, 0.1]))
def test_every_pattern_is_counted_ties_and_zeros_included(whole: list[int], unit: float) -> None:
    assert sign_flip([d / unit for d in whole], seed=0) == counted(whole)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_the_sign_and_the_order_do_not_matter(differences: list[float]) -> None:
    p = sign_flip(differences, seed=0)
    assert 0 < p <= 1
    assert sign_flip([-d for d in differences], seed=0) == p
    assert sign_flip(sorted(differences), seed=0) == pytest.approx(p, abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 5, 11, 14])
def test_scipy_s_permutation_test_says_the_same(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    expected = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=2**n)
    assert sign_flip(differences, seed=0) == pytest.approx(expected.pvalue, abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 30])
def test_the_least_p_is_that_of_all_signs_alike(n: int) -> None:
    assert sign_flip([0.25] * n, seed=0) == 2 / 2**n
    assert sign_flip([-0.1 - i / 7 for i in range(n)], seed=0) == 2 / 2**n


def test_nothing_but_zeros_is_no_evidence() -> None:
    assert sign_flip([0.0] * 40, seed=0) == 1
    assert sign_flip([0.0], seed=0) == 1


def test_random_patterns_come_near_the_exact_p() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1, EXACT + 2)
    sizes = np.abs(differences) / np.abs(differences).sum()
    exact = _exact(sizes, abs(float(differences.sum())) / float(np.abs(differences).sum()))
    sampled = sign_flip(differences, seed=0)
    assert sampled != exact
    assert abs(sampled - exact) < 4 * np.sqrt(exact * (1 - exact) / RESAMPLES)
    assert sign_flip(differences, seed=0) == sampled
    assert sign_flip(differences, seed=1) != sampled
    assert sign_flip(np.ones(50), seed=0) == 1 / (RESAMPLES + 1)  # never 0


@given(st.integers(1, 10_000), st.sampled_from([0.05, 0.01, 0.1]))
def test_the_pairs_needed_are_the_least_that_can_be_significant(comparisons: int, significance: float) -> None:
    n = pairs_needed(comparisons, significance)
    assert comparisons * 2 / 2**n < significance <= comparisons * 2 / 2 ** (n - 1)


@given(st.integers(1, 14), st.sampled_from([0.05, 0.05 / 4, 0.1]))
def test_the_level_attained_is_a_p_value_under_the_level(n: int, significance: float) -> None:
    level = attainable(n, significance)
    assert level < significance <= level + 2 / 2**n
    assert (level * 2 ** (n - 1)).is_integer()
    assert (level > 0) == (n >= pairs_needed(1, significance))


def test_levels_of_few_and_many_pairs() -> None:
    assert [attainable(n) for n in (5, 6, 7, 8)] == [0, 2 / 2**6, 3 / 2**6, 6 / 2**7]
    assert attainable(64) == pytest.approx(0.05)


def test_six_pairs_are_needed_for_one_comparison() -> None:
    assert (pairs_needed(), pairs_needed(2), pairs_needed(28)) == (6, 7, 11)
