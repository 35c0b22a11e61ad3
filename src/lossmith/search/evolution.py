"""Regularized evolution of losses, ask/tell: pure, seeded, and without any training of its own.

Source: arXiv 2403.08793, search. Three stages, each starting when the one before is told:

    screening   `initial` random valid losses that pass the rungs, on the cheap screening task
    selection   the best `population` of them, on the search's own task; those that train form the population
    evolution   `iterations` times: the best of `tournament` members drawn with replacement is mutated; the child joins
                the population, the oldest leaves

Where `method` is "random", the control of an evolution, the last stage is `iterations` further random losses instead:
as many evaluations, and nothing is learnt from them.

Every random choice comes from a stream of its own, named by (stage, iteration, attempt) under the search's seed. So the
candidate that is asked depends on the seed and on what was told before, and not on workers, timing, or restarts.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

import numpy as np

from lossmith.config import SearchConfig
from lossmith.search.candidate import Abandoned, Candidate, Event, Member, Outcome, SearchError, Stage
from lossmith.search.living import Living
from lossmith.search.proposals import Mutants, Proposal, Proposals, Randoms
from lossmith.search.rungs.rungs import Rungs
from lossmith.search.seeds import EVOLUTION_STREAM, RANDOM_STREAM, SCREENING_STREAM
from lossmith.space.config import SpaceConfig
from lossmith.verdict import Reason

_STREAM = {Stage.SCREENING: SCREENING_STREAM, Stage.EVOLUTION: EVOLUTION_STREAM, Stage.RANDOM: RANDOM_STREAM}


class Evolution:
    """The state of one search. `ask` until it gives None, `tell` each outcome, until `done`."""

    def __init__(self, search: SearchConfig, space: SpaceConfig, seed: int, rungs: Rungs | None = None) -> None:
        """`rungs` must be fresh: what this search asks for is remembered there. None: nothing beyond the method."""
        self._search = search
        self._seed = seed
        self._asked = 0
        self._random = search.method == "random"
        self._last = Stage.RANDOM if self._random else Stage.EVOLUTION
        self._stage = Stage.SCREENING
        self._begun = 0  # iterations of the present stage that were begun
        self._ended = 0  # ... and ended
        self._waiting: dict[int, Candidate] = {}  # asked, not told
        self._scored: list[Member] = []  # of screening, then of selection
        self._selected: list[Member] = []
        self._retries: deque[Candidate] = deque()  # failed ones of the last stage that are to be replaced
        self._abandoned: list[Abandoned] = []  # not yet taken
        self._reasons: Counter[Reason] = Counter()  # of the present stage
        self.population: deque[Member] = deque()  # the oldest first; a random search leaves it as it was selected
        self._rungs = rungs
        self._known = Living(search.phenotype_distance)
        self._randoms = self._random_losses(space, Stage.SCREENING, search.initial, "search.initial")
        self._proposals: Proposals = (
            self._random_losses(space, Stage.RANDOM, search.iterations, "search.iterations")
            if self._random
            else Mutants(search, space, self._streams(Stage.EVOLUTION), self.population, self._known, rungs)
        )

    # -- asking ----------------------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        return self._stage is self._last and self._ended == self._search.iterations

    @property
    def stage(self) -> Stage:
        return self._stage

    def remaining(self) -> dict[Stage, int]:
        """The outcomes that each stage still wants, retries not counted; an estimate for stages to come."""
        search = self._search
        wanted = {Stage.SCREENING: search.initial, Stage.SELECTION: search.population, self._last: search.iterations}
        for stage, count in wanted.items():
            if stage is self._stage:
                whole = len(self._selected) if stage is Stage.SELECTION else count
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
            case Stage.EVOLUTION | Stage.RANDOM:
                candidate = self._ask_last()
        if candidate is not None:
            self._enter(candidate)
        return candidate

    def _ask_random(self) -> Candidate:
        return self._candidate(self._begun, 0, self._randoms.propose(self._begun))

    def _ask_selected(self) -> Candidate:
        member = self._selected[self._begun]
        return self._candidate(self._begun, 0, Proposal(member.individual, member.number))

    def _ask_last(self) -> Candidate | None:
        while self._retries:
            failed = self._retries.popleft()
            other = self._proposals.replace(failed)
            if other is not None:
                return self._candidate(failed.iteration, failed.attempt + 1, other)
            self._abandoned.append(Abandoned(failed.iteration))
            self._end_iteration()
        if self._begun == self._search.iterations:
            return None
        return self._candidate(self._begun, 0, self._proposals.propose(self._begun))

    def _candidate(self, iteration: int, attempt: int, found: Proposal) -> Candidate:
        counts, seconds = dict(found.refused), self._rungs.take_seconds() if self._rungs else {}
        number, stage = self._asked, self._stage
        return Candidate(
            number, stage, iteration, attempt, found.individual, found.parent, found.mutation, counts, seconds
        )

    def _enter(self, candidate: Candidate) -> None:
        self._asked += 1
        self._begun += candidate.attempt == 0
        self._waiting[candidate.number] = candidate
        if candidate.stage is self._last:
            self._proposals.asked(candidate)
        if candidate.stage is not Stage.SELECTION:  # selected ones are known from screening
            self._known.add(candidate.number, candidate.individual)
            if self._rungs is not None:
                self._rungs.remember(candidate.individual)

    def _random_losses(self, space: SpaceConfig, stage: Stage, iterations: int, setting: str) -> Randoms:
        return Randoms(space, self._streams(stage), iterations, setting, self._known, self._rungs)

    def _streams(self, stage: Stage) -> Callable[..., np.random.Generator]:
        def stream(*words: int) -> np.random.Generator:
            return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(_STREAM[stage], *words)))

        return stream

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
        if candidate.stage is self._last:
            self._tell_last(candidate, outcome)
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
            self._begin(self._last)
            if not self._random:  # the dead may come again
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

    def _tell_last(self, candidate: Candidate, outcome: Outcome) -> None:
        if outcome.fitness is None:
            if not self._random:
                self._known.remove(candidate.number)
            if candidate.attempt < self._search.retries:
                self._retries.append(candidate)
            else:
                self._end_iteration()  # all attempts failed: the population is left as it was
            return
        if not self._random:
            self.population.append(Member(candidate.number, candidate.individual, outcome.fitness))
            if len(self.population) > self._search.population:
                self._known.remove(self.population.popleft().number)
        self._end_iteration()

    def _end_iteration(self) -> None:
        self._ended += 1
        self._proposals.ended((*self._waiting.values(), *self._retries))

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
        if candidate.stage is self._last and candidate.attempt:
            self._next_retry(candidate.iteration)
        self._enter(candidate)

    def _next_retry(self, iteration: int) -> Candidate:
        """Take the failed candidate that is first in the queue, which must be of `iteration`."""
        if not self._retries or self._retries[0].iteration != iteration:
            raise SearchError(f"restore(): no failed candidate of iteration {iteration} waits to be replaced")
        return self._retries.popleft()

    def waiting(self) -> list[Candidate]:
        """The candidates that were asked and not told, in the order of asking."""
        return list(self._waiting.values())
