"""Trainings that a stage after the search wants: each a loss, a task, a seed and a split, kept in the stage's ledger.

What the ledger holds is not run again, so a stage that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lossmith.execution.base import Executor
from lossmith.ledger import EvaluationKey, EvaluationRow, Ledger, LossRow
from lossmith.search.evaluation import Evaluations, register
from lossmith.search.serving import EvaluationSetup, Split

_POLL = 0.2  # seconds between looks at `should_stop`


class StoppedError(Exception):
    """`should_stop` asked for the end; everything finished is in the ledger."""


@dataclass(frozen=True, slots=True)
class Training:
    """One loss trained once."""

    loss: LossRow
    task: str  # task_id
    seed: int
    split: Split = "validation"

    @property
    def key(self) -> EvaluationKey:
        return EvaluationKey(self.loss.key, self.task, self.seed, self.split)


class Trainings:
    """Trains in as many rounds as a stage wants, with the same workers."""

    def __init__(
        self,
        ledger: Ledger,
        setup: EvaluationSetup,
        executor: Executor,
        *,
        time_limit: float | None = None,
        update: Callable[[int, int], None] = lambda done, total: None,
        should_stop: Callable[[], bool] = lambda: False,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Registers the tasks, and begins the executor.

        Args:
            ledger: takes the evaluations; its session has begun.
            setup: what `planned` gives for all tasks of all rounds.
            executor: not begun; closed by whoever made it.
            time_limit: wall seconds per training.
            update: told of the progress: trainings that are done, and how many are known to be wanted.
            should_stop: asked several times a second.
            say: given what a person should know, a line at a time.

        Raises:
            RunError: a task's data or splits are not what the run began with.
        """
        register(setup, ledger)
        executor.begin(setup, time_limit, setup.slots)
        self._evaluations = Evaluations(ledger, executor, setup.plans, say)
        self._update, self._should_stop = update, should_stop
        self._done = self._tickets = 0
        self._total = 0

    def expect(self, total: int) -> None:
        """Say how many trainings all rounds will want, for the progress; without it, what was asked for counts."""
        self._total = total

    def run(
        self, wanted: Iterable[Training], ended: Callable[[EvaluationRow], None] = lambda row: None
    ) -> dict[EvaluationKey, EvaluationRow]:
        """The evaluation of each training, in the order in which they are begun: the ledger's, or a new one.

        `ended` is given each as soon as it is there, in no order.

        Raises:
            StoppedError: `should_stop` said yes.
            LossmithError: several evaluations in a row raised an unexpected error.
        """
        found: dict[EvaluationKey, EvaluationRow] = {}
        keys = {each.key: each for each in wanted}  # each once
        self._total = max(self._total, self._done + len(keys))
        for each in keys.values():
            self._evaluations.request(self._tickets, each.loss, each.task, each.seed, each.split)
            self._tickets += 1
        self._update(self._done, self._total)
        while len(found) < len(keys):
            if self._should_stop():
                raise StoppedError
            for answer in self._evaluations.wait(_POLL):
                found[answer.row.key] = answer.row
                self._done += 1
                ended(answer.row)
            self._update(self._done, self._total)
        return {key: found[key] for key in keys}


def scores_of(rows: Sequence[EvaluationRow]) -> dict[str, list[Any]]:
    """What a result holds of trainings, in their order: accuracies, NLL, ECE, and the evaluations' ids."""
    return {
        "values": [row.score for row in rows],
        "nll": [row.nll for row in rows],
        "ece": [row.ece for row in rows],
        "evaluations": [row.id for row in rows],
    }
