from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmith.study.statistics import bca_interval, differences, equivalence, probability_of_improvement, sign_flip
from lossmith.study.statistics.differences import constant


@given(
    st.sampled_from([297, 360, 1000, 10_000]),
    st.lists(st.tuples(st.integers(0, 297), st.integers(0, 297)), min_size=1, max_size=12),
)
def test_differences_of_accuracies_are_whole_numbers_of_images(images: int, right: list[tuple[int, int]]) -> None:
    found = differences([a / images for a, _ in right], [b / images for _, b in right])
    whole = np.array([a - b for a, b in right])
    assert np.array_equal(np.sign(found), np.sign(whole))
    np.testing.assert_allclose(found * images, whole, atol=1e-7)
    assert constant(found) == (np.ptp(whole) == 0)


def test_rounding_makes_no_difference() -> None:
    assert 0.3 - 0.2 != 0.2 - 0.1  # what it is for
    assert differences([0.3, 0.2], [0.2, 0.1]).tolist() == [0.1, 0.1]
    assert differences([0.1 + 0.2], [0.3]).tolist() == [0.0]
    assert differences([], []).tolist() == []
    assert differences([0.0, 0.0], [0.0, 0.0]).tolist() == [0.0, 0.0]
    assert differences([1e-310], [0.0]).tolist() == [0.0]
    assert differences([3.0, -1000.0], [1.0, 2.0]).tolist() == [2.0, -1002.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        differences([1.0, bad], [1.0, 1.0])
    with pytest.raises(ValueError, match="finite"):
        sign_flip([1.0, bad], seed=0)
    with pytest.raises(ValueError, match="finite"):
        bca_interval([[1.0, bad]], seed=0)
    with pytest.raises(ValueError, match="finite"):
        equivalence([1.0, bad], 0.1)
    with pytest.raises(ValueError, match="finite"):
        probability_of_improvement([1.0, bad])


def test_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="same length"):
        differences([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="at least 1"):
        sign_flip([], seed=0)
    with pytest.raises(ValueError, match="at least 2"):
        bca_interval([[1.0]], seed=0)
