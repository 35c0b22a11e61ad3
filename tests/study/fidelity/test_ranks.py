"""Rank statistics: scipy's on the losses and on resamples, worked examples, ties, and failures."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fidelities import scipy_rho, scipy_tau
from lossmith.study.fidelity import ranks

# few different values, so that there are ties
ORDERS = st.integers(2, 25).flatmap(
    lambda n: st.tuples(
        *[st.lists(st.integers(0, 6), min_size=n, max_size=n).map(lambda v: np.array(v, dtype=float))] * 2
    )
)


def _expanded(values_N: np.ndarray, counts_N: np.ndarray) -> np.ndarray:
    return np.repeat(values_N, counts_N.astype(int))


@settings(max_examples=40)
@given(ORDERS, st.integers(0, 1000))
def test_tau_and_rho_are_scipys_in_every_resample(orders: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    a_N, b_N = orders
    counts_BN = np.concatenate([ranks.once(len(a_N)), ranks.resamples(len(a_N), 4, seed)])
    taus, rhos = ranks.tau(a_N, b_N, counts_BN), ranks.spearman(a_N, b_N, counts_BN)
    for counts_N, tau, rho in zip(counts_BN, taus, rhos, strict=True):
        a, b = _expanded(a_N, counts_N), _expanded(b_N, counts_N)
        if len(set(a)) == 1 or len(set(b)) == 1:
            assert tau == rho == 0
            continue
        assert tau == pytest.approx(scipy_tau(a, b), abs=1e-12)
        assert rho == pytest.approx(scipy_rho(a, b), abs=1e-12)


def test_worked_examples() -> None:
    # the example of scipy.stats.kendalltau's documentation: of 10 pairs 2 are the same way round, 6 the other, and each
    # order has 2 of its own tied, or 1
    first, second = np.array([12.0, 2.0, 1.0, 12.0, 2.0]), np.array([1.0, 4.0, 7.0, 1.0, 0.0])
    assert ranks.tau(first, second, ranks.once(5))[0] == pytest.approx(-4 / math.sqrt(8 * 9))
    # Wikipedia, "Spearman's rank correlation coefficient": intelligence and hours of television, sum of d^2 = 194
    quotient = np.array([106, 100, 86, 101, 99, 103, 97, 113, 112, 110], dtype=float)
    hours = np.array([7, 27, 2, 50, 28, 29, 20, 12, 6, 17], dtype=float)
    assert ranks.spearman(quotient, hours, ranks.once(10))[0] == pytest.approx(-29 / 165)


def test_pairs_in_the_right_order() -> None:
    truth = np.array([1.0, 2.0, 3.0, 3.0])
    once = ranks.once(4)
    assert ranks.ordered_rightly(truth, truth, once)[0] == 1  # the tied pair of the truth does not count
    assert ranks.ordered_rightly(-truth, truth, once)[0] == 0
    assert ranks.ordered_rightly(np.zeros(4), truth, once)[0] == 0.5
    assert ranks.ordered_rightly(np.array([1.0, 1.0, 2.0, 3.0]), truth, once)[0] == pytest.approx(4.5 / 5)
    assert ranks.ordered_rightly(truth, np.zeros(4), once)[0] == 0.5


def test_failures_are_below_every_score_and_tied() -> None:
    scores = ranks.scores_of([0.1, None, 0.0, None])
    assert scores.tolist() == [0.1, -math.inf, 0.0, -math.inf]
    other = ranks.scores_of([0.3, 0.1, 0.2, 0.1])
    assert ranks.tau(scores, other, ranks.once(4))[0] == pytest.approx(1)
    # one seed that failed puts the loss last, whatever the other one reached
    mean = ranks.mean_scores([ranks.scores_of([0.9, 0.5]), ranks.scores_of([None, 0.1])])
    assert mean.tolist() == [-math.inf, 0.3]


def test_sums_in_another_order_are_ties() -> None:
    values = [np.array([0.1, 0.3]), np.array([0.2, 0.2]), np.array([0.3, 0.1])]
    first, second = ranks.mean_scores(values)
    assert first == second


def _top_by_hand(a: np.ndarray, b: np.ndarray, k: int) -> float:
    """The mean over all ways to break ties in both orders."""
    found: list[float] = []
    n = len(a)
    for first in permutations(range(n)):
        for second in permutations(range(n)):
            best_a = sorted(range(n), key=lambda i, f=first: (-a[i], f[i]))[:k]
            best_b = sorted(range(n), key=lambda i, s=second: (-b[i], s[i]))[:k]
            found.append(len(set(best_a) & set(best_b)) / k)
    return float(np.mean(found))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_recall_is_what_breaking_ties_at_random_gives(k: int) -> None:
    a = np.array([3.0, 3.0, 2.0, 3.0])
    b = np.array([1.0, 2.0, 2.0, 5.0])
    assert ranks.recall(a, b, k) == pytest.approx(_top_by_hand(a, b, k))


def test_recall_by_example() -> None:
    truth = np.arange(10.0)
    assert [ranks.recall(truth, truth, k) for k in (1, 3, 9)] == [1, 1, 1]
    assert [ranks.recall(-truth, truth, k) for k in (1, 3, 6)] == [0, 0, pytest.approx(2 / 6)]
    swapped = truth.copy()
    swapped[[9, 8]] = swapped[[8, 9]]
    assert [ranks.recall(swapped, truth, k) for k in (1, 2)] == [0, 1]
    assert ranks.recall(np.zeros(10), truth, 3) == pytest.approx(0.3)  # what chance gives


def test_a_resample_keeps_its_size_and_copies_stay_together() -> None:
    counts = ranks.resamples(30, 500, 1)
    assert (counts.sum(axis=1) == 30).all()
    assert (counts == ranks.resamples(30, 500, 1)).all()
    assert (counts != ranks.resamples(30, 500, 2)).any()
    truth = np.random.default_rng(0).random(30)
    for k in (1, 5, 10):  # a perfect order stays perfect, also where k cuts through the copies of a loss
        assert (ranks.recall_resampled(truth, truth, k, counts, 0) == 1).all()
        assert (ranks.recall_resampled(-truth, truth, 5, counts, 0) == 0).all()
    assert ranks.tau(truth, truth, counts) == pytest.approx(np.ones(500))
    assert ranks.tau(-truth, truth, counts) == pytest.approx(-np.ones(500))


def test_resampled_recall_is_near_recall_where_nothing_is_resampled() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 5, 20).astype(float), rng.integers(0, 5, 20).astype(float)
    same = np.ones((20_000, 20))
    found = ranks.recall_resampled(a, b, 6, same, 0)
    assert found.mean() == pytest.approx(ranks.recall(a, b, 6), abs=4 * found.std() / math.sqrt(20_000))
