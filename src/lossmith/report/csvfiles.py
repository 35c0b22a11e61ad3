"""The CSV files beside a report: everything in the ledger that a spreadsheet or a notebook may want.

Numbers are written in full (they read back to the same value), fractions as fractions, times in seconds; an empty
field means that there is no value.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from lossmith.report.comparison import ComparisonView
from lossmith.report.record import SearchRecord
from lossmith.report.snapshot import Snapshot


def csv_files(snapshot: Snapshot, record: SearchRecord | None, comparisons: Sequence[ComparisonView]) -> dict[str, str]:
    """The content of each file, by its name."""
    files = {"evaluations.csv": _evaluations(snapshot), "losses.csv": _losses(snapshot, record)}
    if record is not None:
        files["candidates.csv"] = _candidates(record)
    if comparisons:
        files["comparison.csv"] = _comparisons(comparisons)
    return files


def _evaluations(snapshot: Snapshot) -> str:
    columns = (
        "number", "loss", "formula", "task", "task_id", "seed", "split", "verdict", "detail", "accuracy", "nll", "ece",
        "steps", "seconds", "worker", "session", "finished",
    )  # fmt: skip
    rows = (
        (
            row.id,
            row.key.loss,
            snapshot.losses[row.key.loss].formula,
            snapshot.tasks[row.key.task].name,
            row.key.task,
            row.key.seed,
            row.key.split,
            row.reason.value,
            row.detail,
            row.score,
            row.nll,
            row.ece,
            row.steps,
            row.seconds,
            row.worker,
            row.session,
            datetime.fromtimestamp(row.finished, UTC).isoformat(),
        )
        for row in snapshot.evaluations
    )
    return _text(columns, rows)


def _candidates(record: SearchRecord) -> str:
    columns = (
        "number", "stage", "iteration", "attempt", "loss", "formula", "parent", "mutation", "refused_drafts", "asked",
        "told", "evaluation", "verdict", "accuracy",
    )  # fmt: skip

    def rows() -> Iterable[Sequence[Any]]:
        for candidate in record.snapshot.candidates:
            evaluation = record.evaluation_of(candidate)
            yield (
                candidate.number,
                candidate.stage,
                candidate.iteration,
                candidate.attempt,
                candidate.loss,
                record.snapshot.losses[candidate.loss].formula,
                candidate.parent,
                None if candidate.mutation is None else json.dumps(candidate.mutation),
                json.dumps(candidate.refused),
                candidate.asked,
                candidate.told,
                evaluation.id if evaluation else None,
                evaluation.reason.value if evaluation else None,
                evaluation.score if evaluation else None,
            )

    return _text(columns, rows())


def _losses(snapshot: Snapshot, record: SearchRecord | None) -> str:
    columns = ("key", "formula", "flip", "rank", "accuracy", "nll", "ece", "candidate", "parent")
    ranked = {ranked.loss.key: ranked for ranked in record.ranking} if record else {}

    def rows() -> Iterable[Sequence[Any]]:
        unranked = [key for key in snapshot.losses if key not in ranked]
        for key in (*ranked, *unranked):
            loss, place = snapshot.losses[key], ranked.get(key)
            head = (key, loss.formula, None if loss.flip is None else int(loss.flip))
            if place is None:
                yield (*head, *[None] * 6)
                continue
            row, candidate = place.evaluation, place.candidate
            origin = (candidate.number, candidate.parent) if candidate else (None, None)
            yield (*head, place.rank, place.score, row.nll, row.ece, *origin)

    return _text(columns, rows())


def _comparisons(comparisons: Sequence[ComparisonView]) -> str:
    """One row for every training: the raw results that the statistics are made of."""
    columns = ("comparison", "task", "split", "loss", "label", "formula", "seed", "accuracy", "baseline", "difference")

    def rows() -> Iterable[Sequence[Any]]:
        for number, comparison in enumerate(comparisons, start=1):
            for loss in comparison.losses:
                pairs = zip(comparison.seeds, loss.scores, comparison.differences(loss), strict=True)
                for seed, score, difference in pairs:
                    yield (
                        number,
                        comparison.task,
                        comparison.split,
                        loss.key,
                        loss.label,
                        loss.formula,
                        seed,
                        score,
                        int(loss.key == comparison.baseline),
                        difference,
                    )

    return _text(columns, rows())


def _text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue()
