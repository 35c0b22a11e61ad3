from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lossmith.study.statistics import bca_interval
from lossmith.study.statistics.bootstrap import bca_bounds

LAW = np.array([  # Efron and Tibshirani (1993), table 3.1: LSAT and GPA of 15 law schools
    [576, 3.39], [635, 3.30], [558, 2.81], [578, 3.03], [666, 3.44], [580, 3.07], [555, 3.00], [661, 3.43],
    [651, 3.36], [605, 3.13], [653, 3.12], [575, 2.74], [545, 2.76], [572, 2.88], [594, 2.96],
])  # fmt: skip
SPATIAL = np.array(  # the same, table 14.1, test A of 26 children
    [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41.0]
)


def correlations(samples_BN2: np.ndarray) -> np.ndarray:
    centred = samples_BN2 - samples_BN2.mean(axis=1, keepdims=True)
    product, squares = centred.prod(axis=2).sum(axis=1), (centred**2).sum(axis=1)
    return product / np.sqrt(squares.prod(axis=1))


def variances(samples_BN: np.ndarray) -> np.ndarray:
    return samples_BN.var(axis=1)


def bca(
    data: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], confidence: float
) -> tuple[float, float, float]:
    """The acceleration and the bounds of any statistic, with 40,000 resamples."""
    n = len(data)
    jackknife = statistic(np.stack([np.delete(data, i, axis=0) for i in range(n)]))
    influence = jackknife.mean() - jackknife
    resampled = statistic(data[np.random.default_rng(0).integers(0, n, (40_000, n))])
    low, high = bca_bounds(statistic(data[None]), resampled[None], influence[None], np.array([1e-12]), confidence)
    return float((influence**3).sum() / (6 * (influence**2).sum() ** 1.5)), low.item(), high.item()


def test_the_law_school_data() -> None:
    """Efron (1987), section 7: the central 90% BCa interval of the correlation 0.776 is [0.43, 0.92]; a = -0.0757."""
    acceleration, low, high = bca(LAW, correlations, 0.9)
    assert acceleration == pytest.approx(-0.0757, abs=5e-5)
    assert (low, high) == pytest.approx((0.43, 0.92), abs=0.01)


def test_the_spatial_test_data() -> None:
    """Efron and Tibshirani (1993), section 14.3: variance 171.5, a = 0.061, 90% BCa (115.8, 259.6) with B = 2,000."""
    assert SPATIAL.var() == pytest.approx(171.5, abs=0.05)
    acceleration, low, high = bca(SPATIAL, variances, 0.9)
    assert acceleration == pytest.approx(0.061, abs=5e-4)
    assert (low, high) == pytest.approx((115.8, 259.6), abs=4)  # theirs is of 2,000 resamples


@pytest.mark.parametrize(("n", "confidence"), [(3, 0.95), (8, 0.9), (20, 0.95), (33, 0.99)])
def test_scipy_s_bootstrap_says_the_same(n: int, confidence: float) -> None:
    # whole numbers, whose ties scipy sees as well
    rows = np.round(np.random.default_rng(n).gamma(2, 10, (3, n))) - [[10.0], [20.0], [30.0]]
    low, high = bca_interval(rows, confidence=confidence, seed=5)
    for row, mine in zip(rows, np.stack([low, high], axis=1), strict=True):
        rng = np.random.default_rng(5)
        expected = stats.bootstrap((row,), np.mean, method="BCa", confidence_level=confidence, vectorized=True, rng=rng)
        assert mine == pytest.approx(np.array(expected.confidence_interval), abs=1e-12)


@settings(max_examples=30)
@given(st.lists(st.integers(-8, 8), min_size=2, max_size=12), st.integers(1, 50), st.integers(-30, 30))
def test_the_interval_moves_with_the_differences(whole: list[int], factor: int, shift: int) -> None:
    row = np.array(whole, float)
    low, high = bca_interval([row], seed=1, resamples=999)
    assert row.min() <= low[0] <= high[0] <= row.max()
    moved = bca_interval([row * factor + shift], seed=1, resamples=999)
    assert moved[0][0] == pytest.approx(low[0] * factor + shift, abs=1e-8)
    assert moved[1][0] == pytest.approx(high[0] * factor + shift, abs=1e-8)


def test_equal_differences_have_a_point() -> None:
    low, high = bca_interval([[0.25] * 4, [0.0] * 4, [0.1, 0.2, 0.3, 0.4]], seed=0)
    assert (low[0], high[0], low[1], high[1]) == (0.25, 0.25, 0, 0)
    assert 0.1 < low[2] < 0.25 < high[2] < 0.4


def test_two_pairs_have_the_two_values() -> None:
    low, high = bca_interval([[1.0, 3.0]], seed=0)
    assert (low[0], high[0]) == (1, 3)


def test_the_seed_decides() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (1, 20))
    assert bca_interval(rows, seed=1) == bca_interval(rows, seed=1)
    assert bca_interval(rows, seed=1) != bca_interval(rows, seed=2)
