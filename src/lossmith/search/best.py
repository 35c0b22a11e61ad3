"""The best losses of a search, from its ledger."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lossmith.config import RunConfig
from lossmith.files import write_atomically
from lossmith.ledger import EvaluationRow, Ledger, LossRow
from lossmith.search.seeds import training_seed
from lossmith.space.expression import Expression

FILE = "best.json"


@dataclass(frozen=True, slots=True)
class RankedLoss:
    """A loss of a search with its evaluation on the search's own task."""

    loss: LossRow
    evaluation: EvaluationRow


def best_losses(ledger: Ledger, config: RunConfig, count: int) -> list[RankedLoss]:
    """Up to `count` losses by validation score on the search's own task, the best first; ties go to the earlier.

    Each score is one training: the best of many is partly the luckiest, so its own score flatters it.
    """
    task, seed = config.task.task_id, training_seed(config.seed)
    rows = [
        row
        for row in ledger.evaluations()
        if row.score is not None and row.key.task == task and row.key.seed == seed and row.key.split == "validation"
    ]
    rows.sort(key=lambda row: (-(row.score or 0.0), row.id))
    return [RankedLoss(ledger.loss(row.key.loss), row) for row in rows[:count]]


def write_best(ledger: Ledger, config: RunConfig) -> Path | None:
    """Write the best loss as `best.json` in the run directory, for `lossmith.loss`; None where there is none yet."""
    found = best_losses(ledger, config, 1)
    if not found:
        return None
    loss, evaluation = found[0].loss, found[0].evaluation
    text = Expression.from_text(loss.formula).to_json(
        flip=loss.flip,
        provenance={"run": config.name, "task": config.task.name, "validation_accuracy": evaluation.score},
    )
    return write_atomically(ledger.directory / FILE, text)
