"""The stage itself: tuning on validation images, then the test images, once, then the statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

from lossmith.ledger import EvaluationRow, Ledger
from lossmith.study.confirmation.luck import luck_floor, luck_sentence
from lossmith.study.confirmation.overlaps import sentences as overlap_sentences
from lossmith.study.confirmation.registration import RegisteredCell, Registration, Role
from lossmith.study.confirmation.sentences import sentences
from lossmith.study.confirmation.sources import located
from lossmith.study.confirmation.tuning import Tuning, tune
from lossmith.study.trainings import Training, Trainings, scores_of

KIND = "confirmation"  # of the result
OVERLAP = "overlap"  # kind of the result that says which test images were seen before

Rows = Mapping[tuple[str, str, int], EvaluationRow]  # by cell name, loss key, seed


def confirm(
    ledger: Ledger,
    registration: Registration,
    sha256: str,
    overlaps: Sequence[Mapping[str, Any]],
    trainings: Trainings,
) -> dict[str, Any]:
    """Do what is registered, and record the result.

    Args:
        ledger: of the confirmation, whose registration was found unchanged.
        registration: what to do.
        sha256: of the registration.
        overlaps: what `find_overlaps` gave.
        trainings: with the tasks of all settings of all cells.

    Returns:
        The content of the result as JSON data, in the form that `docs/confirmation.md` describes.

    Raises:
        StoppedError, LossmithError: see `Trainings.run`.
    """
    trainings.expect(registration.trainings.tuning + registration.trainings.testing)
    tuning = tune(registration, trainings)
    rows = _test(registration, tuning, trainings)
    null = registration.null_search
    luck = None if null is None else luck_floor(located(null, ledger.directory))
    content = summarise(registration, sha256, tuning, rows, overlaps, luck)
    content["seconds"] = sum(row.seconds for row in ledger.evaluations())
    ledger.add_result(KIND, content)
    return content


def _test(registration: Registration, tuning: Tuning, trainings: Trainings) -> Rows:
    """Each loss at its tuned setting, with the fresh seeds, scored on the test images after the last step."""
    wanted: dict[tuple[str, str, int], Training] = {}
    for cell in registration.cells:
        tuned = tuning[cell.name]
        # losses of one setting are one task, and are trained together
        for loss in sorted(registration.losses, key=lambda loss: tuned[loss.key].chosen):
            task = tuned[loss.key].setting.task.task_id
            for seed in registration.seeds:
                wanted[cell.name, loss.key, seed] = Training(loss.row, task, seed, "test")
    found = trainings.run(wanted.values())
    return {place: found[training.key] for place, training in wanted.items()}


def summarise(
    registration: Registration,
    sha256: str,
    tuning: Tuning,
    rows: Rows,
    overlaps: Sequence[Mapping[str, Any]],
    luck: dict[str, Any] | None,
) -> dict[str, Any]:
    """The result, all but the seconds, of trainings that are all there."""
    from lossmith.study.analysis import Analysis, CellScores, analyse  # noqa: PLC0415 - scipy takes a second
    from lossmith.study.confirmation.calibration import calibration  # noqa: PLC0415 - likewise

    seeds = registration.seeds
    by_seed = {
        (cell.name, loss.key): [rows[cell.name, loss.key, seed] for seed in seeds]
        for cell in registration.cells
        for loss in registration.losses
    }
    scores = [
        CellScores(
            cell.name,
            cell.dataset,
            {loss.key: [row.score for row in by_seed[cell.name, loss.key]] for loss in registration.losses},
        )
        for cell in registration.cells
    ]
    keys = {role: [loss.key for loss in registration.losses if loss.role == role] for role in get_args(Role)}

    def compared(losses: Sequence[str], baseline: str) -> Analysis:
        return analyse(scores, losses, baseline, margin=registration.margin, confidence=registration.confidence)

    analysis = compared([loss.key for loss in registration.losses], registration.baseline)
    # what evolution gains over chance: each control in the baseline's place, a family of comparisons of its own
    against = {control: compared(keys["candidate"], control) for control in keys["control"]}
    measured = {
        cell.name: {
            loss.key: {
                "nll": [row.nll for row in by_seed[cell.name, loss.key]],
                "ece": [row.ece for row in by_seed[cell.name, loss.key]],
            }
            for loss in registration.losses
        }
        for cell in registration.cells
    }
    words = sentences(registration, analysis, against, tuning)
    words += [luck_sentence(luck)] if luck else []
    words += [f"Test images seen before: {text}" for text in overlap_sentences(overlaps)]
    return {
        "format": 1,
        "registration": registration.model_dump(mode="json"),
        "sha256": sha256,
        "losses": [
            {"key": each.key, "label": each.label, "formula": each.formula, "flip": each.flip, "role": each.role}
            for each in registration.losses
        ],
        "cells": [
            _cell(cell, tuning, {loss.key: by_seed[cell.name, loss.key] for loss in registration.losses})
            for cell in registration.cells
        ],
        "analysis": asdict(analysis),
        "controls": {key: asdict(each) for key, each in against.items()},
        "primary": {"loss": registration.primary.loss, "cell": registration.primary.cell},
        "sentences": words,
        "calibration": calibration(measured, registration.baseline, registration.confidence),
        "luck": luck,
        "overlaps": [dict(each) for each in overlaps],
    }


def _cell(cell: RegisteredCell, tuning: Tuning, rows: Mapping[str, Sequence[EvaluationRow]]) -> dict[str, Any]:
    return {
        "name": cell.name,
        "dataset": cell.dataset,
        "model": cell.model,
        "augmentation": cell.augmentation,
        "tuning": {key: tuned.content() for key, tuned in tuning[cell.name].items()},
        "scores": {
            key: {**scores_of(own), "task_id": tuning[cell.name][key].setting.task.task_id} for key, own in rows.items()
        },
    }
