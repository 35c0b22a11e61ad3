"""Regularized evolution of losses, ask/tell: pure, seeded, and without any training of its own.

Source: arXiv 2403.08793, search. Three stages, each starting when the one before is told:

    screening   `initial` random valid losses that pass the rungs, on the cheap screening task
    selection   the best `population` of them, on the search's own task; those that train form the population
    evolution   `iterations` times: the best of `tournament` members drawn with replacement is mutated; the child joins
                the population, the oldest leaves

Every random choice comes from a stream of its own, named by (stage, iteration, attempt) under the search's seed. So the
candidate that is asked depends on the seed and on what was told before, and not on workers, timing, or restarts.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from lossmith.config import SearchConfig
from lossmith.errors import LossmithError
from lossmith.search.drafts import RandomDrafts
from lossmith.search.living import Living
from lossmith.search.rungs.rungs import Rungs
from lossmith.search.seeds import EVOLUTION_STREAM, SCREENING_STREAM
from lossmith.space.config import SpaceConfig
from lossmith.space.mutation import Individual, Mutation, duplicate, mutate
from lossmith.verdict import Reason

_MAX_PARENTS = 100  # parents without a valid child in a row before the space is declared exhausted


class Stage(enum.StrEnum):
    SCREENING = "screening"
    SELECTION = "selection"
    EVOLUTION = "evolution"


_STREAM = {Stage.SCREENING: SCREENING_STREAM, Stage.EVOLUTION: EVOLUTION_STREAM}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One loss to be evaluated."""

    number: int  # from 0, in the order of asking
    stage: Stage
    iteration: int  # from 0 within the stage
    attempt: int  # 0, or 1..retries for a replacement of a child whose training failed
    individual: Individual
    parent: int | None = None  # number of the candidate it was mutated from, or (selection) screened as
    mutation: Mutation | None = None
    refused: dict[Reason, int] = field(default_factory=dict)  # drafts that were refused before it, by reason
    # what the rungs took to find it, by the reason that each refuses with
    rung_seconds: dict[Reason, float] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What training a candidate gave."""

    reason: Reason
    fitness: float | None = None  # validation score, higher is better; None unless `reason` is OK


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A failed child was to be replaced, and no valid new mutant of its parent was found: the iteration ended."""

    iteration: int


Event = Candidate | tuple[int, Outcome] | Abandoned  # an ask, a tell (number and outcome), or a retry given up


@dataclass(frozen=True, slots=True)
class Member:
    """One living member of the population."""

    number: int
    individual: Individual
    fitness: float


class SearchError(LossmithError):
    """A search that cannot go on, or a call of ask/tell out of order."""


class Evolution:
    """The state of one search. `ask` until it gives None, `tell` each outcome, until `done`."""

    def __init__(self, search: SearchConfig, space: SpaceConfig, seed: int, rungs: Rungs | None = None) -> None:
        """`rungs` must be fresh: what this search asks for is remembered there. None: nothing beyond the method."""
        self._search = search
        self._space = space
        self._seed = seed
        self._asked = 0
        self._stage = Stage.SCREENING
        self._begun = 0  # iterations of the present stage that were begun
        self._ended = 0  # ... and ended
        self._waiting: dict[int, Candidate] = {}  # asked, not told
        self._scored: list[Member] = []  # of screening, then of selection
        self._selected: list[Member] = []
        self._retries: deque[Candidate] = deque()  # failed children that are to be replaced
        self._abandoned: list[Abandoned] = []  # not yet taken
        self._reasons: Counter[Reason] = Counter()  # of the present stage
        self.population: deque[Member] = deque()  # the oldest first
        self._members: dict[int, Member] = {}
        self._rungs = rungs
        self._known = Living(search.phenotype_distance)
        self._drafts = RandomDrafts(space, lambda i: self._stream(Stage.SCREENING, i, 0), search.initial)

    # -- asking ----------------------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        return self._stage is Stage.EVOLUTION and self._ended == self._search.iterations

    @property
    def stage(self) -> Stage:
        return self._stage

    def remaining(self) -> dict[Stage, int]:
        """The outcomes that each stage still wants, retries not counted; an estimate for stages to come."""
        search = self._search
        wanted = {
            Stage.SCREENING: search.initial,
            Stage.SELECTION: search.population,
            Stage.EVOLUTION: search.iterations,
        }
        for stage in Stage:
            if stage is self._stage:
                whole = len(self._selected) if stage is Stage.SELECTION else wanted[stage]
                wanted[stage] = whole - self._ended
                break
            wanted[stage] = 0
        return wanted

    def ask(self) -> Candidate | None:
        """The next candidate, or None where an outcome must be told first (or the search is done).

        Raises:
            SearchError: no random loss, or no child of any parent, is valid and new.
        """
        match self._stage:
            case Stage.SCREENING:
                candidate = self._ask_random() if self._begun < self._search.initial else None
            case Stage.SELECTION:
                candidate = self._ask_selected() if self._begun < len(self._selected) else None
            case Stage.EVOLUTION:
                candidate = self._ask_child()
        if candidate is not None:
            self._enter(candidate)
        return candidate

    def _ask_random(self) -> Candidate:
        refused: Counter[Reason] = Counter()
        for draft in self._drafts.of(self._begun):
            if isinstance(draft, Individual):
                reason = self._against(draft)
                if reason is None:
                    self._drafts.forget(self._begun)
                    return self._candidate(Stage.SCREENING, self._begun, 0, draft, refused=refused)
                refused[reason] += 1
            else:
                refused[draft] += 1
        raise SearchError(
            f"no new valid loss among {sum(refused.values())} random ones: the search space is too small for"
            f" search.initial = {self._search.initial}; lower it, or widen 'space'"
        )

    def _against(self, draft: Individual) -> Reason | None:
        """Why a random draft is refused."""
        reason = duplicate(draft, self._known)
        if reason is not None or self._rungs is None:
            return reason
        # with the drafts to come, which fill up the micro-task's batch
        return self._rungs.refuses(draft, self._drafts.ahead(self._begun, self._undecided))

    def _undecided(self, draft: Individual) -> bool | None:
        answer = None if self._rungs is None else self._rungs.undecided(draft)
        return answer and duplicate(draft, self._known) is None

    def _ask_selected(self) -> Candidate:
        member = self._selected[self._begun]
        return self._candidate(Stage.SELECTION, self._begun, 0, member.individual, parent=member.number)

    def _ask_child(self) -> Candidate | None:
        while self._retries:
            failed = self._retries.popleft()
            child = self._child(failed.iteration, failed.attempt + 1, self._members[_parent(failed)])
            if child is not None:
                return child
            self._abandoned.append(Abandoned(failed.iteration))
            self._end_iteration()
        if self._begun == self._search.iterations:
            return None
        refused: Counter[Reason] = Counter()
        for parent_draw in range(_MAX_PARENTS):
            rng = self._stream(Stage.EVOLUTION, self._begun, 0, parent_draw)
            drawn = rng.integers(len(self.population), size=self._search.tournament)
            parent = max((self.population[i] for i in drawn), key=lambda member: member.fitness)
            child = self._child(self._begun, 0, parent, rng, refused)
            if child is not None:
                return child
        raise SearchError(
            f"evolution {self._begun}: no child of {_MAX_PARENTS} parents is valid and new; the search space is"
            " exhausted: widen 'space', or lower search.phenotype_distance"
        )

    def _child(
        self,
        iteration: int,
        attempt: int,
        parent: Member,
        rng: np.random.Generator | None = None,
        refused: Counter[Reason] | None = None,
    ) -> Candidate | None:
        rng = rng or self._stream(Stage.EVOLUTION, iteration, attempt)
        refused = Counter() if refused is None else refused
        genome = parent.individual.genome
        refuses = self._rungs.refuses if self._rungs else lambda individual: None
        found = mutate(genome, rng, self._space, self._known, refused, self._search.max_mutations, refuses)
        if found is None:
            return None
        self._members[parent.number] = parent  # a retry may want it after it has left the population
        return self._candidate(Stage.EVOLUTION, iteration, attempt, found[0], parent.number, found[1], refused)

    def _candidate(
        self,
        stage: Stage,
        iteration: int,
        attempt: int,
        individual: Individual,
        parent: int | None = None,
        mutation: Mutation | None = None,
        refused: Counter[Reason] | None = None,
    ) -> Candidate:
        counts, seconds = dict(refused or {}), self._rungs.take_seconds() if self._rungs else {}
        return Candidate(self._asked, stage, iteration, attempt, individual, parent, mutation, counts, seconds)

    def _enter(self, candidate: Candidate) -> None:
        self._asked += 1
        self._begun += candidate.attempt == 0
        self._waiting[candidate.number] = candidate
        if candidate.stage is not Stage.SELECTION:  # selected ones are known from screening
            self._known.add(candidate.number, candidate.individual)
            if self._rungs is not None:
                self._rungs.remember(candidate.individual)

    def _stream(self, stage: Stage, *words: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(_STREAM[stage], *words)))

    # -- telling ---------------------------------------------------------------------------------------------------

    def tell(self, number: int, outcome: Outcome) -> None:
        """The outcome of candidate `number`.

        Raises:
            SearchError: the candidate was not asked, or was told before; or too few losses trained to go on.
        """
        candidate = self._waiting.pop(number, None)
        if candidate is None:
            state = "was told before" if 0 <= number < self._asked else f"was never asked (last: {self._asked - 1})"
            raise SearchError(f"tell({number}): candidate {number} {state}")
        self._reasons[outcome.reason] += 1
        if candidate.stage is Stage.EVOLUTION:
            self._tell_child(candidate, outcome)
            return
        if outcome.fitness is not None:
            self._scored.append(Member(candidate.number, candidate.individual, outcome.fitness))
        self._ended += 1
        if candidate.stage is Stage.SCREENING and self._ended == self._search.initial:
            best_first = sorted(self._scored, key=lambda member: (-member.fitness, member.number))
            # asked in the order of screening, so that age in the population does not depend on fitness
            self._selected = sorted(best_first[: self._search.population], key=lambda member: member.number)
            self._begin(Stage.SELECTION)
        elif candidate.stage is Stage.SELECTION and self._ended == len(self._selected):
            self.population.extend(sorted(self._scored, key=lambda member: member.number))
            self._begin(Stage.EVOLUTION)
            self._known.keep_only((member.number, member.individual) for member in self.population)
            if self._rungs is not None:
                self._rungs.forget_batches()

    def _begin(self, stage: Stage) -> None:
        if not self._scored:
            counts = ", ".join(f"{count} {reason.value}" for reason, count in self._reasons.most_common())
            raise SearchError(
                f"none of the {self._ended} losses of the {self._stage} stage trained ({counts}); raise search.initial,"
                " or lower the task's early-stop thresholds"
            )
        self._stage, self._begun, self._ended = stage, 0, 0
        self._scored = []
        self._reasons.clear()

    def _tell_child(self, candidate: Candidate, outcome: Outcome) -> None:
        if outcome.fitness is None:
            self._known.remove(candidate.number)
            if candidate.attempt < self._search.retries:
                self._retries.append(candidate)
            else:
                self._end_iteration()  # all attempts failed: the population is left as it was
            return
        member = Member(candidate.number, candidate.individual, outcome.fitness)
        self.population.append(member)
        if len(self.population) > self._search.population:
            self._known.remove(self.population.popleft().number)
        self._end_iteration()

    def _end_iteration(self) -> None:
        self._ended += 1
        wanted = {_parent(c) for c in (*self._waiting.values(), *self._retries) if c.stage is Stage.EVOLUTION}
        self._members = {number: member for number, member in self._members.items() if number in wanted}

    # -- restoring -------------------------------------------------------------------------------------------------

    def take_abandoned(self) -> list[Abandoned]:
        """The retries given up by `ask` since the last call; a record of the search holds them before the ask."""
        taken, self._abandoned = self._abandoned, []
        return taken

    def restore(self, events: Iterable[Event]) -> None:
        """Bring a fresh search to where a recorded one was: what happened, in the order in which it happened.

        Nothing is drawn or mutated again, so a restart costs microseconds per event, and a millisecond per candidate
        where duplicates are looked for.
        """
        if self._asked:
            raise SearchError("restore() on a search that has begun; make a new Evolution")
        for event in events:
            match event:
                case Candidate():
                    self._restore_ask(event)
                case Abandoned(iteration):
                    self._next_retry(iteration)
                    self._end_iteration()
                case (number, outcome):
                    self.tell(number, outcome)

    def _restore_ask(self, candidate: Candidate) -> None:
        if candidate.number != self._asked:
            raise SearchError(f"restore(): expected candidate {self._asked}, found {candidate.number}")
        if candidate.stage is Stage.EVOLUTION:
            if candidate.attempt:
                parent = self._members[_parent(self._next_retry(candidate.iteration))]
            else:
                parent = next(member for member in self.population if member.number == candidate.parent)
            self._members[parent.number] = parent
        self._enter(candidate)

    def _next_retry(self, iteration: int) -> Candidate:
        """Take the failed child that is first in the queue, which must be of `iteration`."""
        if not self._retries or self._retries[0].iteration != iteration:
            raise SearchError(f"restore(): no failed child of iteration {iteration} waits to be replaced")
        return self._retries.popleft()

    def waiting(self) -> list[Candidate]:
        """The candidates that were asked and not told, in the order of asking."""
        return list(self._waiting.values())


def _parent(candidate: Candidate) -> int:
    if candidate.parent is None:
        raise SearchError(f"candidate {candidate.number} of the evolution stage has no parent")
    return candidate.parent
