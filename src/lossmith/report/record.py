"""What a search did, derived from a snapshot: its evaluations, their ranking, its state, lineage, counts."""

from __future__ import annotations

import functools
import statistics
from collections import Counter
from dataclasses import dataclass

from lossmith.config import RunConfig, from_stored
from lossmith.ledger import FILE, CandidateRow, EvaluationRow, LossRow
from lossmith.losses.zoo.templates import cross_entropy
from lossmith.report.snapshot import Snapshot
from lossmith.search.best import of_search, ranked
from lossmith.search.candidate import Stage
from lossmith.search.serving import ZOO
from lossmith.space.expression import Expression
from lossmith.verdict import Reason

_CROSS_ENTROPY = "cross_entropy"


@dataclass(frozen=True, slots=True)
class State:
    """How far a search is; counted as `lossmith.search.run.Progress` does."""

    told: int
    total: int
    last: float | None  # Unix time at which the newest evaluation of the search finished

    @property
    def finished(self) -> bool:
        return self.told == self.total


@dataclass(frozen=True, slots=True)
class Ranked:
    """One loss of the ranking."""

    rank: int  # from 1
    loss: LossRow
    evaluation: EvaluationRow
    score: float  # validation accuracy in [0, 1]
    candidate: CandidateRow | None  # the first that this evaluation answers


@dataclass(frozen=True, slots=True)
class Step:
    """One candidate of a lineage, with its evaluation."""

    candidate: CandidateRow
    loss: LossRow
    evaluation: EvaluationRow | None


@dataclass(frozen=True, slots=True)
class Baseline:
    """Cross-entropy on the search's own task and validation split."""

    score: float  # accuracy in [0, 1], the mean over the trainings
    trainings: int


@dataclass(frozen=True)
class SearchRecord:
    """A search, from the ledger that it wrote."""

    snapshot: Snapshot
    config: RunConfig

    @staticmethod
    def of(snapshot: Snapshot) -> SearchRecord | None:
        """The search in a snapshot; None where the run is a comparison alone.

        Raises:
            ConfigError: the stored configuration is not one that this version knows.
        """
        if "search" not in snapshot.configuration:
            return None
        where = f"{snapshot.directory / FILE}: stored configuration"
        return SearchRecord(snapshot, from_stored(snapshot.configuration, where))

    # -- evaluations -----------------------------------------------------------------------------------------------

    @functools.cached_property
    def evaluations(self) -> list[EvaluationRow]:
        """The evaluations that the search asked for, in the order in which they finished; those of studies are not."""
        return of_search(self.snapshot.evaluations, self.config)

    def candidate_of(self, evaluation: EvaluationRow) -> CandidateRow | None:
        """The first candidate that asked for an evaluation."""
        return self._first_candidates.get((evaluation.key.loss, evaluation.key.task))

    def evaluation_of(self, candidate: CandidateRow) -> EvaluationRow | None:
        """The evaluation that answers a candidate, told or not; None while it is awaited."""
        return self._by_loss_and_task.get((candidate.loss, self.task_of(candidate.stage)))

    def task_of(self, stage: str) -> str:
        """The id of the task that candidates of a stage are evaluated on."""
        return (self.config.screening if stage == Stage.SCREENING else self.config.task).task_id

    @functools.cached_property
    def _first_candidates(self) -> dict[tuple[str, str], CandidateRow]:
        first: dict[tuple[str, str], CandidateRow] = {}
        for candidate in self.snapshot.candidates:
            first.setdefault((candidate.loss, self.task_of(candidate.stage)), candidate)
        return first

    @functools.cached_property
    def _by_loss_and_task(self) -> dict[tuple[str, str], EvaluationRow]:
        return {(row.key.loss, row.key.task): row for row in self.evaluations}

    # -- results ---------------------------------------------------------------------------------------------------

    @functools.cached_property
    def ranking(self) -> list[Ranked]:
        """The losses that trained on the search's own task, the best first, each once; ties go to the earlier."""
        return [
            Ranked(rank, self.snapshot.losses[row.key.loss], row, row.score or 0.0, self.candidate_of(row))
            for rank, row in enumerate(ranked(self.snapshot.evaluations, self.config), start=1)
        ]

    @functools.cached_property
    def baseline(self) -> Baseline | None:
        """Cross-entropy's validation accuracy on the search's own task, where the ledger holds it."""
        own, names = self.config.task.task_id, _cross_entropy_keys()
        scores = [
            row.score
            for row in self.snapshot.evaluations
            if row.score is not None and row.key.loss in names and row.key.task == own and row.key.split == "validation"
        ]
        return Baseline(statistics.fmean(scores), len(scores)) if scores else None

    def lineage(self, ranked: Ranked) -> list[Step]:
        """From the random loss that a loss descends from, mutation by mutation, to that loss."""
        by_number = {candidate.number: candidate for candidate in self.snapshot.candidates}
        steps: list[Step] = []
        candidate = ranked.candidate
        while candidate is not None:
            loss = self.snapshot.losses[candidate.loss]
            steps.append(Step(candidate, loss, self.evaluation_of(candidate)))
            # a parent has a lower number; anything else would be a damaged ledger, and could be a circle
            parent = candidate.parent
            candidate = by_number.get(parent) if parent is not None and parent < candidate.number else None
        return steps[::-1]

    # -- state and counts ------------------------------------------------------------------------------------------

    @functools.cached_property
    def state(self) -> State:
        search = self.config.search
        told = [candidate for candidate in self.snapshot.candidates if candidate.told is not None]
        screened = [candidate for candidate in told if candidate.stage == Stage.SCREENING]
        selected = sum(candidate.stage == Stage.SELECTION for candidate in told)
        wanted = search.population
        if len(screened) == search.initial:  # where fewer trained than the population holds, all of them are selected
            wanted = min(wanted, sum(map(self._trained, screened)))
        remaining = search.initial - len(screened) + wanted - selected + search.iterations - self._iterations_ended()
        total = search.initial + search.population + search.iterations
        last = self.evaluations[-1].finished if self.evaluations else None
        return State(total - remaining, total, last)

    def _trained(self, candidate: CandidateRow) -> bool:
        evaluation = self.evaluation_of(candidate)
        return evaluation is not None and evaluation.reason.ok

    def _iterations_ended(self) -> int:
        """The iterations of the last stage whose candidate trained, or that were given up."""
        last = [each for each in self.snapshot.candidates if each.stage in (Stage.EVOLUTION, Stage.RANDOM)]
        last_attempts = {candidate.iteration: candidate for candidate in last}  # the highest number comes last
        return sum(
            candidate.told is not None
            and (
                self._trained(candidate)
                or candidate.attempt >= self.config.search.retries
                or candidate.iteration in self.snapshot.abandoned
            )
            for candidate in last_attempts.values()
        )

    @functools.cached_property
    def verdicts(self) -> Counter[Reason]:
        """The evaluations of the search by verdict."""
        return Counter(row.reason for row in self.evaluations)

    @functools.cached_property
    def refused(self) -> Counter[str]:
        """The drafts that were refused before any training, by the stored name of the reason."""
        counts: Counter[str] = Counter()
        for candidate in self.snapshot.candidates:
            counts.update(candidate.refused)
        return counts


@functools.cache
def _cross_entropy_keys() -> tuple[str, str]:
    """A ledger may hold cross-entropy as the zoo's loss, or as the formula that it is."""
    return f"{ZOO}{_CROSS_ENTROPY}", Expression.from_text(cross_entropy()).key
