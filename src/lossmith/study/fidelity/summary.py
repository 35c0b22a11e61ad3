"""The result of a fidelity study, from the evaluations that it wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lossmith.ledger import EvaluationKey, EvaluationRow
from lossmith.search.seeds import Purpose, stage_seeds
from lossmith.search.serving import EvaluationSetup
from lossmith.study.fidelity.config import ExpensiveConfig, FidelityConfig, SurrogateConfig, dataset_of
from lossmith.study.fidelity.cost import flops_until, training_flops
from lossmith.study.fidelity.losses import RankedLoss
from lossmith.study.fidelity.measure import Judge, Sample
from lossmith.study.fidelity.ranks import Array, scores_of
from lossmith.study.fidelity.recommendation import recommendation
from lossmith.verdict import Reason

Rows = Mapping[EvaluationKey, EvaluationRow]

ITSELF = "itself"  # one training of the expensive task, as if it were a surrogate


@dataclass(frozen=True, slots=True)
class Reading:
    """The trainings of a task, read at one step of theirs."""

    name: str
    group: SurrogateConfig | ExpensiveConfig
    step: int
    rows: tuple[tuple[EvaluationRow, ...], ...]  # by seed, then by loss

    @property
    def early(self) -> bool:
        return self.step < self.group.task.steps

    def values(self, seed: int) -> list[float | None]:
        """Each loss's validation accuracy at the step, with one of the seeds; None where it had failed by then."""
        return [value_at(row, self.step, self.group.task.steps) for row in self.rows[seed]]

    def scores(self) -> list[Array]:
        """The same by seed, ready to be ranked."""
        return [scores_of(self.values(seed)) for seed in range(len(self.rows))]

    def seconds(self) -> float:
        """Of training up to the step, the mean over losses and seeds; one that failed costs what it took until then."""
        return fmean(_seconds_at(row, self.step) for rows in self.rows for row in rows)


def value_at(row: EvaluationRow, step: int, steps: int) -> float | None:
    """The validation accuracy of a training of `steps` after `step` of them; None where it had failed by then."""
    if step == steps:
        return row.score
    record = _record(row, step)
    if record is None or (row.reason is Reason.BELOW_THRESHOLD and record is row.curve[-1]):
        return None
    return record["validation_accuracy"]


def summarise(
    config: FidelityConfig, setup: EvaluationSetup, losses: Sequence[RankedLoss], rows: Rows
) -> dict[str, Any]:
    """The content of the result, in the form that `docs/fidelity.md` describes; `rows` are all trainings'."""
    seeds = stage_seeds(config.seed, Purpose.FIDELITY, config.expensive.seeds)

    def readings(group: SurrogateConfig | ExpensiveConfig) -> list[Reading]:
        task = group.task
        found = tuple(
            tuple(rows[EvaluationKey(each.loss.key, task.task_id, seed, "validation")] for each in losses)
            for seed in seeds[: group.seeds]
        )
        early = [Reading(f"{group.name} at {step}", group, step, found) for step in sorted(set(group.at))]
        return [*early, Reading(group.name, group, task.steps, found)]

    *cut, whole = readings(config.expensive)
    others = [*(one for group in config.surrogates for one in readings(group)), *cut]
    judge = Judge(
        whole.scores(), top=config.top, confidence=config.confidence, resamples=config.resamples, seed=config.seed
    )
    taus = [judge.tau(reading.scores()) for reading in others]
    best = max(taus, key=lambda sample: sample.value)
    flops = {
        group.task.task_id: training_flops(
            group.task, setup.dataset(group.task.task_id).image_shape, setup.classes[group.task.task_id]
        )
        for group in (config.expensive, *config.surrogates)
    }

    def entry(reading: Reading, tau: Sample) -> dict[str, Any]:
        return {
            **_head(reading, losses, seeds),
            "cost": _cost(reading, whole, flops[reading.group.task.task_id]),
            **judge.measures(reading.scores()),
            "behind": tau.less(best).estimate(config.confidence),
        }

    itself, measures = judge.single()
    data = config.expensive.task.data
    expensive = {
        **_head(whole, losses, seeds),
        "dataset": dataset_of(data),
        "cost": _cost(whole, whole, flops[config.expensive.task.task_id]),
        "reliability": judge.reliability(),
        "single": {**measures, "ahead": itself.less(best).estimate(config.confidence)},
    }
    surrogates = [entry(reading, tau) for reading, tau in zip(others, taus, strict=True)]
    return {
        "format": 1,
        "losses": [each.stored() for each in losses],
        "expensive": expensive,
        "surrogates": surrogates,
        "top": list(config.top),
        "confidence": config.confidence,
        "resamples": config.resamples,
        "evaluations": len(rows),
        "seconds": sum(row.seconds for row in rows.values()),
        "recommendation": recommendation(len(losses), expensive, surrogates),
    }


def _head(reading: Reading, losses: Sequence[RankedLoss], seeds: Sequence[int]) -> dict[str, Any]:
    """What a task is, and its scores with the evaluations that they come from."""
    by_seed = [reading.values(seed) for seed in range(len(reading.rows))]
    return {
        "name": reading.name,
        "task": reading.group.task.name,
        "task_id": reading.group.task.task_id,
        "early": reading.early,
        "step": reading.step,
        "steps": reading.group.task.steps,
        "seeds": list(seeds[: len(reading.rows)]),
        "failed": sum(any(values[place] is None for values in by_seed) for place in range(len(losses))),
        "failures": _failures(reading),
        "scores": {
            each.loss.key: {
                "values": [values[place] for values in by_seed],
                "evaluations": [rows[place].id for rows in reading.rows],
            }
            for place, each in enumerate(losses)
        },
    }


def _failures(reading: Reading) -> dict[str, int]:
    """Trainings that had failed by the step, by their verdict."""
    found: dict[str, int] = {}
    for rows in reading.rows:
        for row in rows:
            if value_at(row, reading.step, reading.group.task.steps) is None:
                found[row.reason.value] = found.get(row.reason.value, 0) + 1
    return found


def _cost(reading: Reading, whole: Reading, flops: list[float]) -> dict[str, float]:
    seconds = reading.seconds()
    return {
        "seconds": seconds,
        "share": seconds / whole.seconds() if whole.seconds() else 0.0,
        "steps": reading.step,
        "flops": flops_until(reading.group.task, flops, reading.step),
    }


def _seconds_at(row: EvaluationRow, step: int) -> float:
    record = _record(row, step)
    return row.seconds if record is None or record is row.curve[-1] else record["seconds"]


def _record(row: EvaluationRow, step: int) -> Mapping[str, Any] | None:
    return next((record for record in row.curve if record["step"] == step), None)
