"""The CSV files beside a study's page. Numbers are written in full, fractions as fractions, times in seconds; an empty
field means that there is no value. Evaluations are ids in the ledger that stands beside them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lossmith.report.study.compute import costs
from lossmith.report.study.contents import Confirmation, Transfer
from lossmith.report.study.forms import Analysis, Scores
from lossmith.report.study.parts import Context
from lossmith.report.study.reading import SEARCH, Stage, claims
from lossmith.report.study.trace import Rows

Row = Sequence[Any]

_DIFFERENCES = (
    "cell", "dataset", "loss", "name", "formula", "baseline", "seeds", "failed", "pairs", "mean_accuracy",
    "sd_accuracy",
    "difference", "sd_difference", "low", "high", "p", "p_holm", "improvement", "improvement_low", "improvement_high",
    "detectable", "correlation", "mean_nll", "mean_ece", "verdict", "ledger", "evaluations", "baseline_evaluations",
)  # fmt: skip
_SCORES = (
    "stage", "task", "data", "split", "loss", "name", "seed", "accuracy", "nll", "ece", "learning_rate",
    "weight_decay", "ledger", "evaluation",
)  # fmt: skip
_TRACE = (
    "figure", "shown", "value", "measure", "place", "loss", "ledger", "evaluations", "against",
    "against_evaluations",
)  # fmt: skip
_COMPUTE = ("stage", "state", "trainings", "failed", "steps", "training_seconds", "wall_seconds", "sessions", "ledger")


def csv_files(context: Context) -> dict[str, str]:
    """The content of each file by its name; the page is written already, so that all of its figures are traced."""
    files: dict[str, str] = {}
    for stage in context.record.stages.values():
        result = stage.result
        if isinstance(result, Confirmation):
            files["confirmation.csv"] = _text(_DIFFERENCES, _differences(context, stage, result.analysis, result.cells))
            rows = (
                row
                for analysis in result.controls.values()
                for row in _differences(context, stage, analysis, result.cells)
            )
            if result.controls:
                files["controls.csv"] = _text(_DIFFERENCES, rows)
        elif isinstance(result, Transfer):
            cells = [cell for cell in result.cells if cell.error is None]
            files["transfer.csv"] = _text(_DIFFERENCES, _differences(context, stage, result.analysis, cells))
    files["scores.csv"] = _text(_SCORES, _scores(context))
    files["compute.csv"] = _text(_COMPUTE, _compute(context))
    files["trace.csv"] = _text(_TRACE, _trace(context))
    return files


def _differences(context: Context, stage: Stage, analysis: Analysis, cells: Iterable[Any]) -> Iterator[Row]:
    for cell in cells:
        found = analysis.of(cell.name)
        base: Scores = cell.scores[analysis.baseline]
        for key, scores in cell.scores.items():
            if key != analysis.baseline and key not in found:
                continue
            name, one = context.names[key], found.get(key)
            head = (cell.name, cell.dataset, key, name.text, name.loss.formula, int(key == analysis.baseline))
            counts = (len(scores.values), scores.failed, one.n if one else None)
            means = (scores.mean, scores.sd)
            tail = (
                _mean(scores.nll),
                _mean(scores.ece),
                one.verdict if one else "baseline",
                stage.ledger,
                _ids(stage.traced(scores.evaluations)),
                _ids(stage.traced(base.evaluations)),
            )
            if one is None:
                yield (*head, *counts, *means, *[None] * 11, *tail)
                continue
            better = one.improvement
            yield (
                *head,
                *counts,
                *means,
                *(one.mean, one.sd, one.low, one.high, one.p, one.p_adjusted),
                *((better.value, better.low, better.high) if better else (None, None, None)),
                *(one.detectable, one.correlation),
                *tail,
            )


def _scores(context: Context) -> Iterator[Row]:
    """Every score that a number of the page rests on, each once."""
    for stage in context.record.stages.values():
        if stage.kind == SEARCH:
            ids = [] if stage.record is None else [row.id for row in stage.record.evaluations]
        else:
            ids = [number for where, number, _ in claims(stage, context.record) if where is stage]
        for number in dict.fromkeys(ids):
            yield _scored(context, stage, number)


def _scored(context: Context, stage: Stage, number: int) -> Row:
    row = stage.rows[number]
    if stage.snapshot is None:
        raise AssertionError("a row is of a snapshot")
    task = stage.snapshot.tasks[row.key.task]
    data, optimizer = (task.configuration.get(key, {}) for key in ("data", "optimizer"))
    name = context.names.all.get(row.key.loss)
    return (
        stage.name,
        task.name,
        data.get("source"),
        row.key.split,
        row.key.loss,
        name.text if name is not None else "",
        row.key.seed,
        row.score,
        row.nll,
        row.ece,
        optimizer.get("learning_rate"),
        optimizer.get("weight_decay"),
        stage.ledger,
        number,
    )


def _compute(context: Context) -> Iterator[Row]:
    for stage, cost, failed in costs(context.record):
        state = "done" if stage.done else "not finished"
        seconds = (cost.training_seconds, cost.wall_seconds)
        yield (stage.name, state, cost.evaluations, failed, cost.steps, *seconds, len(cost.sessions), stage.ledger)


def _trace(context: Context) -> Iterator[Row]:
    for each in context.trace.figures:
        name = f"f{each.number}"
        yield (
            *(name, each.shown, each.value, each.measure, each.place, each.loss),
            *(each.rows.ledger, _ids(each.rows), each.against, _ids(each.less)),
        )


def _ids(rows: Rows | None) -> str:
    return "" if rows is None else " ".join(map(str, rows.ids))


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def _text(columns: Sequence[str], rows: Iterable[Row]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue()
