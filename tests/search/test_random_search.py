"""A random search: the control of an evolution, with as many evaluations."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter, deque
from collections.abc import Callable

import pytest

from lossmith.config import MicrotaskConfig, RunConfig, RungsConfig, SearchConfig, from_stored, load_preset
from lossmith.search.candidate import Candidate, Event, Outcome, SearchError, Stage
from lossmith.search.evolution import Evolution
from lossmith.search.rungs.rungs import Rungs
from lossmith.search.seeds import Purpose, comparison_seeds, control_seed, stage_seeds, training_seed
from lossmith.space.config import SpaceConfig
from lossmith.verdict import Reason

SPACE = SpaceConfig()
RANDOM = SearchConfig(method="random", initial=16, population=5, iterations=20, retries=2, in_flight=1)
EVOLVED = RANDOM.model_copy(update={"method": "evolution"})


def one_in_five_fails(candidate: Candidate) -> Outcome:
    """The outcome follows from the formula and the stage alone, as that of training does."""
    digest = hashlib.sha256(f"{candidate.individual.expression.key} {candidate.stage}".encode()).digest()
    return Outcome(Reason.LOSS_NOT_FINITE) if digest[0] < 51 else Outcome(Reason.OK, digest[1] / 256)


def all_train(candidate: Candidate) -> Outcome:
    return Outcome(Reason.OK, 1 / (1 + candidate.number))


def no_random_one_trains(candidate: Candidate) -> Outcome:
    return Outcome(Reason.BELOW_THRESHOLD) if candidate.stage is Stage.RANDOM else all_train(candidate)


def asked(
    config: SearchConfig,
    outcome: Callable[[Candidate], Outcome] = one_in_five_fails,
    *,
    seed: int = 0,
    window: int = 1,
    cut: int | None = None,
    rungs: Callable[[], Rungs | None] = lambda: None,
) -> list[Candidate]:
    """All that a search asks for; after `cut` events it is thrown away and restored from them."""
    search, events = Evolution(config, SPACE, seed, rungs()), list[Event]()
    waiting: deque[Candidate] = deque()
    found: list[Candidate] = []
    restored = False
    while not search.done:
        if not restored and cut is not None and len(events) >= cut:
            restored = True
            search = Evolution(config, SPACE, seed, rungs())
            search.restore(events)
            waiting = deque(search.waiting())
            continue
        candidate = search.ask() if len(waiting) < window else None
        events += search.take_abandoned()
        if candidate is not None:
            events.append(candidate)
            waiting.append(candidate)
            found.append(candidate)
        elif waiting:
            candidate = waiting.popleft()
            events.append((candidate.number, outcome(candidate)))
            search.tell(candidate.number, outcome(candidate))
        else:
            break  # the last retry was given up
    return found


def keys(candidates: list[Candidate]) -> list[tuple[str, int, int, str]]:
    return [(each.stage, each.iteration, each.attempt, each.individual.expression.key) for each in candidates]


def test_screening_and_selection_are_those_of_the_evolution_and_the_rest_is_random() -> None:
    random, evolved = asked(RANDOM), asked(EVOLVED)
    before = [each for each in random if each.stage is not Stage.RANDOM]
    assert keys(before) == keys([each for each in evolved if each.stage is not Stage.EVOLUTION])
    last = [each for each in random if each.stage is Stage.RANDOM]
    assert [each.iteration for each in last if each.attempt == 0] == list(range(RANDOM.iterations))
    assert sum(each.attempt == 0 for each in evolved) == sum(each.attempt == 0 for each in random)
    assert all(each.parent is None and each.mutation is None for each in last)


def test_no_loss_is_asked_for_twice() -> None:
    """Failed ones and those of the screening included; only the selected are asked for again, on the task."""
    new = [each for each in asked(RANDOM, window=4) if each.stage is not Stage.SELECTION]
    assert len({each.individual.expression.key for each in new}) == len(new)
    assert any(each.attempt for each in new)


def test_what_is_asked_does_not_depend_on_how_good_the_losses_are() -> None:
    def the_later_the_better(candidate: Candidate) -> Outcome:
        return Outcome(Reason.OK, candidate.number / 1000)

    first, second = (
        [each.individual.expression.key for each in asked(RANDOM, outcome) if each.stage is Stage.RANDOM]
        for outcome in (all_train, the_later_the_better)
    )
    assert first == second
    other = asked(RANDOM, all_train, seed=1)
    assert not set(first) & {each.individual.expression.key for each in other if each.stage is Stage.RANDOM}


def test_a_failed_loss_is_replaced_by_other_random_ones_up_to_the_bound() -> None:
    config = RANDOM.model_copy(update={"retries": 3, "iterations": 4})
    last = [each for each in asked(config, no_random_one_trains) if each.stage is Stage.RANDOM]
    assert Counter(each.iteration for each in last) == dict.fromkeys(range(4), 4)
    assert [each.attempt for each in last] == list(range(4)) * 4
    assert len({each.individual.expression.key for each in last}) == 16


def test_the_population_stays_as_it_was_selected() -> None:
    search = Evolution(RANDOM, SPACE, 0)
    while search.stage is not Stage.RANDOM:
        candidate = search.ask()
        assert candidate is not None
        search.tell(candidate.number, all_train(candidate))
    before = list(search.population)
    while (candidate := search.ask()) is not None:
        search.tell(candidate.number, Outcome(Reason.OK, 1.0))
    assert search.done
    assert list(search.population) == before
    assert set(search.remaining().values()) == {0}


@functools.cache
def whole(window: int) -> list[tuple[str, int, int, str]]:
    return keys(asked(RANDOM, window=window))


@pytest.mark.parametrize("window", [1, 5])
@pytest.mark.parametrize("cut", [0, 20, 42, 43, 55, 70, 85])
def test_a_restored_search_goes_on_as_if_it_had_not_stopped(cut: int, window: int) -> None:
    assert keys(asked(RANDOM, window=window, cut=cut)) == whole(window)


def test_the_rungs_are_asked_in_the_last_stage_too() -> None:
    config = SearchConfig(method="random", initial=6, population=2, iterations=6, retries=1)
    rungs = RungsConfig(microtask=MicrotaskConfig(steps=20))
    first, again = (asked(config, rungs=lambda: Rungs(rungs, 10), cut=cut) for cut in (None, 22))
    assert keys(first) == keys(again)
    refused = Counter(reason for each in first if each.stage is Stage.RANDOM for reason in each.refused)
    assert {Reason.LEADS_AWAY, Reason.UNTRAINABLE} <= refused.keys()
    judge = Rungs(rungs.model_copy(update={"duplicates": False}), 10)
    last = [each.individual for each in first if each.stage is Stage.RANDOM]
    assert all(judge.refuses(each, last) is None for each in last)


def test_a_space_too_small_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossmith.search.drafts.MOST", 300)  # drafts of a stream
    space = SpaceConfig(unary=("log_abs",), binary=("mul",), hidden_nodes=2)
    config = SearchConfig(method="random", initial=1, population=1, iterations=10_000)
    search = Evolution(config, space, 0)

    def ask_all() -> None:
        while (candidate := search.ask()) is not None:
            search.tell(candidate.number, Outcome(Reason.OK, 0.5))

    with pytest.raises(SearchError, match=r"too small for search.iterations = 10000; lower it, or widen 'space'"):
        ask_all()


def test_a_stored_configuration_without_a_method_is_an_evolution() -> None:
    config = load_preset("smoke")
    values = config.model_dump(mode="json")
    del values["search"]["method"]
    assert from_stored(values, "old") == config
    assert config.search.method == "evolution"
    assert isinstance(load_preset("smoke", ["search.method=random"]), RunConfig)


def test_the_seeds_of_controls_are_those_of_nothing_else() -> None:
    found = [control_seed(0), training_seed(0), *comparison_seeds(0, 50)]
    found += [seed for purpose in Purpose for seed in stage_seeds(0, purpose, 50)]
    assert len(set(found)) == len(found)
    assert all(0 <= seed < 2**63 for seed in found)
