"""The main loop with an executor that trains nothing: what it asks for, and how many at once."""

from __future__ import annotations

import random
import time
from collections.abc import Hashable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from lossmith.config import RunConfig, load_preset
from lossmith.execution.base import Completed, Setup
from lossmith.ledger import Ledger
from lossmith.search.evaluation import prepare
from lossmith.search.run import search
from lossmith.search.serving import EvaluationJob, EvaluationSetup
from lossmith.train.plan import Plan
from lossmith.train.result import TrainingResult
from lossmith.verdict import Reason

SETTINGS = [  # the micro-task takes most of the time, and is not what is looked at
    "search.initial=20",
    "search.population=5",
    "search.iterations=15",
    "search.in_flight=3",
    "rungs.microtask=null",
]


class Imagined:
    """Holds `capacity` jobs at once and ends them in random order, each with an outcome that its loss decides."""

    workers = 2

    def __init__(self, capacity: int, seed: int) -> None:
        self.capacity = capacity
        self._jobs: list[tuple[int, EvaluationJob]] = []
        self._rng = random.Random(seed)  # noqa: S311 - an order, no secret

    def begin(self, setup: Setup, time_limit: float | None = None, slots: int = 1) -> None:
        assert slots == 4

    def submit(self, job: int, payload: EvaluationJob, group: Hashable = None, together: int | None = None) -> None:
        self._jobs.append((job, payload))

    def recall(self) -> list[int]:
        raise AssertionError("nothing is lost")

    def wait(self, timeout: float | None = None) -> list[Completed]:
        if not self._jobs or self._rng.random() < 0.5:
            return []
        number, job = self._jobs.pop(self._rng.randrange(min(self.capacity, len(self._jobs))))
        draw = random.Random(job.loss.key + job.task).random()  # noqa: S311
        failed = TrainingResult(Reason.BELOW_THRESHOLD, None, None, None, (), 1, 0.1)
        trained = TrainingResult(Reason.OK, draw, 1.0, 0.1, (), 3, 0.1)
        return [Completed(number, failed if draw < 0.3 else trained, Reason.OK, "", 0, 0.1)]

    def close(self) -> None: ...


def setup_of(config: RunConfig) -> EvaluationSetup:
    setup = prepare((config.screening, config.task))
    return replace(setup, plans=dict.fromkeys(setup.tasks, Plan("fused", slots=4)))


def run(directory: Path, capacity: int, seed: int, *settings: str, stop_after: int | None = None) -> None:
    """Search to the end, or until it was asked so often whether it should stop, and then to the end."""
    config = load_preset("smoke", [*SETTINGS, *settings])
    create = not (directory / "lock").exists()
    with Ledger.create(directory, config.model_dump(mode="json")) if create else Ledger.open(directory) as ledger:
        ledger.begin_session("test", 1, {}, time.monotonic())
        asked = iter(range(10**9))
        search(
            ledger,
            config,
            setup_of(config),
            executor=Imagined(capacity, seed),
            should_stop=lambda: stop_after is not None and next(asked) >= stop_after,
        )


def candidates(directory: Path) -> list[Any]:
    """What the search asked for and was told, but for the order in which asks and tells took turns."""
    with Ledger.read(directory) as ledger:
        outcomes = {row.id: (row.reason, row.score) for row in ledger.evaluations()}
        return [
            (replace(row, asked=0, told=0, rung_seconds={}, evaluation=None), outcomes[row.evaluation])
            for row in ledger.candidates()
            if row.evaluation is not None and row.told is not None
        ]


def most_waiting(directory: Path, stage: str) -> int:
    """The most candidates of a stage that had been asked for and not told."""
    with Ledger.read(directory) as ledger:
        rows = [row for row in ledger.candidates() if row.stage == stage]
    places = sorted([(row.asked, 1) for row in rows] + [(row.told or 0, -1) for row in rows])
    return max(accumulate(change for _, change in places))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "narrow"
    run(directory, 1, seed=0)
    return directory


@pytest.mark.parametrize("capacity", [2, 8, 64])
def test_the_search_is_the_same_however_many_train_at_once(narrow: Path, tmp_path: Path, capacity: int) -> None:
    run(tmp_path / "wide", capacity, seed=capacity)
    found = candidates(tmp_path / "wide")
    assert found == candidates(narrow)
    assert {row.stage for row, _ in found} == {"screening", "selection", "evolution"}
    assert any(row.attempt for row, _ in found)  # failed children were replaced, too
    assert most_waiting(tmp_path / "wide", "screening") == min(20, 2 * capacity)
    assert most_waiting(tmp_path / "wide", "selection") == min(5, 2 * capacity)
    assert most_waiting(tmp_path / "wide", "evolution") == 3


def test_what_the_rungs_let_pass_does_not_depend_on_how_many_train_at_once(tmp_path: Path) -> None:
    for capacity in (1, 64):
        run(tmp_path / str(capacity), capacity, 0, "search.iterations=0", "rungs.microtask={threshold: 0.2}")
    assert candidates(tmp_path / "1") == candidates(tmp_path / "64")


@pytest.mark.parametrize("stop_after", [1, 30, 60, 90])
def test_a_search_that_is_stopped_anywhere_goes_on_as_if_it_had_not_been(
    narrow: Path, tmp_path: Path, stop_after: int
) -> None:
    run(tmp_path / "stopped", 8, 1, stop_after=stop_after)
    before = len(candidates(tmp_path / "stopped"))
    run(tmp_path / "stopped", 2, 2)
    assert candidates(tmp_path / "stopped") == candidates(narrow)
    assert before < len(candidates(narrow))


def test_cross_entropy_is_trained_beside_and_before_the_search_ends(narrow: Path, tmp_path: Path) -> None:
    task = load_preset("smoke", SETTINGS).task.task_id
    run(tmp_path / "none", 4, 3, "search.iterations=0")
    for directory in (narrow, tmp_path / "none"):
        with Ledger.read(directory) as ledger:
            assert [row.key.task for row in ledger.evaluations() if row.key.loss == "zoo:cross_entropy"] == [task]


RANDOM = ("search.method=random", "search.iterations=25")


@pytest.mark.parametrize("stop_after", [None, 60])
def test_a_random_search_is_the_same_however_many_train_at_once_and_wherever_it_stops(
    tmp_path: Path, stop_after: int | None
) -> None:
    run(tmp_path / "narrow", 1, 0, *RANDOM)
    if stop_after is not None:
        run(tmp_path / "wide", 64, 2, *RANDOM, stop_after=stop_after)
    run(tmp_path / "wide", 64, 1, *RANDOM)
    found = candidates(tmp_path / "wide")
    assert found == candidates(tmp_path / "narrow")
    assert {row.stage for row, _ in found} == {"screening", "selection", "random"}
    assert any(row.attempt for row, _ in found if row.stage == "random")
    with Ledger.read(tmp_path / "wide") as ledger:
        assert ledger.configuration()["search"]["method"] == "random"
