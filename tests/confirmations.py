"""Confirmations without training: an executor whose scores a function gives, settings, and runs to be their sources."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from lossmith.ledger import EvaluationKey, Ledger, LossRow
from lossmith.losses.build import loss as build_loss
from lossmith.search.evaluation import expression_row, zoo_row
from lossmith.search.serving import EvaluationJob
from lossmith.study.confirmation.config import ConfirmationConfig, confirmation_of
from lossmith.train.task import TaskConfig, load_task
from lossmith.verdict import Reason

CANDIDATE = "-y*log(yhat) + 0.5*square(y - yhat)"


def null_score(job: EvaluationJob, task: TaskConfig) -> float:
    """A score on 450 images that owes nothing to the loss: some to the seed, the rest to luck."""
    shared = np.random.default_rng([job.seed % 2**32, 1]).normal(0.0, 0.01)
    own = np.random.default_rng([job.seed % 2**32, *job.loss.key.encode(), *task.task_id.encode()]).normal(0.0, 0.005)
    return round((0.9 + shared + own) * 450) / 450


def tiny(name: str = "tiny", **changes: Any) -> dict[str, Any]:
    """A cell on digits."""
    return {"base": "digits", "name": name, "steps": 30, "stopping": [], **changes}


def config(**changes: Any) -> ConfirmationConfig:
    values: dict[str, Any] = {
        "losses": [CANDIDATE],
        "baselines": ["cross_entropy", "focal"],
        "cells": [tiny()],
        "seeds": 8,
        "tuning": {"learning_rates": [0.5, 1, 2], "weight_decays": [0], "seeds": 2},
        "execution": {"way": "processes"},
    }
    return confirmation_of({**values, **changes}, "test")


def row(formula: str) -> LossRow:
    """How the ledger names a formula's loss."""
    built = build_loss(formula)
    assert built.expression is not None
    return expression_row(built.expression, bool(built.flip))


def make_source(
    directory: Path,
    *,
    kind: str = "other",
    seeds: tuple[int, ...] = (1,),
    split: str = "validation",
    results: dict[str, Any] | None = None,
    losses: tuple[LossRow, ...] = (),
    **data: Any,
) -> Path:
    """A run that trained on digits; `data` changes which."""
    task = load_task({"base": "digits", "data": data}, "test")
    with Ledger.create(directory, {"name": directory.name, kind: {}}) as ledger:
        ledger.begin_session("test", 1, {}, time.monotonic())
        ledger.add_task(task.task_id, task.name, task.model_dump(mode="json"), "checksum")
        for seed in seeds:
            for loss in losses or (zoo_row("cross_entropy"),):
                key = EvaluationKey(loss.key, task.task_id, seed, split)
                ledger.add_evaluation(loss, key, reason=Reason.OK, score=0.9, seconds=1.0, steps=100)
        for name, content in (results or {}).items():
            ledger.add_result(name, content)
    return directory


def make_elimination(directory: Path, formulas: list[str], source: Path) -> Path:
    """An elimination that kept these formulas, of the search in `source`."""
    rows = tuple(row(formula) for formula in formulas)
    content = {
        "format": 1,
        "sources": [{"directory": str(source), "name": "search", "seed": 0, "losses": len(rows)}],
        "losses": [
            {"key": each.key, "label": f"found {number}", "formula": each.formula, "flip": each.flip}
            for number, each in enumerate(rows)
        ],
        "phases": [],
        "finalists": [each.key for each in rows],
    }
    return make_source(directory, kind="elimination", results={"elimination": content}, losses=rows, validation_fold=1)


def make_null(directory: Path, values: list[float | None], search_best: float) -> Path:
    best = max((value for value in values if value is not None), default=None)
    content = {
        "format": 1,
        "of": "runs/search",
        "task": "digits",
        "task_id": "0",
        "values": values,
        "evaluations": list(range(1, len(values) + 1)),
        "best": best,
        "search_best": search_best,
        "seconds": 1.0,
    }
    return make_source(directory, kind="null", results={"null": content}, seeds=(77,))
