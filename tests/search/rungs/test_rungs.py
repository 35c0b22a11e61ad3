"""The rungs as a search uses them, and searches that use them."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter, deque
from itertools import pairwise

import numpy as np
import pytest

from lossmith.config import NO_RUNGS, MicrotaskConfig, RungsConfig, SearchConfig
from lossmith.search.evolution import Candidate, Event, Evolution, Outcome, Stage
from lossmith.search.rungs.rungs import RUNGS, Rungs
from lossmith.space.config import SpaceConfig
from lossmith.space.fingerprint import fingerprint, same
from lossmith.space.genome import Genome, random_genome
from lossmith.space.mutation import Individual, individual_of
from lossmith.verdict import Reason

SPACE = SpaceConfig()
QUICK = RungsConfig(microtask=MicrotaskConfig(steps=20))
SMALL = SearchConfig(initial=12, population=5, iterations=10, tournament=4, retries=2, in_flight=1)
CLASSES = 10


def individual(**nodes: list[str]) -> Individual:
    found = individual_of(Genome.from_nodes(nodes))
    assert isinstance(found, Individual)
    return found


BRIER = individual(h0=["sub", "y", "yhat"], root=["square", "h0"])
BRIER_AGAIN = individual(h0=["sub", "yhat", "y"], h1=["abs", "h0"], root=["square", "h1"])
OTHER = individual(h0=["sub", "y", "yhat"], root=["abs", "h0"])
AWAY = individual(h0=["div_sqrt1p_sq", "yhat", "y"], h1=["erf", "yhat"], root=["div_sqrt1p_sq", "h1", "y"])


def only(**changes: object) -> RungsConfig:
    return NO_RUNGS.model_copy(update=changes)


def test_without_rungs_nothing_is_refused() -> None:
    rungs = Rungs(NO_RUNGS, CLASSES)
    rungs.remember(BRIER)
    assert [rungs.refuses(draft) for draft in (BRIER, BRIER_AGAIN, AWAY)] == [None] * 3
    assert rungs.undecided(BRIER) is None
    assert rungs.take_seconds() == {}


def test_a_function_that_was_asked_for_is_refused_however_it_is_written() -> None:
    rungs = Rungs(only(duplicates=True), CLASSES)
    assert rungs.refuses(BRIER) is None  # asked about, and not asked for
    assert rungs.refuses(BRIER) is None
    rungs.remember(BRIER)
    assert BRIER.expression.key != BRIER_AGAIN.expression.key
    assert rungs.refuses(BRIER_AGAIN) is Reason.DUPLICATE_FUNCTION
    assert rungs.refuses(OTHER) is None
    assert set(rungs.take_seconds()) == {Reason.DUPLICATE_FUNCTION}
    assert rungs.take_seconds() == {}


def test_what_leads_away_is_refused() -> None:
    rungs = Rungs(only(classes=True), CLASSES)
    assert rungs.refuses(AWAY) is Reason.LEADS_AWAY
    assert rungs.undecided(AWAY) is False
    assert rungs.refuses(OTHER) is None


def test_what_does_not_train_is_refused_alone_and_in_a_batch() -> None:
    rungs = Rungs(only(microtask=MicrotaskConfig()), CLASSES)
    assert rungs.refuses(AWAY) is Reason.UNTRAINABLE
    assert rungs.refuses(OTHER) is None
    assert rungs.undecided(OTHER) is True  # alone is not in a batch
    assert rungs.refuses(AWAY, [OTHER, BRIER, BRIER]) is Reason.UNTRAINABLE
    assert (rungs.undecided(AWAY), rungs.undecided(OTHER), rungs.undecided(BRIER)) == (False, None, None)
    rungs.take_seconds()
    assert rungs.refuses(OTHER, []) is None  # known from the batch
    assert rungs.take_seconds() == {}


# -- searches ----------------------------------------------------------------------------------------------------------


def scripted(candidate: Candidate) -> Outcome:
    digest = hashlib.sha256(f"{candidate.individual.expression.key} {candidate.stage}".encode()).digest()
    if digest[0] < 51:
        return Outcome(Reason.LOSS_NOT_FINITE)
    return Outcome(Reason.OK, int.from_bytes(digest[1:4], "big") / 2**24)


def new(rungs: RungsConfig = QUICK) -> Evolution:
    return Evolution(SMALL, SPACE, 3, Rungs(rungs, CLASSES))


def played(cut: int, window: int = 1, rungs: RungsConfig = QUICK) -> tuple[Candidate, ...]:
    """The candidates of a search that is thrown away after `cut` events and restored from them."""
    evolution, restored = new(rungs), cut < 0
    events: list[Event] = []
    asked: list[Candidate] = []
    waiting: deque[Candidate] = deque()
    while not evolution.done:
        if not restored and len(events) >= cut:
            restored = True
            evolution = new(rungs)
            evolution.restore(events)
            waiting = deque(evolution.waiting())
            continue
        candidate = evolution.ask() if len(waiting) < window else None
        events += evolution.take_abandoned()
        if candidate is not None:
            events.append(candidate)
            waiting.append(candidate)
            asked.append(candidate)
        else:
            candidate = waiting.popleft()
            outcome = scripted(candidate)
            events.append((candidate.number, outcome))
            evolution.tell(candidate.number, outcome)
    return tuple(asked)


@functools.cache
def whole(window: int = 1) -> tuple[Candidate, ...]:
    return played(-1, window)


def facts(candidates: tuple[Candidate, ...]) -> list[tuple[object, ...]]:
    return [(c.number, c.stage, c.attempt, c.individual.expression.key, c.parent, c.refused) for c in candidates]


@pytest.mark.parametrize("cut", [9, 51])
def test_a_restored_search_with_rungs_goes_on_as_if_it_had_not_stopped(cut: int) -> None:
    assert facts(played(cut)) == facts(whole())


def test_a_restored_search_of_several_at_once_too() -> None:
    assert facts(played(40, window=6)) == facts(whole(window=6))


def test_no_function_is_asked_for_twice_even_if_it_died_long_ago() -> None:
    asked = [c.individual for c in whole() if c.stage is not Stage.SELECTION]
    found = [fingerprint(one.expression, one.flip) for one in asked]
    assert len(found) >= SMALL.initial + SMALL.iterations > 2 * SMALL.population
    assert not any(same(one, other) for place, one in enumerate(found) for other in found[:place])


def test_duplicates_that_the_phenotype_does_not_tell_are_refused() -> None:
    evolution = Evolution(
        SMALL.model_copy(update={"phenotype_distance": 0.0}), SPACE, 3, Rungs(only(duplicates=True), 10)
    )
    counts: Counter[Reason] = Counter()
    for _ in range(SMALL.initial):
        candidate = evolution.ask()
        assert candidate is not None
        counts.update(candidate.refused)
    assert counts[Reason.DUPLICATE_FUNCTION]
    assert not counts[Reason.DUPLICATE_PHENOTYPE]


def test_every_rung_refuses_some_drafts_and_says_so() -> None:
    counts: Counter[Reason] = Counter()
    for candidate in whole():
        counts.update(candidate.refused)
    assert counts[Reason.LEADS_AWAY]
    assert counts[Reason.UNTRAINABLE]
    seconds = [candidate.rung_seconds for candidate in whole()]
    assert all(taken >= 0 for one in seconds for taken in one.values())
    assert {reason for one in seconds for reason in one} == set(RUNGS)


def test_batches_change_nothing_but_when_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossmith.search.drafts.RandomDrafts.ahead", lambda *arguments: iter(()))
    assert facts(played(-1)) == facts(whole())


def test_a_search_without_rungs_is_the_method() -> None:
    without = Evolution(SMALL, SPACE, 3)
    switched_off = new(NO_RUNGS)
    for _ in range(SMALL.initial):
        one, other = without.ask(), switched_off.ask()
        assert one is not None
        assert other is not None
        assert facts((one,)) == facts((other,))


def test_random_drafts_that_pass_are_those_that_pass_alone() -> None:
    """The screening stage takes from each stream the first draft that the checks let pass."""
    screened = [c for c in whole() if c.stage is Stage.SCREENING]
    alone = Rungs(QUICK, CLASSES)
    for candidate in screened[:6]:
        rng = np.random.default_rng(np.random.SeedSequence(3, spawn_key=(0, candidate.iteration, 0)))
        drafts = []
        while not drafts or drafts[-1].expression != candidate.individual.expression:
            found = individual_of(random_genome(rng, SPACE))
            if isinstance(found, Individual):
                drafts.append(found)
        reasons = [alone.refuses(draft) for draft in drafts]
        assert reasons[-1] is None
        alone.remember(drafts[-1])
    assert [c.number for c in screened] == list(range(len(screened)))
    assert all(b.iteration == a.iteration + 1 for a, b in pairwise(screened))
