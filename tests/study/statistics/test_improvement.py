from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossmith.study.statistics import probability_of_improvement


def test_newcombe_s_example() -> None:
    """Newcombe (1998), Statistics in Medicine 17:857, table I: Wilson's 95% interval of 81 of 263, 0.2553 to 0.3662."""
    found = probability_of_improvement([1.0] * 81 + [-1.0] * 182)
    assert found.value == 81 / 263
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_newcombe_s_example_without_an_event() -> None:
    """The same, 0 of 20: 0 to 0.1611."""
    found = probability_of_improvement([-0.5] * 20)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(0.1611, abs=5e-5)


def test_ties_count_half() -> None:
    assert probability_of_improvement([0.0, 0.0, 0.0]).value == 0.5
    assert probability_of_improvement([0.1, 0.0, -0.2, 0.3]).value == 2.5 / 4


@given(st.integers(1, 60), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_scipy_s_interval_is_the_same(n: int, data: st.DataObject, confidence: float) -> None:
    wins = data.draw(st.integers(0, n))
    found = probability_of_improvement([2.0] * wins + [-3.0] * (n - wins), confidence=confidence)
    expected = stats.binomtest(wins, n).proportion_ci(confidence, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    mirrored = probability_of_improvement([-2.0] * wins + [3.0] * (n - wins), confidence=confidence)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high), abs=1e-9)
