"""The main loop of a search: ask, evaluate, tell, with every step in the ledger before the next.

A search that was stopped, by Ctrl-C or by `kill -9`, goes on where it was: its asks and tells are in the ledger, and so
is every finished evaluation, told or not.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from lossmith.config import RunConfig
from lossmith.execution.base import Executor
from lossmith.ledger import CandidateRow, EvaluationRow, Ledger, LossRow
from lossmith.search.best import of_search
from lossmith.search.candidate import Abandoned, Candidate, Event, Outcome, Stage
from lossmith.search.evaluation import Answer, Evaluations, expression_row, register, zoo_row
from lossmith.search.evolution import Evolution
from lossmith.search.rungs.rungs import Rungs
from lossmith.search.seeds import training_seed
from lossmith.search.serving import EvaluationSetup
from lossmith.space.expression import Expression
from lossmith.space.genome import Genome
from lossmith.space.integrity import phenotype, two_class_curve
from lossmith.space.mutation import Individual, Mutation
from lossmith.train.threads import one_thread
from lossmith.verdict import Reason

_POLL = 0.2  # seconds between looks at `should_stop`
_REFERENCE = -1  # the ticket of cross-entropy's evaluation; candidates are numbered from 0


@dataclass(slots=True)
class Progress:
    """Where a search is; `update` of `search` is given one several times a second."""

    total: int  # evaluations in all, retries and reused ones not counted
    stage: Stage = Stage.SCREENING
    told: int = 0  # candidates whose outcome the search knows
    evaluated: int = 0  # evaluations finished by this process
    reused: int = 0  # outcomes that the ledger already held
    best: float | None = None  # validation accuracy on the search's own task
    best_formula: str = ""
    verdicts: Counter[Reason] = field(default_factory=Counter)
    rate: float = 0.0  # evaluations per second, of this process
    seconds_left: float | None = None


def search(
    ledger: Ledger,
    config: RunConfig,
    setup: EvaluationSetup,
    *,
    executor: Executor,
    update: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda text: None,
) -> Progress:
    """Run the search of `config` from where `ledger` has it to its end, or until `should_stop`.

    `setup` is what `planned` gives for the configuration's two tasks. `executor` is begun here, and closed by whoever
    made it. `say` is given what a person should know, a line at a time.

    Raises:
        RunError, SearchError: see `register` and `Evolution`; everything finished is in the ledger.
    """
    with one_thread():
        return _search(ledger, config, setup, executor, update, should_stop, say)


def _search(
    ledger: Ledger,
    config: RunConfig,
    setup: EvaluationSetup,
    executor: Executor,
    update: Callable[[Progress], None],
    should_stop: Callable[[], bool],
    say: Callable[[str], None],
) -> Progress:
    register(setup, ledger)
    rungs = Rungs(config.rungs, setup.classes[config.task.task_id])
    evolution = Evolution(config.search, config.space, config.seed, rungs)
    total = sum(evolution.remaining().values())
    evolution.restore(_events(ledger))
    meter = _Meter(config, evolution, ledger, total, update)
    if evolution.done:
        return meter.progress
    executor.begin(setup, config.execution.time_limit, setup.slots)
    evaluations = Evaluations(ledger, executor, setup.plans, say)
    _loop(ledger, config, evolution, evaluations, executor.capacity, meter, should_stop)
    return meter.progress


def _loop(
    ledger: Ledger,
    config: RunConfig,
    evolution: Evolution,
    evaluations: Evaluations,
    capacity: int,
    meter: _Meter,
    should_stop: Callable[[], bool],
) -> None:
    seed = training_seed(config.seed)
    waiting = {candidate.number: candidate for candidate in evolution.waiting()}  # in the order of asking
    finished: dict[int, EvaluationRow] = {}  # not told yet
    reference: bool | None = None  # whether cross-entropy's evaluation is there; None: not asked for yet

    def request(candidate: Candidate) -> None:
        task = config.screening if candidate.stage is Stage.SCREENING else config.task
        individual = candidate.individual
        loss = expression_row(individual.expression, individual.flip)
        evaluations.request(candidate.number, loss, task.task_id, seed)

    def collect(timeout: float) -> None:
        nonlocal reference
        for answer in evaluations.wait(timeout):
            if answer.ticket == _REFERENCE:
                reference = True
            else:
                finished[answer.ticket] = answer.row
                meter.finished(answer)

    for candidate in waiting.values():
        request(candidate)
    while not (evolution.done and reference) and not should_stop():
        if reference is None and evolution.stage is not Stage.SCREENING:
            # what every fitness is seen beside; no part of the evolution
            evaluations.request(_REFERENCE, zoo_row("cross_entropy"), config.task.task_id, seed)
            reference = False
        while len(waiting) < _most_waiting(config, evolution.stage, capacity):
            if should_stop():
                return  # before anything is told: that comes when as many wait as may
            candidate = evolution.ask()
            for abandoned in evolution.take_abandoned():
                ledger.add_abandoned(abandoned.iteration)
            if candidate is None:
                break
            loss = expression_row(candidate.individual.expression, candidate.individual.flip)
            ledger.add_candidate(loss, candidate_row(candidate))
            waiting[candidate.number] = candidate
            request(candidate)
            collect(0.0)  # asking takes time, in which workers end what they hold
            meter.tick()
        tellable = waiting if not config.search.deterministic else list(waiting)[:1]  # the first asked first
        number = next((number for number in tellable if number in finished), None)
        if number is None:
            collect(_POLL)
        else:  # one at a time: asking again comes after each tell, whether the next outcome is there already or not
            row = finished.pop(number)
            del waiting[number]
            ledger.tell(number, row.id)
            evolution.tell(number, _outcome(row))
        meter.tick()


def _most_waiting(config: RunConfig, stage: Stage, capacity: int) -> int:
    """How many candidates may wait for their outcome at once.

    What the first two stages ask for depends on no outcome of the same stage, so as many may wait as keep all workers
    busy. In the evolution stage the number decides which members a parent is chosen from; in a random search's last
    stage, which losses come after one that failed, and so must differ from its replacement.
    """
    in_flight = config.search.in_flight
    return max(in_flight, 2 * capacity) if stage in (Stage.SCREENING, Stage.SELECTION) else in_flight


def _events(ledger: Ledger) -> Iterator[Event]:
    """What is recorded of a search, in the order in which it happened."""
    evaluations = {row.id: row for row in ledger.evaluations()}
    losses = ledger.losses()
    events: dict[int, Event] = {place: Abandoned(iteration) for place, iteration in ledger.abandoned().items()}
    for row in ledger.candidates():
        events[row.asked] = _candidate(row, losses[row.loss])
        if row.told is not None and row.evaluation is not None:
            events[row.told] = (row.number, _outcome(evaluations[row.evaluation]))
    return (events[place] for place in sorted(events))


def _outcome(row: EvaluationRow) -> Outcome:
    return Outcome(row.reason, row.score)


def candidate_row(candidate: Candidate) -> CandidateRow:
    return CandidateRow(
        number=candidate.number,
        stage=candidate.stage.value,
        iteration=candidate.iteration,
        attempt=candidate.attempt,
        loss=candidate.individual.expression.key,
        genome=candidate.individual.genome.nodes(),
        parent=candidate.parent,
        mutation=asdict(candidate.mutation) if candidate.mutation else None,
        refused={reason.value: count for reason, count in candidate.refused.items()},
        asked=0,
        told=None,
        evaluation=None,
        rung_seconds={reason.value: seconds for reason, seconds in candidate.rung_seconds.items()},
    )


def _candidate(row: CandidateRow, loss: LossRow) -> Candidate:
    expression, flip = Expression.from_text(loss.formula), bool(loss.flip)
    # not checked again: the verdict of a curve that is flat to rounding may differ on another machine
    curve = phenotype(two_class_curve(expression), flip)
    individual = Individual(Genome.from_nodes(row.genome), expression, flip, curve)
    mutation = None
    if (change := row.mutation) is not None:
        mutation = Mutation(change["kind"], change["node"], tuple(change["before"]), tuple(change["after"]))
    refused = {Reason(reason): count for reason, count in row.refused.items()}
    return Candidate(
        row.number, Stage(row.stage), row.iteration, row.attempt, individual, row.parent, mutation, refused
    )


class _Meter:
    """Keeps the figures of `Progress`."""

    def __init__(
        self,
        config: RunConfig,
        evolution: Evolution,
        ledger: Ledger,
        total: int,
        update: Callable[[Progress], None],
    ) -> None:
        self._screening = config.screening
        self._task = config.task
        self._evolution = evolution
        self._ledger = ledger
        self._update = update
        self._began = time.monotonic()
        self._steps = 0  # nominal training steps of what this process finished
        self.progress = Progress(total)
        for row in of_search(ledger.evaluations(), config):
            self._count(row)
        self.tick()

    def finished(self, answer: Answer) -> None:
        if answer.reused:
            self.progress.reused += 1
            return
        self._count(answer.row)
        self.progress.evaluated += 1
        self._steps += (self._screening if answer.row.key.task == self._screening.task_id else self._task).steps

    def tick(self) -> None:
        progress, remaining = self.progress, self._evolution.remaining()
        elapsed = time.monotonic() - self._began
        progress.stage = self._evolution.stage
        progress.told = progress.total - sum(remaining.values())
        progress.rate = progress.evaluated / elapsed
        if self._steps:
            screening = remaining.pop(Stage.SCREENING)
            steps_left = screening * self._screening.steps + sum(remaining.values()) * self._task.steps
            progress.seconds_left = steps_left / self._steps * elapsed
        self._update(progress)

    def _count(self, row: EvaluationRow) -> None:
        progress = self.progress
        progress.verdicts[row.reason] += 1
        better = row.score is not None and (progress.best is None or row.score > progress.best)
        if better and row.key.task == self._task.task_id:
            progress.best = row.score
            progress.best_formula = self._ledger.loss(row.key.loss).minimised
