from __future__ import annotations

import functools
import hashlib
from collections import Counter, deque
from dataclasses import replace

import numpy as np
import pytest

from lossmith.config import SearchConfig
from lossmith.search.evolution import Candidate, Event, Evolution, Outcome, SearchError, Stage
from lossmith.search.seeds import EVOLUTION_STREAM, SCREENING_STREAM, comparison_seeds, training_seed
from lossmith.space.config import SpaceConfig
from lossmith.space.expression import Expression
from lossmith.space.genome import Genome, random_genome
from lossmith.space.integrity import check, examine
from lossmith.space.mutation import Individual, perturb
from lossmith.verdict import Reason

SPACE = SpaceConfig()
SMALL = SearchConfig(initial=30, population=10, iterations=40, tournament=5, retries=2, in_flight=1)


def scripted(candidate: Candidate) -> Outcome:
    """An outcome that depends on the candidate's formula and stage alone, as training does; one in five fails."""
    digest = hashlib.sha256(f"{candidate.individual.expression.key} {candidate.stage}".encode()).digest()
    if digest[0] < 51:
        return Outcome(Reason.LOSS_NOT_FINITE)
    return Outcome(Reason.OK, int.from_bytes(digest[1:4], "big") / 2**24)


def run(evolution: Evolution, window: int = 1) -> list[tuple[Candidate, Outcome]]:
    """The whole search with `window` candidates waiting at once, told in the order of asking."""
    history: list[tuple[Candidate, Outcome]] = []
    waiting: deque[Candidate] = deque(evolution.waiting())
    while not evolution.done:
        while len(waiting) < window and (candidate := evolution.ask()) is not None:
            waiting.append(candidate)
        if not waiting:
            break
        candidate = waiting.popleft()
        history.append((candidate, scripted(candidate)))
        evolution.tell(candidate.number, history[-1][1])
    return history


def plain_search(config: SearchConfig, seed: int) -> tuple[list[tuple[str, str]], list[tuple[str, float]]]:
    """The method written down step by step: the (stage, formula) pairs evaluated, and the last population."""
    evaluated: list[tuple[str, str]] = []

    def stream(*words: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=words))

    def individual(genome: Genome, living: list[Individual]) -> Individual | None:
        verdict, examined = check(genome), examine(genome)
        if not verdict.ok or examined.backwards:
            return None
        expression, phenotype = Expression.from_genome(genome), examined.phenotype
        assert phenotype is not None
        for other in living:
            if other.expression.key == expression.key or np.linalg.norm(other.phenotype - phenotype) < 0.01:
                return None
        assert verdict.flip is not None
        return Individual(genome, expression, verdict.flip, phenotype)

    def score(found: Individual, stage: Stage, number: int) -> float | None:
        evaluated.append((stage, found.expression.text))
        return scripted(Candidate(number, stage, 0, 0, found)).fitness

    drawn: list[Individual] = []
    for i in range(config.initial):
        rng = stream(SCREENING_STREAM, i, 0)
        while (found := individual(random_genome(rng, SPACE), drawn)) is None:
            pass
        drawn.append(found)
    screened = [(score(found, Stage.SCREENING, i), i, found) for i, found in enumerate(drawn)]
    trained = sorted(((-s, i, found) for s, i, found in screened if s is not None), key=lambda entry: entry[:2])
    chosen = sorted(trained[: config.population], key=lambda entry: entry[1])
    population: list[tuple[Individual, float]] = []
    for _, _, found in chosen:
        if (fitness := score(found, Stage.SELECTION, 0)) is not None:
            population.append((found, fitness))
    for iteration in range(config.iterations):
        rng = stream(EVOLUTION_STREAM, iteration, 0, 0)
        draws = rng.integers(len(population), size=config.tournament)
        parent = max((population[i] for i in draws), key=lambda entry: entry[1])[0]
        for attempt in range(config.retries + 1):
            if attempt:
                rng = stream(EVOLUTION_STREAM, iteration, attempt)
            while (child := individual(perturb(parent.genome, rng, SPACE)[0], [m for m, _ in population])) is None:
                pass
            if (fitness := score(child, Stage.EVOLUTION, 0)) is not None:
                population.append((child, fitness))
                if len(population) > config.population:
                    population.pop(0)
                break
    return evaluated, [(member.expression.text, fitness) for member, fitness in population]


@pytest.mark.parametrize("seed", [0, 1])
def test_ask_and_tell_equal_the_method_step_by_step(seed: int) -> None:
    evolution = Evolution(SMALL, SPACE, seed)
    history = run(evolution)
    evaluated, population = plain_search(SMALL, seed)
    assert [(c.stage, c.individual.expression.text) for c, _ in history] == evaluated
    assert [(m.individual.expression.text, m.fitness) for m in evolution.population] == population
    assert any(c.attempt for c, _ in history)  # the scripted failures were retried


def test_the_population_never_holds_duplicates_and_keeps_its_size() -> None:
    evolution = Evolution(SMALL, SPACE, 2)
    while not evolution.done:
        candidate = evolution.ask()
        assert candidate is not None
        evolution.tell(candidate.number, scripted(candidate))
        if evolution.stage is not Stage.EVOLUTION:
            continue
        members = [member.individual for member in evolution.population]
        assert len(members) <= SMALL.population
        assert len({member.expression.key for member in members}) == len(members)
        for i, member in enumerate(members):
            assert all(np.linalg.norm(member.phenotype - other.phenotype) >= 0.01 for other in members[:i])
    assert len(evolution.population) == SMALL.population


def test_waiting_candidates_are_no_duplicates_of_each_other() -> None:
    config = SMALL.model_copy(update={"in_flight": 8})
    evolution = Evolution(config, SPACE, 3)
    waiting: list[Candidate] = []
    while not evolution.done:
        while len(waiting) < 8 and (candidate := evolution.ask()) is not None:
            waiting.append(candidate)
        keys = [candidate.individual.expression.key for candidate in waiting]
        assert len(set(keys)) == len(keys)
        candidate = waiting.pop(0)
        evolution.tell(candidate.number, scripted(candidate))


def test_a_failed_child_is_replaced_by_mutants_of_the_same_parent_up_to_the_bound() -> None:
    config = SMALL.model_copy(update={"retries": 7, "iterations": 3})
    evolution = Evolution(config, SPACE, 4)
    while evolution.stage is not Stage.EVOLUTION:
        candidate = evolution.ask()
        assert candidate is not None
        evolution.tell(candidate.number, Outcome(Reason.OK, 0.5))
    before = list(evolution.population)
    tried: list[Candidate] = []
    while (candidate := evolution.ask()) is not None:
        tried.append(candidate)
        evolution.tell(candidate.number, Outcome(Reason.BELOW_THRESHOLD))
    assert Counter(candidate.iteration for candidate in tried) == {0: 8, 1: 8, 2: 8}
    for iteration in range(3):
        family = [candidate for candidate in tried if candidate.iteration == iteration]
        assert [candidate.attempt for candidate in family] == list(range(8))
        assert len({candidate.parent for candidate in family}) == 1
    assert list(evolution.population) == before  # if all fail, the population is left as it was
    assert evolution.done


@pytest.mark.parametrize("window", [1, 4])
def test_the_same_seed_gives_the_same_search(window: int) -> None:
    first, second = (run(Evolution(SMALL, SPACE, 5), window) for _ in range(2))
    assert [(c.number, c.individual.expression.key, o) for c, o in first] == [
        (c.number, c.individual.expression.key, o) for c, o in second
    ]
    other = run(Evolution(SMALL, SPACE, 6), window)
    assert [c.individual.expression.key for c, _ in other] != [c.individual.expression.key for c, _ in first]


def keys_asked(cut: int, window: int, config: SearchConfig = SMALL, seed: int = 7) -> tuple[str, ...]:
    """The keys of all candidates of a search that is thrown away after `cut` events and restored from them."""
    evolution = Evolution(config, SPACE, seed)
    events: list[Event] = []
    keys: list[str] = []
    waiting: deque[Candidate] = deque()
    restored = False
    while not evolution.done:
        if 0 <= cut <= len(events) and not restored:
            restored = True
            evolution = Evolution(config, SPACE, seed)
            evolution.restore(events)
            waiting = deque(evolution.waiting())
            continue
        candidate = evolution.ask() if len(waiting) < window else None
        events += evolution.take_abandoned()
        if candidate is not None:
            events.append(candidate)
            waiting.append(candidate)
            keys.append(candidate.individual.expression.key)
        elif waiting:
            candidate = waiting.popleft()
            events.append((candidate.number, scripted(candidate)))
            evolution.tell(candidate.number, scripted(candidate))
        else:
            break
    return tuple(keys)


@functools.cache
def keys_of_the_whole(window: int) -> tuple[str, ...]:
    return keys_asked(-1, window)


@pytest.mark.parametrize("window", [1, 8])
@pytest.mark.parametrize("cut", [0, 1, 29, 60, 61, 75, 81, 100, 131, 160])
def test_a_restored_search_goes_on_as_if_it_had_not_stopped(cut: int, window: int) -> None:
    assert keys_asked(cut, window) == keys_of_the_whole(window)


@pytest.mark.parametrize("seed", range(12))
def test_retries_that_find_no_child_are_restored_too(seed: int) -> None:
    """With one mutation per attempt, many failed children have no replacement; every cut is tried."""
    config = SearchConfig(initial=8, population=4, iterations=6, tournament=2, retries=3, max_mutations=1)
    try:
        whole = keys_asked(-1, 1, config, seed)
    except SearchError:  # no child of any parent within one mutation: nothing to restore
        return
    for cut in range(24, 2 * len(whole) + 6):
        assert keys_asked(cut, 1, config, seed) == whole


def test_calls_out_of_order_are_named() -> None:
    evolution = Evolution(SMALL, SPACE, 8)
    candidate = evolution.ask()
    assert candidate is not None
    with pytest.raises(SearchError, match=r"tell\(7\): candidate 7 was never asked"):
        evolution.tell(7, Outcome(Reason.OK, 0.5))
    evolution.tell(candidate.number, Outcome(Reason.OK, 0.5))
    with pytest.raises(SearchError, match=r"tell\(0\): candidate 0 was told before"):
        evolution.tell(0, Outcome(Reason.OK, 0.5))
    with pytest.raises(SearchError, match="has begun"):
        evolution.restore([])
    with pytest.raises(SearchError, match="expected candidate 0, found 1"):
        Evolution(SMALL, SPACE, 8).restore([replace(candidate, number=1)])


def test_a_search_whose_losses_all_fail_says_what_to_change() -> None:
    evolution = Evolution(SMALL, SPACE, 9)

    def fail_everything() -> None:
        while (candidate := evolution.ask()) is not None:
            evolution.tell(candidate.number, Outcome(Reason.BELOW_THRESHOLD))

    with pytest.raises(SearchError, match="none of the 30 losses of the screening stage trained"):
        fail_everything()


def test_a_space_too_small_for_the_search_is_an_error() -> None:
    space = SpaceConfig(unary=("neg",), binary=("sub",), hidden_nodes=2)

    def ask_all() -> None:
        evolution = Evolution(SMALL, space, 0)
        while evolution.ask() is not None:
            pass

    with pytest.raises(SearchError, match="search space is too small"):
        ask_all()


def test_comparison_seeds_are_fresh_and_stable() -> None:
    assert comparison_seeds(0, 3) == comparison_seeds(0, 10)[:3]
    assert len({*comparison_seeds(0, 50), training_seed(0)}) == 51
    assert all(0 <= seed < 2**63 for seed in comparison_seeds(1, 20))


def test_remaining_counts_down_to_nothing() -> None:
    evolution = Evolution(SMALL, SPACE, 10)
    assert evolution.remaining() == {Stage.SCREENING: 30, Stage.SELECTION: 10, Stage.EVOLUTION: 40}
    run(evolution)
    assert set(evolution.remaining().values()) == {0}
