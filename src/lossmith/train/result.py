"""What training a loss once gives: why it ended, the scores, and the curve."""

from __future__ import annotations

from dataclasses import dataclass

from lossmith.verdict import Reason


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One point of the training curve."""

    epoch: int  # from 1
    step: int  # steps done at its end
    train_loss: float  # mean over the epoch's steps
    train_accuracy: float  # in [0, 1], of the network as it trained, on the epoch's augmented batches
    validation_accuracy: float  # in [0, 1], of the network at the epoch's end
    seconds: float  # since training started


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """One evaluation: one loss trained once on one task with one seed. The scores are None unless `reason` is OK."""

    reason: Reason  # OK, LOSS_NOT_FINITE, WEIGHTS_NOT_FINITE or BELOW_THRESHOLD
    score: float | None  # accuracy in [0, 1] on the score split after the last step; never the best of the epochs
    nll: float | None  # negative log-likelihood on the score split after the last step
    ece: float | None  # expected calibration error (15 bins) on the score split after the last step
    curve: tuple[EpochRecord, ...]  # one record for every epoch that came to its end, a shorter last one included
    steps: int  # optimizer steps done
    seconds: float  # wall time of training and scoring
