"""A comparison as the ledger stores it, read back into records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lossmith.errors import RunError


@dataclass(frozen=True, slots=True)
class DifferenceView:
    """Paired differences of a loss to the baseline; accuracies in [0, 1]."""

    n: int  # pairs
    mean: float
    low: float  # interval of the mean at `confidence`
    high: float
    confidence: float
    p: float
    p_adjusted: float  # Holm, over the losses of the comparison


@dataclass(frozen=True, slots=True)
class LossView:
    """One loss of a comparison."""

    key: str
    label: str
    formula: str
    scores: tuple[float | None, ...]  # accuracy per seed; None where training failed
    mean: float | None
    sd: float | None
    failed: int
    difference: DifferenceView | None  # None for the baseline, and where fewer than two pairs trained
    verdict: str


@dataclass(frozen=True, slots=True)
class ComparisonView:
    """Losses trained on one task with the same seeds; `lossmith.study.comparison` made the content."""

    task: str
    split: str
    seeds: tuple[int, ...]
    baseline: str  # its key
    losses: tuple[LossView, ...]
    sentence: str

    @staticmethod
    def of(content: Mapping[str, Any]) -> ComparisonView:
        """The view of a stored comparison.

        Raises:
            RunError: it is not of the form that this version knows.
        """
        try:
            view = ComparisonView(
                task=str(content["task"]),
                split=str(content["split"]),
                seeds=tuple(content["seeds"]),
                baseline=str(content["baseline"]),
                losses=tuple(_loss(loss) for loss in content["losses"]),
                sentence=str(content["sentence"]),
            )
            if any(len(loss.scores) != len(view.seeds) for loss in view.losses):
                raise ValueError("not one score per seed")
            if all(loss.key != view.baseline for loss in view.losses):
                raise ValueError("the baseline is not among the losses")
        except (KeyError, TypeError, ValueError) as error:
            message = f"a comparison in the ledger cannot be read ({type(error).__name__}: {error}); update Lossmith"
            raise RunError(message) from error
        return view

    @property
    def baseline_loss(self) -> LossView:
        return next(loss for loss in self.losses if loss.key == self.baseline)

    @property
    def confidence(self) -> float:
        """Of the intervals, which are all alike."""
        return next((loss.difference.confidence for loss in self.losses if loss.difference), 0.95)

    def differences(self, loss: LossView) -> list[float | None]:
        """A loss's score less the baseline's, seed by seed; None where either failed."""
        pairs = zip(loss.scores, self.baseline_loss.scores, strict=True)
        return [None if score is None or base is None else score - base for score, base in pairs]


def _loss(content: Mapping[str, Any]) -> LossView:
    difference = content["difference"]
    return LossView(
        key=str(content["key"]),
        label=str(content["label"]),
        formula=str(content["formula"]),
        scores=tuple(None if score is None else float(score) for score in content["scores"]),
        mean=content["mean"],
        sd=content["sd"],
        failed=int(content["failed"]),
        difference=None
        if difference is None
        else DifferenceView(
            n=int(difference["n"]),
            **{name: float(difference[name]) for name in ("mean", "low", "high", "confidence", "p", "p_adjusted")},
        ),
        verdict=str(content["verdict"]),
    )
