"""What the evaluations of a comparison say: means, paired differences, and a verdict in words."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lossmith.ledger import EvaluationRow, LossRow
from lossmith.search.serving import Split
from lossmith.study.analysis import SIGNIFICANCE, correlation, detectable
from lossmith.study.statistics import (
    CONFIDENCE,
    Improvement,
    PairedDifference,
    differences,
    equivalence,
    holm,
    paired_difference,
    pairs_needed,
    probability_of_improvement,
)
from lossmith.train.task import TaskConfig

MARGIN = 0.001  # differences in accuracy under it do not matter: 0.1 points


@dataclass(frozen=True, slots=True)
class ComparedLoss:
    """One loss of a comparison; scores are accuracies in [0, 1]."""

    key: str
    label: str  # what the user called it
    formula: str
    scores: list[float | None]  # one per seed; None where training failed
    mean: float | None  # of the scores that there are
    sd: float | None  # with n - 1; None for fewer than two scores
    failed: int
    difference: dict[str, Any] | None  # _Paired to the baseline with its interval's confidence; None for the baseline
    verdict: str


@dataclass(frozen=True, slots=True)
class _Paired(PairedDifference):
    """A loss less the baseline, over the seeds with which both trained."""

    p_adjusted: float  # Holm, over all losses compared; 1 where a seed failed
    correlation: float | None  # of the paired scores
    improvement: Improvement  # probability of improvement
    detectable: float | None  # minimum detectable effect at 80% power and the level that Holm asks of the first
    margin: float
    equivalent: bool  # TOST within the margin at 5%


def summarise(
    task: TaskConfig,
    losses: Sequence[tuple[str, LossRow]],
    seeds: Sequence[int],
    rows: dict[tuple[str, int], EvaluationRow],
    split: Split,
) -> dict[str, Any]:
    """The statistics of a comparison whose evaluations are all there."""
    scores = {loss.key: [rows[loss.key, seed].score for seed in seeds] for _, loss in losses}
    baseline = losses[0][1].key
    found = _differences([scores[loss.key] for _, loss in losses[1:]], scores[baseline])
    compared = [
        _compared(label, loss, scores[loss.key], difference, losses)
        for (label, loss), difference in zip(losses, [None, *found], strict=True)
    ]
    return {
        "task": task.name,
        "task_id": task.task_id,
        "split": split,
        "seeds": list(seeds),
        "baseline": baseline,
        "losses": [asdict(loss) for loss in compared],
        "sentence": _sentence(compared[0].label, compared[1:], f"{len(seeds)} paired seeds on one fixed {split} split"),
    }


def _differences(scores: Sequence[Sequence[float | None]], baseline: Sequence[float | None]) -> list[_Paired | None]:
    """Each loss less the baseline; None where fewer than two seeds trained with both."""
    pairs = [
        [(a, b) for a, b in zip(values, baseline, strict=True) if a is not None and b is not None] for values in scores
    ]
    sides = [([a for a, _ in both], [b for _, b in both]) for both in pairs]
    tested = [paired_difference(*side, seed=0) if len(side[0]) > 1 else None for side in sides]
    adjusted = holm([test.p if test is not None and test.n == len(baseline) else 1.0 for test in tested])
    return [
        None if test is None else _paired(test, *side, p_adjusted, len(scores))
        for test, side, p_adjusted in zip(tested, sides, adjusted, strict=True)
    ]


def _paired(
    test: PairedDifference, scores: list[float], baseline: list[float], p_adjusted: float, comparisons: int
) -> _Paired:
    values = differences(scores, baseline)
    return _Paired(
        **asdict(test),
        p_adjusted=p_adjusted,
        correlation=correlation(scores, baseline),
        improvement=probability_of_improvement(values, confidence=CONFIDENCE),
        detectable=detectable(test.n, test.sd, comparisons),
        margin=MARGIN,
        equivalent=equivalence(values, MARGIN) < SIGNIFICANCE,
    )


def _compared(
    label: str,
    loss: LossRow,
    scores: list[float | None],
    difference: _Paired | None,
    losses: Sequence[tuple[str, LossRow]],
) -> ComparedLoss:
    present = [score for score in scores if score is not None]
    return ComparedLoss(
        key=loss.key,
        label=label,
        formula=loss.minimised,
        scores=scores,
        mean=statistics.fmean(present) if present else None,
        sd=statistics.stdev(present) if len(present) > 1 else None,
        failed=len(scores) - len(present),
        difference=None if difference is None else {**asdict(difference), "confidence": CONFIDENCE},
        verdict="baseline" if loss.key == losses[0][1].key else _verdict(difference, len(scores), losses),
    )


def _verdict(difference: _Paired | None, seeds: int, losses: Sequence[tuple[str, LossRow]]) -> str:
    baseline = losses[0][0]
    if difference is None:
        return f"not comparable: fewer than two seeds trained with both it and {baseline}"
    if difference.n < seeds:
        lost = seeds - difference.n
        return (
            f"not comparable: {lost} of {seeds} seeds failed with it or with {baseline}, and the others are a selection"
        )
    if difference.p_adjusted < SIGNIFICANCE:
        return f"{'better' if difference.mean > 0 else 'worse'} than {baseline}"
    if difference.equivalent:
        return f"equivalent to {baseline} within {100 * MARGIN:g} points"
    needed = pairs_needed(len(losses) - 1, SIGNIFICANCE)
    if seeds < needed:
        return f"too few seeds to tell it from {baseline}: at least {needed} are needed"
    return f"no evidence of a difference from {baseline}"


def _sentence(baseline: str, others: Sequence[ComparedLoss], basis: str) -> str:
    """What the comparison says, plainly; the intervals cover the seeds, not the choice of the images."""
    parts = []
    for loss in others:
        if loss.difference is None or loss.verdict.startswith("not comparable"):
            parts.append(f"{loss.label} is {loss.verdict}")
            continue
        points, low, high = (100 * loss.difference[name] for name in ("mean", "low", "high"))
        interval = f"95% interval {low:+.2f} to {high:+.2f}" if loss.difference["sd"] else "the same for every seed"
        figures = f"({points:+.2f} points, {interval}, p = {loss.difference['p_adjusted']:.3g})"
        if loss.verdict.startswith("no evidence"):
            parts.append(f"there is no evidence that {loss.label} differs from {baseline} {figures}")
        elif loss.verdict.startswith("too few"):
            parts.append(f"there are {loss.verdict.replace(' it ', f' {loss.label} ', 1)} {figures}")
        else:
            parts.append(f"there is evidence that {loss.label} is {loss.verdict} {figures}")
    return f"With {basis}, " + "; ".join(parts) + "." if parts else "There is nothing to compare."
