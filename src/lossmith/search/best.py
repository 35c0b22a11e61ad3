"""The best losses of a search, from its ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lossmith.config import RunConfig
from lossmith.files import write_atomically
from lossmith.ledger import EvaluationRow, Ledger, LossRow
from lossmith.search.seeds import training_seed
from lossmith.search.serving import ZOO
from lossmith.space.expression import Expression

FILE = "best.json"


@dataclass(frozen=True, slots=True)
class RankedLoss:
    """A loss of a search with its evaluation on the search's own task."""

    loss: LossRow
    evaluation: EvaluationRow


def of_search(rows: Iterable[EvaluationRow], config: RunConfig) -> list[EvaluationRow]:
    """The evaluations that the search itself asked for, in the order given; those of comparisons are not."""
    tasks, seed = (config.screening.task_id, config.task.task_id), training_seed(config.seed)
    return [
        row
        for row in rows
        if row.key.task in tasks
        and row.key.seed == seed
        and row.key.split == "validation"
        and not row.key.loss.startswith(ZOO)
    ]


def ranked(rows: Iterable[EvaluationRow], config: RunConfig) -> list[EvaluationRow]:
    """The search's evaluations on its own task that have a score, the best first; ties go to the earlier.

    Each score is one training: the best of many is partly the luckiest, so its own score flatters it.
    """
    own = [row for row in of_search(rows, config) if row.key.task == config.task.task_id and row.score is not None]
    return sorted(own, key=lambda row: (-(row.score or 0.0), row.id))


def best_losses(ledger: Ledger, config: RunConfig, count: int) -> list[RankedLoss]:
    """Up to `count` losses of a search in the order of `ranked`."""
    rows = ranked(ledger.evaluations(), config)[:count]
    return [RankedLoss(ledger.loss(row.key.loss), row) for row in rows]


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
