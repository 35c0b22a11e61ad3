"""Where candidates come from: random losses, and mutants of the best."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lossmith.config import SearchConfig
from lossmith.search.candidate import Candidate, Member, SearchError
from lossmith.search.drafts import RandomDrafts
from lossmith.search.living import Living
from lossmith.search.rungs.rungs import Rungs
from lossmith.space.config import SpaceConfig
from lossmith.space.mutation import Individual, Mutation, duplicate, mutate
from lossmith.verdict import Reason

_MAX_PARENTS = 100  # parents without a valid child in a row before the space is declared exhausted

Streams = Callable[..., np.random.Generator]  # (iteration, attempt[, parent draw]) -> a generator of their own


@dataclass(frozen=True, slots=True)
class Proposal:
    """A loss that is valid and new."""

    individual: Individual
    parent: int | None = None  # number of the member that it was mutated from
    mutation: Mutation | None = None
    refused: Counter[Reason] = field(default_factory=Counter)  # the drafts before it


class Proposals(Protocol):
    """What the last stage of a search asks for."""

    def propose(self, iteration: int) -> Proposal:
        """The candidate of an iteration; raises SearchError where none is valid and new."""
        ...

    def replace(self, failed: Candidate) -> Proposal | None:
        """What takes the place of a candidate whose training failed; None where nothing is valid and new."""
        ...

    def asked(self, candidate: Candidate) -> None:
        """A candidate of the stage was asked for, by this process or by one before it."""
        ...

    def ended(self, alive: Iterable[Candidate]) -> None:
        """An iteration ended; `alive` may still be replaced."""
        ...


class Randoms:
    """Random losses, each iteration from a stream of its own."""

    def __init__(
        self, space: SpaceConfig, streams: Streams, iterations: int, setting: str, known: Living, rungs: Rungs | None
    ) -> None:
        """`setting` says how many `iterations` there are, for the message where the space is too small for them."""
        self._space = space
        self._streams = streams
        self._wanted = f"{setting} = {iterations}"
        self._known = known
        self._rungs = rungs
        self._drafts = RandomDrafts(space, lambda iteration: streams(iteration, 0), iterations)
        self._begun = 0  # iterations; the streams from here on are not used yet

    def propose(self, iteration: int) -> Proposal:
        refused: Counter[Reason] = Counter()
        found = self._first(self._drafts, iteration, iteration, refused)
        if found is None:
            raise SearchError(
                f"no new valid loss among {sum(refused.values())} random ones: the search space is too small for"
                f" {self._wanted}; lower it, or widen 'space'"
            )
        self._drafts.forget(iteration)
        return found

    def replace(self, failed: Candidate) -> Proposal | None:
        drafts = RandomDrafts(self._space, lambda _: self._streams(failed.iteration, failed.attempt + 1), 1)
        return self._first(drafts, 0, self._begun - 1, Counter())

    def asked(self, candidate: Candidate) -> None:
        self._begun = max(self._begun, candidate.iteration + 1)

    def ended(self, alive: Iterable[Candidate]) -> None: ...

    def _first(self, drafts: RandomDrafts, stream: int, last: int, refused: Counter[Reason]) -> Proposal | None:
        """The first draft of a stream that will do; the streams after `last` fill up the micro-task's batch."""
        for draft in drafts.of(stream):
            reason = self._against(draft, last) if isinstance(draft, Individual) else draft
            if isinstance(draft, Individual) and reason is None:
                return Proposal(draft, refused=refused)
            if reason is not None:
                refused[reason] += 1
        return None

    def _against(self, draft: Individual, last: int) -> Reason | None:
        """Why a random draft is refused."""
        reason = duplicate(draft, self._known)
        if reason is not None or self._rungs is None:
            return reason
        return self._rungs.refuses(draft, self._drafts.ahead(last, self._undecided))

    def _undecided(self, draft: Individual) -> bool | None:
        answer = None if self._rungs is None else self._rungs.undecided(draft)
        return answer and duplicate(draft, self._known) is None


class Mutants:
    """Children: the best of a few members of the population drawn with replacement is mutated."""

    def __init__(
        self,
        search: SearchConfig,
        space: SpaceConfig,
        streams: Streams,
        population: deque[Member],
        known: Living,
        rungs: Rungs | None,
    ) -> None:
        """`population` and `known` are the search's own, which change as it goes on."""
        self._search = search
        self._space = space
        self._streams = streams
        self._population = population
        self._known = known
        self._rungs = rungs
        self._parents: dict[int, Member] = {}  # a retry may want one after it has left the population

    def propose(self, iteration: int) -> Proposal:
        refused: Counter[Reason] = Counter()
        for parent_draw in range(_MAX_PARENTS):
            rng = self._streams(iteration, 0, parent_draw)
            drawn = rng.integers(len(self._population), size=self._search.tournament)
            parent = max((self._population[i] for i in drawn), key=lambda member: member.fitness)
            child = self._child(parent, rng, refused)
            if child is not None:
                return child
        raise SearchError(
            f"evolution {iteration}: no child of {_MAX_PARENTS} parents is valid and new; the search space is"
            " exhausted: widen 'space', or lower search.phenotype_distance"
        )

    def replace(self, failed: Candidate) -> Proposal | None:
        parent = self._parents[_parent(failed)]
        return self._child(parent, self._streams(failed.iteration, failed.attempt + 1), Counter())

    def asked(self, candidate: Candidate) -> None:
        number = _parent(candidate)
        if number not in self._parents:
            self._parents[number] = next(member for member in self._population if member.number == number)

    def ended(self, alive: Iterable[Candidate]) -> None:
        wanted = {_parent(candidate) for candidate in alive}
        self._parents = {number: member for number, member in self._parents.items() if number in wanted}

    def _child(self, parent: Member, rng: np.random.Generator, refused: Counter[Reason]) -> Proposal | None:
        refuses = self._rungs.refuses if self._rungs else lambda individual: None
        genome, tries = parent.individual.genome, self._search.max_mutations
        found = mutate(genome, rng, self._space, self._known, refused, tries, refuses)
        return None if found is None else Proposal(found[0], parent.number, found[1], refused)


def _parent(candidate: Candidate) -> int:
    if candidate.parent is None:
        raise SearchError(f"candidate {candidate.number} of the evolution stage has no parent")
    return candidate.parent
