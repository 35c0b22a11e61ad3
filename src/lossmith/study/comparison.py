"""A comparison: a few losses trained on one task with the same fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lossmith.errors import LossmithError
from lossmith.ledger import Ledger, LossRow
from lossmith.search.serving import Split
from lossmith.study.trainings import Training, Trainings
from lossmith.train.task import TaskConfig


def compare(
    ledger: Ledger,
    task: TaskConfig,
    trainings: Trainings,
    losses: Sequence[tuple[str, LossRow]],
    seeds: Sequence[int],
    *,
    split: Split,
) -> dict[str, Any]:
    """Train each of `losses` (label, loss) with each of `seeds` and record the comparison in the ledger.

    The first loss is the baseline.

    Returns:
        The content of the comparison as JSON data, in the form that `docs/ledger.md` describes.

    Raises:
        StoppedError, LossmithError: see `Trainings.run`.
    """
    from lossmith.study.summary import summarise  # noqa: PLC0415 - scipy takes a second, in which the workers start

    # seed by seed, so that pairs are whole early
    found = trainings.run(Training(loss, task.task_id, seed, split) for seed in seeds for _, loss in losses)
    rows = {(key.loss, key.seed): row for key, row in found.items()}
    content = summarise(task, losses, seeds, rows, split)
    ledger.add_comparison(content)
    return content


def require_two(seeds: int) -> None:
    """Refuse a comparison that cannot have an interval."""
    if seeds < 2:
        raise LossmithError(f"--seeds {seeds}: a comparison of several losses needs at least 2 seeds")
