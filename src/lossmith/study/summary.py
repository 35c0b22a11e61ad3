"""What the evaluations of a comparison say: means, paired differences, and a verdict in words."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lossmith.ledger import EvaluationRow, LossRow
from lossmith.search.serving import Split
from lossmith.study.statistics import CONFIDENCE, PairedDifference, holm, paired_difference
from lossmith.train.task import TaskConfig

SIGNIFICANCE = 0.05  # of the adjusted p value


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
    difference: dict[str, Any] | None  # PairedDifference to the baseline and `p_adjusted`; None for the baseline
    verdict: str


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
    differences = {loss.key: _difference(scores[loss.key], scores[baseline]) for _, loss in losses[1:]}
    testable = [key for key, difference in differences.items() if difference]
    adjusted = dict(zip(testable, holm([d.p for d in differences.values() if d]), strict=True))
    compared = [
        _compared(label, loss, scores[loss.key], differences.get(loss.key), adjusted.get(loss.key), losses)
        for label, loss in losses
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


def _difference(scores: list[float | None], baseline: list[float | None]) -> PairedDifference | None:
    pairs = [(a, b) for a, b in zip(scores, baseline, strict=True) if a is not None and b is not None]
    if len(pairs) < 2:
        return None
    return paired_difference([a for a, _ in pairs], [b for _, b in pairs], seed=0)


def _compared(
    label: str,
    loss: LossRow,
    scores: list[float | None],
    difference: PairedDifference | None,
    p_adjusted: float | None,
    losses: Sequence[tuple[str, LossRow]],
) -> ComparedLoss:
    present = [score for score in scores if score is not None]
    return ComparedLoss(
        key=loss.key,
        label=label,
        formula=f"-({loss.formula})" if loss.flip else loss.formula,
        scores=scores,
        mean=statistics.fmean(present) if present else None,
        sd=statistics.stdev(present) if len(present) > 1 else None,
        failed=len(scores) - len(present),
        difference=None
        if difference is None
        else {**asdict(difference), "confidence": CONFIDENCE, "p_adjusted": p_adjusted},
        verdict="baseline" if loss.key == losses[0][1].key else _verdict(difference, p_adjusted, len(scores), losses),
    )


def _verdict(
    difference: PairedDifference | None, p_adjusted: float | None, seeds: int, losses: Sequence[tuple[str, LossRow]]
) -> str:
    baseline = losses[0][0]
    if difference is None or p_adjusted is None:
        return f"not comparable: fewer than two seeds trained with both it and {baseline}"
    if difference.n < seeds:
        lost = seeds - difference.n
        return (
            f"not comparable: {lost} of {seeds} seeds failed with it or with {baseline}, and the others are a selection"
        )
    if p_adjusted < SIGNIFICANCE:
        return f"{'better' if difference.mean > 0 else 'worse'} than {baseline}"
    # the least p that n pairs can give is 2 / 2^n, before Holm's factor
    needed = math.ceil(math.log2(2 * (len(losses) - 1) / SIGNIFICANCE) + 1e-9)
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
