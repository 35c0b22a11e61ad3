from __future__ import annotations

import numpy as np
import pytest

from lossmith.study.statistics import paired_difference


def test_student_s_sleep_data() -> None:
    """Student (1908), extra sleep under two drugs: mean difference 1.58 h, t = 4.0621, interval 0.7001 to 2.4599."""
    one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    two = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    result = paired_difference(two, one, seed=0)
    assert result.n == 10
    assert result.mean == pytest.approx(1.58)
    assert result.mean / (result.sd / np.sqrt(10)) == pytest.approx(4.0621, abs=1e-4)
    assert (result.low, result.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    # one difference is 0 and the others are positive: 2 patterns of the nine, each with two signs of the zero
    assert result.p == pytest.approx(2 * 2 / 2**10)


def test_darwin_s_maize() -> None:
    """Fisher (1935), section 21: 1,726 of the 2^15 sign patterns are as extreme, p = 5.267%."""
    differences = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    result = paired_difference(differences, [0.0] * 15, seed=0)
    assert result.p == pytest.approx(1726 / 2**15, abs=1e-12)
    assert result.mean == pytest.approx(20.933, abs=1e-3)


def test_equal_scores_are_no_evidence() -> None:
    result = paired_difference([0.9, 0.8, 0.7], [0.9, 0.8, 0.7], seed=0)
    assert (result.mean, result.sd, result.low, result.high, result.p) == (0, 0, 0, 0, 1)


def test_a_constant_difference_has_a_point_as_interval() -> None:
    result = paired_difference([0.75, 0.5, 1.0, 0.25], [0.5, 0.25, 0.75, 0.0], seed=0)
    assert (result.low, result.high) == (0.25, 0.25)
    assert result.p == 2 / 2**4


def test_many_pairs_are_sampled_reproducibly() -> None:
    rng = np.random.default_rng(0)
    scores, baseline = rng.normal(0.1, 1, 40).tolist(), rng.normal(0, 1, 40).tolist()
    first, second = (paired_difference(scores, baseline, seed=7) for _ in range(2))
    assert first == second
    assert 0 < first.p <= 1


def test_false_positives_are_at_the_nominal_rate() -> None:
    rng = np.random.default_rng(1)
    hits = covered = 0
    for _ in range(400):
        difference = paired_difference(list(rng.normal(0, 1, 8)), [0.0] * 8, seed=0)
        hits += difference.p < 0.05
        covered += difference.low <= 0 <= difference.high
    assert hits / 400 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert abs(covered / 400 - 0.95) < 3 * np.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize(("scores", "baseline"), [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([], [])])
def test_too_few_pairs_are_refused(scores: list[float], baseline: list[float]) -> None:
    with pytest.raises(ValueError, match="same length >= 2"):
        paired_difference(scores, baseline, seed=0)
