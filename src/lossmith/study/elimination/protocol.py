"""The phases of an elimination: all that are left are trained, the best go on, until the last phase's are final."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lossmith.errors import RunError
from lossmith.ledger import EvaluationRow, Ledger
from lossmith.search.seeds import Purpose, stage_seeds
from lossmith.study.elimination.candidates import Candidate, Entry
from lossmith.study.elimination.config import EliminationConfig, PhaseConfig, RacingConfig
from lossmith.study.elimination.finalists import KIND
from lossmith.study.elimination.posterior import levels
from lossmith.study.elimination.racing import Race
from lossmith.study.trainings import Training, Trainings

FORMAT = 1
_DIGITS = 9  # of a mean accuracy that count: of equal scores, sums and least squares differ in the last ones


@dataclass
class _Phase:
    """A phase under way."""

    config: PhaseConfig
    seeds: list[int]
    rows: dict[str, list[EvaluationRow]] = field(default_factory=dict)  # key -> by seed, as many as it was given
    races: list[Race] = field(default_factory=list)
    kept: list[Candidate] = field(default_factory=list)  # the best first

    def values(self, key: str) -> list[float | None]:
        return [row.score for row in self.rows[key]]

    @property
    def trainings(self) -> int:
        return sum(map(len, self.rows.values()))

    @property
    def seconds(self) -> float:
        return sum(row.seconds for rows in self.rows.values() for row in rows)


class Elimination:
    """The phases, one after the other; what the ledger holds is not trained again, so a second run goes on."""

    def __init__(
        self,
        config: EliminationConfig,
        entry: Entry,
        trainings: Trainings,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """
        Args:
            config: the phases; their tasks are those that `trainings` knows.
            entry: who takes part.
            trainings: trains, or finds in the ledger.
            say: given a line at the end of each phase.
        """
        self._config, self._entry, self._trainings, self._say = config, entry, trainings, say
        self._done = 0

    def run(self) -> dict[str, Any]:
        """Go through all phases.

        Returns:
            The result as JSON data, in the form that `docs/elimination.md` describes.

        Raises:
            RunError: in some phase, every loss failed to train.
            StoppedError, LossmithError: see `Trainings.run`.
        """
        losses = list(self._entry.candidates)
        order = sorted(losses, key=lambda loss: -loss.fitness)  # who wins a tie; of equals, the earlier
        ended: list[_Phase] = []
        for config, seeds in zip(self._config.phases, phase_seeds(self._config), strict=True):
            phase = _Phase(config, seeds)
            batches = dealt(losses, config.batch)
            for number, batch in enumerate(batches):
                members = [loss for loss in order if loss in batch]
                self._expect(phase, members, batches[number + 1 :])
                racing = self._racing(config)
                phase.kept += self._race(phase, members, racing) if racing else self._all_seeds(phase, members)
            if not phase.kept:
                raise RunError(f"phase '{config.name}': every loss failed to train; look at its task's settings")
            phase.kept = ranked(phase, [loss for loss in order if loss in phase.kept])
            losses = order = phase.kept
            ended.append(phase)
            self._say(_sentence(phase))
        return _content(self._entry, ended)

    def _racing(self, config: PhaseConfig) -> RacingConfig | None:
        """How a phase races; None where it has no more seeds than every loss gets."""
        racing = self._config.racing
        return racing if racing is not None and config.seeds > racing.least else None

    def _all_seeds(self, phase: _Phase, members: Sequence[Candidate]) -> list[Candidate]:
        self._train(phase, members, range(len(phase.seeds)))
        return ranked(phase, members)[: phase.config.keep]

    def _race(self, phase: _Phase, members: Sequence[Candidate], racing: RacingConfig) -> list[Candidate]:
        by_key = {loss.loss.key: loss for loss in members}
        race = Race(list(by_key), phase.config.keep, seeds=len(phase.seeds), least=racing.least, error=racing.error)
        phase.races.append(race)
        while wanted := race.ask():
            numbers = sorted({number for _, number in wanted})
            losses = [by_key[key] for key in dict.fromkeys(key for key, _ in wanted)]  # each wants the same seeds
            self._train(phase, losses, numbers)
            race.tell({(key, number): phase.rows[key][number].score for key, number in wanted})
        return [by_key[key] for key, decision in race.decisions.items() if decision.kept]

    def _train(self, phase: _Phase, losses: Sequence[Candidate], numbers: Iterable[int]) -> None:
        """Add the rows of some seeds, the next ones for each of the losses."""
        task, seeds = phase.config.task.task_id, [phase.seeds[number] for number in numbers]
        wanted = {(loss.loss.key, seed): Training(loss.loss, task, seed) for seed in seeds for loss in losses}
        found = self._trainings.run(wanted.values())
        self._done += len(wanted)
        for (key, _), training in wanted.items():
            phase.rows.setdefault(key, []).append(found[training.key])

    def _expect(self, phase: _Phase, members: Sequence[Candidate], later: Sequence[Sequence[Candidate]]) -> None:
        """Say how many trainings there will be; with racing, at most."""
        left = (len(members) + sum(map(len, later))) * len(phase.seeds)
        sizes = [len(phase.kept) + sum(min(phase.config.keep, len(batch)) for batch in (members, *later))]
        for config in self._config.phases[self._config.phases.index(phase.config) + 1 :]:
            left += sizes[-1] * config.seeds
            sizes.append(sum(min(config.keep, size) for size in _sizes(sizes[-1], config.batch)))
        self._trainings.expect(self._done + left)


def eliminate(
    ledger: Ledger,
    config: EliminationConfig,
    entry: Entry,
    trainings: Trainings,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Run an elimination to its end and record its result in the ledger; arguments and errors as `Elimination`."""
    content = Elimination(config, entry, trainings, say).run()
    ledger.add_result(KIND, content)
    return content


def phase_seeds(config: EliminationConfig) -> list[list[int]]:
    """The training seeds of each phase: all different, so that no phase repeats the luck of another."""
    counts = [phase.seeds for phase in config.phases]
    seeds = stage_seeds(config.seed, Purpose.ELIMINATION, sum(counts))
    return [seeds[sum(counts[:number]) : sum(counts[: number + 1])] for number in range(len(counts))]


def dealt(losses: Sequence[Candidate], most: int | None) -> list[list[Candidate]]:
    """The losses in as few batches of at most `most` as there can be, dealt like cards: each has a share of all ranks.

    The batches' sizes differ by one at most, so none is left with a single loss.
    """
    count = len(_sizes(len(losses), most))
    return [list(losses[number::count]) for number in range(count)]


def _sizes(losses: int, most: int | None) -> list[int]:
    count = 1 if most is None else math.ceil(losses / most)
    return [len(range(number, losses, count)) for number in range(count)]


def ranked(phase: _Phase, members: Sequence[Candidate]) -> list[Candidate]:
    """Those of `members` that never failed, the best first; of equals, the one that comes first.

    By the mean accuracy; where a race gave them different numbers of seeds, by their levels (`posterior.levels`).
    """
    whole = [loss for loss in members if None not in phase.values(loss.loss.key)]
    if not whole:
        return []
    level = {loss.loss.key: value for loss, value in zip(whole, _levels(phase, whole), strict=True)}
    return sorted(whole, key=lambda loss: -level[loss.loss.key])


def _levels(phase: _Phase, members: Sequence[Candidate]) -> list[float]:
    table = np.full((len(members), len(phase.seeds)), np.nan)
    for place, loss in enumerate(members):
        values = phase.values(loss.loss.key)
        table[place, : len(values)] = values
    means = np.nanmean(table, axis=1) if len({len(phase.rows[loss.loss.key]) for loss in members}) == 1 else None
    return [round(float(value), _DIGITS) for value in (levels(table) if means is None else means)]


def _sentence(phase: _Phase) -> str:
    best = phase.kept[0]
    values = [value for value in phase.values(best.loss.key) if value is not None]
    mean = sum(values) / len(values)
    went_on = f"{len(phase.kept)} of {len(phase.rows)} losses go on"
    return (
        f"{phase.config.name} ({phase.config.task.name}): {went_on} after {phase.trainings} trainings; best {mean:.2%}"
    )


def _content(entry: Entry, phases: Sequence[_Phase]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "format": FORMAT,
        **entry.stored(),
        "phases": [_phase_content(phase) for phase in phases],
        "finalists": [loss.loss.key for loss in phases[-1].kept],
        "evaluations": sum(phase.trainings for phase in phases),
        "seconds": sum(phase.seconds for phase in phases),
    }
    if any(phase.races for phase in phases):
        content["seconds_saved"] = sum(_saved(phase) * phase.seconds / phase.trainings for phase in phases)
    return content


def _saved(phase: _Phase) -> int:
    """Trainings that the races of a phase did without."""
    return len(phase.rows) * len(phase.seeds) - phase.trainings if phase.races else 0


def _phase_content(phase: _Phase) -> dict[str, Any]:
    kept = {loss.loss.key for loss in phase.kept}
    scores: dict[str, Any] = {}
    for key, rows in phase.rows.items():
        values = phase.values(key)
        there = [value for value in values if value is not None]
        mean = sum(there) / len(there) if len(there) == len(values) else None
        evaluations = [row.id for row in rows]
        scores[key] = {"values": values, "evaluations": evaluations, "mean": mean, "kept": key in kept}
    racing = None
    if phase.races:
        racing = {
            "spent": [race.spent for race in phase.races],
            "trainings": phase.trainings,
            "fixed_trainings": phase.trainings + _saved(phase),
            "decisions": {key: asdict(found) for race in phase.races for key, found in race.decisions.items()},
        }
    return {
        "name": phase.config.name,
        "task": phase.config.task.name,
        "task_id": phase.config.task.task_id,
        "seeds": phase.seeds,
        "keep": phase.config.keep,
        "batch": phase.config.batch,
        "racing": racing,
        "scores": scores,
    }
