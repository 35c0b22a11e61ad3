"""Training the cells of a transfer, and what they say together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lossmith.ledger import EvaluationRow, Ledger, LossRow
from lossmith.search.seeds import Purpose, stage_seeds
from lossmith.study.trainings import Training, Trainings, scores_of
from lossmith.study.transfer.cells import Cell
from lossmith.study.transfer.config import TransferConfig

KIND = "transfer"  # of the result, and the key of the configuration in the ledger


@dataclass(frozen=True, slots=True)
class NamedLoss:
    """A loss with the label that it is shown under."""

    label: str
    loss: LossRow

    def content(self) -> dict[str, Any]:
        return {"key": self.loss.key, "label": self.label, "formula": self.loss.formula, "flip": self.loss.flip}

    @staticmethod
    def of(content: Mapping[str, Any]) -> NamedLoss:
        return NamedLoss(content["label"], LossRow(content["key"], content["formula"], content["flip"]))


def transfer(
    ledger: Ledger,
    config: TransferConfig,
    cells: Sequence[Cell],
    losses: Sequence[NamedLoss],
    trainings: Trainings,
    *,
    ended: Callable[[dict[str, Any]], None] = lambda cell: None,
) -> dict[str, Any]:
    """Train every loss in every cell that can be trained, and record the result in the ledger.

    Args:
        ledger: takes the result.
        config: of the transfer.
        cells: those with an error are in the result without scores.
        losses: the baseline first, each once.
        trainings: knows the tasks of the cells without an error.
        ended: given each cell of the result, as soon as its trainings are there.

    Returns:
        The content of the result, in the form that `docs/transfer.md` describes.

    Raises:
        StoppedError, LossmithError: see `Trainings.run`.
    """
    from lossmith.study.analysis import CellScores, analyse  # noqa: PLC0415 - scipy takes a second

    seeds = stage_seeds(config.seed, Purpose.TRANSFER, config.seeds)
    contents = {cell.name: _content(cell, seeds, {}) for cell in cells}  # in the order of the cells
    runnable = {cell.task.task_id: cell for cell in cells if cell.error is None}
    there: dict[str, dict[tuple[str, int], EvaluationRow]] = {task: {} for task in runnable}

    def one_ended(row: EvaluationRow) -> None:
        rows, cell = there[row.key.task], runnable[row.key.task]
        rows[row.key.loss, row.key.seed] = row
        if len(rows) == len(seeds) * len(losses):
            by_loss = {each.loss.key: [rows[each.loss.key, seed] for seed in seeds] for each in losses}
            contents[cell.name] = _content(cell, seeds, by_loss)
            ended(contents[cell.name])

    # cell by cell, but none waits for the last ones of another; seed by seed, so that pairs are whole early
    found = trainings.run(
        (Training(each.loss, task, seed) for task in runnable for seed in seeds for each in losses), one_ended
    )
    baseline, *others = (each.loss.key for each in losses)
    scores = [
        CellScores(cell["name"], cell["dataset"], {key: score["values"] for key, score in cell["scores"].items()})
        for cell in contents.values()
        if cell["error"] is None
    ]
    analysis = analyse(scores, others, baseline, margin=config.margin, confidence=config.confidence, seed=config.seed)
    content = {
        "format": 1,
        "losses": [each.content() for each in losses],
        "baseline": baseline,
        "cells": list(contents.values()),
        "analysis": asdict(analysis),
        "seconds": sum(row.seconds for row in found.values()),
    }
    ledger.add_result(KIND, content)
    return content


def _content(cell: Cell, seeds: Sequence[int], rows: Mapping[str, Sequence[EvaluationRow]]) -> dict[str, Any]:
    return {
        "name": cell.name,
        "dataset": cell.dataset,
        "model": cell.model,
        "augmentation": cell.augmentation,
        "pretrained": cell.pretrained,
        "task": cell.task.name,
        "task_id": cell.task.task_id,
        "seeds": list(seeds),
        "scores": {key: scores_of(own) for key, own in rows.items()},
        "error": cell.error,
    }
