from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lossmith.study.analysis import Analysis, CellDifference, CellScores, analyse
from lossmith.study.statistics import Friedman, friedman, minimum_detectable_effect, power, sign_flip, wilcoxon

BASE, MINE, OTHER = "zoo:cross_entropy", "mine", "other"


def simulated(
    rng: np.random.Generator,
    gains: Sequence[float],
    *,
    cells: int = 4,
    seeds: int = 20,
    sd: float = 0.006,
    correlation: float = 0.8,
    images: int = 1000,
) -> list[CellScores]:
    """Accuracies on `images` test images, of a baseline and losses that are better by `gains`; what a seed does is
    partly the same for all losses."""
    found = []
    for number in range(cells):
        shared = math.sqrt(correlation) * rng.normal(size=seeds)
        own = math.sqrt(1 - correlation) * rng.normal(size=(1 + len(gains), seeds))
        level = 0.9 + rng.uniform(-0.05, 0.05)
        scores = np.round(images * (level + np.array([[0.0], *([gain] for gain in gains)]) + sd * (shared + own)))
        keys = [BASE, *(f"loss {place}" for place in range(len(gains)))]
        by_key = dict(zip(keys, (scores / images).tolist(), strict=True))
        found.append(CellScores(f"cell {number}", f"data {number}", by_key))
    return found


def compared(cells: Sequence[CellScores], **settings: float) -> Analysis:
    return analyse(cells, list(cells[0].scores), BASE, **settings)  # type: ignore[arg-type] - whatever a test sets


def only(scores: Sequence[float | None], base: Sequence[float | None]) -> CellDifference:
    (found,) = compared([CellScores("cell", "data", {BASE: base, MINE: scores})]).differences
    return found


def share_at_most(rate: float, of: int) -> float:
    """What a share whose probability is `rate` exceeds once in 1,000 times."""
    return float(stats.binom.isf(0.001, of, rate)) / of


def test_one_comparison_is_what_its_statistics_say() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0.9, 0.01, 20)
    mine = base + rng.normal(0.002, 0.004, 20)
    found = only(mine.tolist(), base.tolist())
    assert (found.cell, found.dataset, found.loss, found.n, found.failed) == ("cell", "data", MINE, 20, 0)
    assert found.mean == pytest.approx((mine - base).mean())
    assert found.sd == pytest.approx((mine - base).std(ddof=1))
    rng = np.random.default_rng(0)
    expected = stats.bootstrap((mine - base,), np.mean, method="BCa", vectorized=True, rng=rng).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.p == found.p_adjusted == pytest.approx(sign_flip(mine - base, seed=0), abs=1e-12)
    assert found.improvement is not None
    assert found.improvement.value == (mine > base).mean()
    correlation: Any = stats.pearsonr(mine, base)
    assert found.correlation == pytest.approx(correlation.statistic)
    assert found.sd is not None
    assert found.detectable == pytest.approx(found.sd * minimum_detectable_effect(20), rel=1e-4)


def test_the_verdicts() -> None:
    base = [0.90, 0.91, 0.89, 0.92, 0.90, 0.88, 0.93, 0.90]
    assert only([score + 0.01 for score in base], base).verdict == "better"
    assert only([score - 0.01 for score in base], base).verdict == "worse"
    assert only(base, base).verdict == "equivalent"
    assert only([score + 0.01 * (-1) ** place for place, score in enumerate(base)], base).verdict == "no evidence"
    assert only([None, *base[1:]], base).verdict == "not comparable"
    assert only(base, [*base[:-1], None]).verdict == "not comparable"
    # a difference that is there and does not matter is a difference: the rule's order
    tiny = only([score + 0.0001 * (2 + place % 2) for place, score in enumerate(base)], base)
    assert (tiny.verdict, tiny.equivalent) == ("better", True)


def test_failed_seeds_stay_in_the_record_and_in_the_family() -> None:
    base = [0.90, 0.91, 0.89, 0.92, 0.90, 0.88, 0.93, 0.90]
    cells = [
        CellScores("a", "a", {BASE: base, MINE: [score + 0.01 for score in base], OTHER: [None, *[0.99] * 7]}),
        CellScores("b", "b", {BASE: base, MINE: base, OTHER: [None] * 8}),
    ]
    found = {(each.cell, each.loss): each for each in compared(cells).differences}
    assert found["a", MINE].p == 2 / 2**8
    assert found["a", MINE].p_adjusted == 4 * 2 / 2**8  # of four comparisons, two of which cannot be made
    lost = found["a", OTHER]
    assert (lost.n, lost.failed, lost.p, lost.p_adjusted, lost.verdict) == (7, 1, 2 / 2**7, 1, "not comparable")
    assert lost.mean is not None
    gone = found["b", OTHER]
    assert (gone.n, gone.failed, gone.p_adjusted, gone.verdict, gone.equivalent) == (0, 8, 1, "not comparable", False)
    nothing = (gone.mean, gone.sd, gone.low, gone.high, gone.p, gone.improvement, gone.correlation, gone.detectable)
    assert nothing == (None,) * 8


def test_one_pair_that_is_left_says_little() -> None:
    found = only([0.91, None, None], [0.90, 0.90, 0.90])
    assert (found.n, found.failed, found.sd, found.low, found.p) == (1, 2, None, None, None)
    assert found.mean == pytest.approx(0.01)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_few_seeds_can_show_nothing(n: int) -> None:
    found = only([0.95 + place / 100 for place in range(n)], [0.90 + place / 101 for place in range(n)])
    assert found.p == 2 / 2**n
    assert (found.verdict, found.detectable) == ("no evidence", None)
    assert (found.correlation is None) == (n == 2)
    assert only([0.9] * n, [0.9] * n).verdict == ("equivalent" if n == 5 else "no evidence")


def test_equal_scores() -> None:
    found = only([0.9] * 20, [0.9] * 20)
    assert (found.mean, found.sd, found.low, found.high, found.p, found.detectable) == (0, 0, 0, 0, 1, 0)
    assert found.correlation is None
    assert found.improvement is not None
    assert found.improvement.value == 0.5


def test_holm_is_over_cells_and_losses() -> None:
    analysis = compared(simulated(np.random.default_rng(3), [0.005, 0.0, 0.003]))
    p_values = [each.p or 0 for each in analysis.differences]
    smallest = p_values.index(min(p_values))
    assert analysis.differences[smallest].p_adjusted == pytest.approx(12 * p_values[smallest])
    assert [each.cell for each in analysis.differences[::3]] == ["cell 0", "cell 1", "cell 2", "cell 3"]


def test_data_sets_count_once() -> None:
    """Two cells of one data set are averaged; six data sets are what Wilcoxon's test needs."""
    rng = np.random.default_rng(5)
    cells = simulated(rng, [0.01, 0.0, 0.0], cells=7)
    cells[6] = CellScores("cell 6", "data 0", cells[6].scores)
    analysis = compared(cells)
    keys = cells[0].scores
    means = np.array([[np.mean(np.array(cell.scores[key], float)) for key in keys] for cell in cells])
    means[0] = (means[0] + means[6]) / 2
    gains = means[:6, 1:] - means[:6, :1]
    best = analysis.overall[0]
    assert (best.loss, best.datasets) == ("loss 0", 6)
    assert best.mean == pytest.approx(gains[:, 0].mean())
    assert [each.p for each in analysis.overall] == [wilcoxon(gains[:, place], seed=0).p for place in range(3)]
    assert (best.p, best.p_adjusted) == (2 / 2**6, 3 * 2 / 2**6)
    expected: Friedman = friedman(means[:6], seed=0)
    assert analysis.friedman == expected.p
    assert list(analysis.ranks) == list(cells[0].scores)
    assert tuple(analysis.ranks.values()) == pytest.approx(expected.mean_ranks)
    assert best.mean_rank == analysis.ranks["loss 0"] == 1
    assert analysis.critical_difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 6)), abs=1e-3)
    five = compared(cells[:5])
    assert [each.p for each in five.overall] == [None] * 3
    assert [each.p_adjusted for each in five.overall] == [None] * 3


def test_one_data_set_has_ranks_and_no_tests() -> None:
    analysis = compared(simulated(np.random.default_rng(0), [0.02, -0.02], cells=1))
    assert (analysis.friedman, analysis.critical_difference) == (None, None)
    assert analysis.ranks == {BASE: 2, "loss 0": 1, "loss 1": 3}


def test_two_losses_have_no_friedman_test() -> None:
    analysis = compared(simulated(np.random.default_rng(0), [0.02], cells=3))
    assert analysis.friedman is None
    assert analysis.critical_difference is not None


def test_a_failure_is_last_on_its_data_set() -> None:
    cells = simulated(np.random.default_rng(0), [0.02, 0.01], cells=6)
    broken = {**cells[0].scores, "loss 0": [None, *cells[0].scores["loss 0"][1:]]}
    analysis = compared([CellScores("cell 0", "data 0", broken), *cells[1:]])
    assert analysis.ranks == {BASE: (2 + 5 * 3) / 6, "loss 0": (3 + 5) / 6, "loss 1": (1 + 5 * 2) / 6}
    first, second = analysis.overall
    assert (first.datasets, first.p, second.datasets) == (5, None, 6)
    assert second.p_adjusted == 2 * 2 / 2**6  # the loss that failed stays in the family


def test_it_is_json_and_repeats() -> None:
    cells = simulated(np.random.default_rng(0), [0.0, 0.001, 0.01], seeds=35)
    cells[1] = CellScores("cell 1", "data 1", {**cells[1].scores, "loss 0": [None] * 35})
    analysis = compared(cells, seed=4)
    content = asdict(analysis)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert compared(cells, seed=4) == analysis
    assert compared(cells, seed=5) != analysis


@settings(max_examples=15)
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(2, 8), st.permutations([0, 1, 2]))
def test_the_order_of_losses_does_not_matter(seed: int, cells: int, seeds: int, order: list[int]) -> None:
    scores = simulated(np.random.default_rng(seed), [0.0, 0.0, 0.004], cells=cells, seeds=seeds, images=200)
    losses = [f"loss {place}" for place in order]
    shuffled, straight = analyse(scores, [BASE, *losses], BASE), compared(scores)
    by_name = {(each.cell, each.loss): each for each in shuffled.differences}
    assert [by_name[each.cell, each.loss] for each in straight.differences] == straight.differences
    assert shuffled.ranks == straight.ranks
    for each in straight.differences:
        assert each.low is not None
        assert each.high is not None
        assert each.mean is not None
        assert each.low - 1e-12 <= each.mean <= each.high + 1e-12
        assert 0 < (each.p or 0) <= each.p_adjusted <= 1


def test_what_cannot_be_analysed_is_refused() -> None:
    good = {BASE: [0.9, 0.8], MINE: [0.9, 0.8]}
    for cells, losses, message in [
        ([], [MINE], "at least one cell"),
        ([CellScores("a", "a", good)], [BASE], "a loss beside the baseline"),
        ([CellScores("a", "a", good)] * 2, [MINE], "names that differ"),
        ([CellScores("a", "a", good)], [MINE, MINE], "names that differ"),
        ([CellScores("a", "a", good)], [OTHER], "cell 'a' has no scores of other"),
        ([CellScores("a", "a", {**good, MINE: [0.9]})], [MINE], "as many seeds"),
        ([CellScores("a", "a", {BASE: [0.9], MINE: [0.8]})], [MINE], "at least 2"),
        ([CellScores("a", "a", {**good, MINE: [0.9, math.nan]})], [MINE], "finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            analyse(cells, losses, BASE)
    with pytest.raises(ValueError, match="margin"):
        analyse([CellScores("a", "a", good)], [MINE], BASE, margin=0)
    with pytest.raises(ValueError, match="confidence"):
        analyse([CellScores("a", "a", good)], [MINE], BASE, confidence=95)


def errors_of_null_studies(studies: int) -> None:
    rng = np.random.default_rng(0)
    wrong = friedman_hits = 0
    for _ in range(studies):
        analysis = compared(simulated(rng, [0.0] * 5))
        wrong += any(each.verdict in {"better", "worse"} for each in analysis.differences)
        friedman_hits += (analysis.friedman or 1) < 0.05
    assert wrong / studies <= share_at_most(0.05, studies)
    assert wrong > 0  # else the simulation, or the test, says nothing
    assert friedman_hits / studies <= share_at_most(0.05, studies)


def test_null_studies_find_nothing() -> None:
    errors_of_null_studies(100)


@pytest.mark.slow
def test_a_thousand_null_studies_find_nothing() -> None:
    errors_of_null_studies(1000)


@pytest.mark.slow
def test_a_planted_loss_is_found_as_often_as_theory_says() -> None:
    """Of 5 losses in 4 cells with 20 seeds one gains 0.35 points: Bonferroni's level is the floor of Holm's."""
    rng = np.random.default_rng(1)
    studies = 300
    found = others = 0
    for _ in range(studies):
        differences = compared(simulated(rng, [0.0035, 0.0, 0.0, 0.0, 0.0])).differences
        verdicts = [each.verdict for each in differences if each.loss == "loss 0"]
        found += verdicts.count("better")
        others += any(each.verdict in {"better", "worse"} for each in differences if each.loss != "loss 0")
        assert "worse" not in verdicts
    sd = math.hypot(0.006 * math.sqrt(2 * (1 - 0.8)), math.sqrt(1 / 6) / 1000)  # and of the rounding to images
    theory = power(0.0035 / sd, 20, significance=0.05 / 20)
    # the cells of a study are independent, and Holm's later steps can only add
    assert theory - 0.05 < found / (4 * studies) < theory + 0.08
    assert others / studies <= share_at_most(0.05, studies)


def test_a_planted_loss_is_found() -> None:
    differences = compared(simulated(np.random.default_rng(0), [0.008, 0.0, 0.0, 0.0, 0.0])).differences
    assert [each.verdict for each in differences if each.loss == "loss 0"] == ["better"] * 4


@pytest.mark.parametrize("seeds", [5, 20])
def test_a_difference_as_large_as_the_margin_is_seldom_called_equivalent(seeds: int) -> None:
    """Each loss is 0.1 points worse; every cell's verdict is one trial of the test of equivalence."""
    rng = np.random.default_rng(seeds)
    trials = wrong = 0
    for _ in range(8):
        found = compared(simulated(rng, [-0.001], cells=40, seeds=seeds, sd=0.002)).differences
        trials += len(found)
        wrong += sum(each.equivalent for each in found)
    assert wrong / trials <= share_at_most(0.05, trials)
    alike = compared(simulated(rng, [0.0], cells=40, seeds=seeds, sd=0.001)).differences
    assert sum(each.equivalent for each in alike) > 10
