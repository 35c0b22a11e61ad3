"""What paired scores say of several losses in several cells: differences, ranks, and a verdict for each.

A cell is one data set with one model and one augmentation. `docs/evidence.md` says what each figure means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np

from lossmith.study.statistics import (
    Improvement,
    attainable,
    bca_interval,
    critical_difference,
    differences,
    equivalence,
    friedman,
    holm,
    minimum_detectable_effect,
    pairs_needed,
    probability_of_improvement,
    ranks,
    sign_flip,
    wilcoxon,
)

SIGNIFICANCE = 0.05  # of adjusted p values, and of the test of equivalence
Verdict = Literal["better", "worse", "equivalent", "no evidence", "not comparable"]


@dataclass(frozen=True, slots=True)
class CellScores:
    """The scores of one cell."""

    cell: str  # its name, unlike the others'
    dataset: str
    scores: Mapping[str, Sequence[float | None]]  # loss key -> accuracy in [0, 1] by seed; None: training failed


@dataclass(frozen=True, slots=True)
class CellDifference:
    """One loss less the baseline in one cell; in the scores' unit, over the seeds with which both trained."""

    cell: str
    dataset: str
    loss: str  # key
    n: int  # pairs
    mean: float | None  # None without a pair
    sd: float | None  # with n - 1; None, like what follows, for fewer than two pairs
    low: float | None  # BCa bootstrap interval of the mean
    high: float | None
    p: float | None  # two-sided sign-flip permutation test of mean 0
    p_adjusted: float  # Holm, over all cells and losses; 1 where not comparable
    improvement: Improvement | None  # probability of improvement
    correlation: float | None  # of the paired scores; None for fewer than three pairs or scores that are all equal
    detectable: float | None  # minimum detectable effect at 80% power; None where n is too small for any to be
    equivalent: bool  # TOST within the margin at 5%
    failed: int  # seeds that failed with the loss or with the baseline
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class OverallLoss:
    """One loss less the baseline over data sets, each of which counts once."""

    loss: str  # key
    datasets: int  # on which no training of it or of the baseline failed
    mean: float | None  # of these data sets' mean differences; None where there is none
    p: float | None  # two-sided Wilcoxon signed-rank test; None for too few data sets to reach 5%, or a failure
    p_adjusted: float | None  # Holm, over the losses
    mean_rank: float  # 1 is best


@dataclass(frozen=True, slots=True)
class Analysis:
    """All of it; `dataclasses.asdict` makes JSON data of it."""

    baseline: str  # key
    margin: float  # of equivalence, in the scores' unit
    confidence: float  # of the intervals
    differences: list[CellDifference]  # by cell, then by loss, without the baseline
    overall: list[OverallLoss]  # without the baseline
    friedman: float | None  # p of "all losses are alike" over data sets; None for < 3 losses or < 2 data sets
    critical_difference: float | None  # Nemenyi's, of mean ranks, at 5%; None for < 2 data sets
    ranks: dict[str, float]  # mean rank over data sets of each loss and the baseline; 1 is best


def analyse(
    cells: Sequence[CellScores],
    losses: Sequence[str],
    baseline: str,
    *,
    margin: float = 0.001,
    confidence: float = 0.95,
    seed: int = 0,
) -> Analysis:
    """Compare each loss with the baseline in each cell, and all of them over data sets.

    A seed that failed makes a loss "not comparable" in its cell, since the seeds that are left are a selection; what
    they say is given all the same. Such a comparison stays in the family of Holm's correction, as one with p = 1, and
    the loss ranks last on the data set.

    Args:
        cells: at least one; each has scores of every loss and the baseline, by the same seeds in the same order.
        losses: keys; the baseline may be among them, and is not compared with itself.
        baseline: its key.
        margin: differences under it do not matter, > 0, in the scores' unit.
        confidence: of the intervals, in (0, 1).
        seed: of the bootstrap's resamples and of random permutations.

    Raises:
        ValueError: no cell or loss, a name twice, scores that are missing or of different length, fewer than two
            seeds, a score that is not finite, or a margin or confidence out of range.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence in (0, 1), found {confidence}")
    candidates = [loss for loss in losses if loss != baseline]
    _check(cells, candidates, baseline)
    found = [_compare(cell, loss, baseline) for cell in cells for loss in candidates]
    bounds = _intervals([pairs.differences for pairs in found], confidence, seed)
    p_values = [sign_flip(pairs.differences, seed=seed) if pairs.n > 1 else None for pairs in found]
    adjusted = holm([1.0 if p is None or pairs.failed else p for p, pairs in zip(p_values, found, strict=True)])
    compared = [
        _difference(pairs, bound, p, p_adjusted, family=len(found), margin=margin, confidence=confidence)
        for pairs, bound, p, p_adjusted in zip(found, bounds, p_values, adjusted, strict=True)
    ]
    names, means = _by_dataset(cells, [baseline, *candidates])
    several = len(names) > 1
    mean_ranks = dict(zip([baseline, *candidates], ranks(means).mean(axis=0).tolist(), strict=True))
    return Analysis(
        baseline=baseline,
        margin=margin,
        confidence=confidence,
        differences=compared,
        overall=_overall(means, candidates, mean_ranks, seed),
        friedman=friedman(means, seed=seed).p if several and len(mean_ranks) > 2 else None,
        critical_difference=critical_difference(len(mean_ranks), len(names)) if several else None,
        ranks=mean_ranks,
    )


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The seeds of one loss and the baseline in one cell."""

    cell: CellScores
    loss: str
    failed: int
    scores: list[float]  # where both trained
    base: list[float]
    differences: np.ndarray  # float64 [n]

    @property
    def n(self) -> int:
        return len(self.scores)


def _check(cells: Sequence[CellScores], candidates: Sequence[str], baseline: str) -> None:
    if not cells or not candidates:
        raise ValueError("expected at least one cell, and a loss beside the baseline")
    for names in ([cell.cell for cell in cells], candidates):
        if len(set(names)) < len(names):
            raise ValueError(f"expected names that differ, found {names}")
    for cell in cells:
        missing = [key for key in [baseline, *candidates] if key not in cell.scores]
        if missing:
            raise ValueError(f"cell '{cell.cell}' has no scores of {missing[0]}")
        lengths = {len(cell.scores[key]) for key in [baseline, *candidates]}
        if len(lengths) > 1 or min(lengths) < 2:
            raise ValueError(f"cell '{cell.cell}': expected as many seeds for each loss, at least 2: {sorted(lengths)}")


def _compare(cell: CellScores, loss: str, baseline: str) -> _Pairs:
    both = list(zip(cell.scores[loss], cell.scores[baseline], strict=True))
    pairs = [(a, b) for a, b in both if a is not None and b is not None]
    scores, base = [a for a, _ in pairs], [b for _, b in pairs]
    return _Pairs(cell, loss, len(both) - len(pairs), scores, base, differences(scores, base))


def _intervals(
    found: Sequence[np.ndarray], confidence: float, seed: int
) -> list[tuple[float, float] | tuple[None, None]]:
    """BCa intervals in the order given; comparisons with as many pairs together, since that is faster."""
    bounds: list[tuple[float, float] | tuple[None, None]] = [(None, None)] * len(found)
    for n in {len(values) for values in found if len(values) > 1}:
        places = [place for place, values in enumerate(found) if len(values) == n]
        lows, highs = bca_interval(np.stack([found[place] for place in places]), confidence=confidence, seed=seed)
        for place, low, high in zip(places, lows.tolist(), highs.tolist(), strict=True):
            bounds[place] = (low, high)
    return bounds


def _difference(
    pairs: _Pairs,
    bounds: tuple[float, float] | tuple[None, None],
    p: float | None,
    p_adjusted: float,
    *,
    family: int,
    margin: float,
    confidence: float,
) -> CellDifference:
    n, values = pairs.n, pairs.differences
    mean = float(values.mean()) if n else None
    sd = float(values.std(ddof=1)) if n > 1 else None
    equivalent = n > 1 and equivalence(values, margin) < SIGNIFICANCE
    return CellDifference(
        cell=pairs.cell.cell,
        dataset=pairs.cell.dataset,
        loss=pairs.loss,
        n=n,
        mean=mean,
        sd=sd,
        low=bounds[0],
        high=bounds[1],
        p=p,
        p_adjusted=p_adjusted,
        improvement=probability_of_improvement(values, confidence=confidence) if n > 1 else None,
        correlation=correlation(pairs.scores, pairs.base),
        detectable=detectable(n, sd, family),
        equivalent=equivalent,
        failed=pairs.failed,
        verdict=verdict(mean, p_adjusted, equivalent=equivalent, failed=pairs.failed),
    )


def verdict(mean: float | None, p_adjusted: float, *, equivalent: bool, failed: int) -> Verdict:
    """The rule, in its order: a failed seed, a difference, an equivalence, nothing."""
    if failed or mean is None:
        return "not comparable"
    if p_adjusted < SIGNIFICANCE:
        return "better" if mean > 0 else "worse"
    return "equivalent" if equivalent else "no evidence"


def correlation(scores: Sequence[float], base: Sequence[float]) -> float | None:
    """Pearson's, of paired scores: what pairing is worth. None for fewer than three pairs or constant scores."""
    if len(scores) < 3 or len(set(scores)) == 1 or len(set(base)) == 1:
        return None
    return float(np.corrcoef(scores, base)[0, 1])


def detectable(n: int, sd: float | None, comparisons: int) -> float | None:
    """The mean difference found with 80% probability at this n and sd, in the unit of sd, at the level that Holm asks
    of the first of so many comparisons; None where n pairs cannot reach that level whatever the difference."""
    level = attainable(n, SIGNIFICANCE / comparisons) if n > 1 else 0.0
    if sd is None or level == 0:
        return None
    return sd * minimum_detectable_effect(n, significance=level)


def _by_dataset(cells: Sequence[CellScores], losses: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The data sets in the order of their cells, and the mean accuracy over each one's cells: [datasets, losses].
    Cells of one data set are not independent, so they count as one. -inf where a seed failed."""
    names = list(dict.fromkeys(cell.dataset for cell in cells))
    means = np.empty((len(names), len(losses)))
    for row, name in enumerate(names):
        for column, loss in enumerate(losses):
            means[row, column] = fmean(_mean(cell.scores[loss]) for cell in cells if cell.dataset == name)
    return names, means


def _mean(scores: Sequence[float | None]) -> float:
    return fmean(-math.inf if score is None else score for score in scores)


def _overall(
    means: np.ndarray, candidates: Sequence[str], mean_ranks: Mapping[str, float], seed: int
) -> list[OverallLoss]:
    rows = [means[:, 1 + place] for place in range(len(candidates))]
    base = means[:, 0]
    whole = [np.isfinite(row) & np.isfinite(base) for row in rows]
    gains = [differences(row[there], base[there]) for row, there in zip(rows, whole, strict=True)]
    enough = len(means) >= pairs_needed(1, SIGNIFICANCE)
    p_values = [
        wilcoxon(gain, seed=seed).p if enough and there.all() else None
        for gain, there in zip(gains, whole, strict=True)
    ]
    adjusted = holm([1.0 if p is None else p for p in p_values])
    return [
        OverallLoss(
            loss=loss,
            datasets=len(gain),
            mean=float(gain.mean()) if len(gain) else None,
            p=p,
            p_adjusted=None if p is None else p_adjusted,
            mean_rank=mean_ranks[loss],
        )
        for loss, gain, p, p_adjusted in zip(candidates, gains, p_values, adjusted, strict=True)
    ]
