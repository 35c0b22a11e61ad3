"""Measuring in several processes at once."""

from __future__ import annotations

import os

import pytest

from lossmith.bench.engine.crew import Crew
from lossmith.bench.engine.data import images_of
from lossmith.bench.engine.limits import array_bytes
from lossmith.bench.engine.loads import Evaluations, Load, Product, Scoring, Training, Triad
from lossmith.bench.engine.machine import busy_share
from lossmith.bench.engine.memory import available, peak_memory
from lossmith.bench.engine.pace import Window
from lossmith.bench.engine.plans import bfloat16_cost
from lossmith.bench.engine.searching import seconds_per_candidate
from lossmith.errors import LossmithError
from lossmith.train.plan import Plan
from lossmith.train.task import load_task

SHORT = Window(0.0, warm=1, least=2)
TASK = load_task("digits", "test").model_copy(update={"steps": 4, "epoch_steps": 2})
LOADS: tuple[Load, ...] = (
    Training(Plan("processes")),
    Training(Plan("fused", 2)),
    Evaluations(Plan("fused", 2)),
    Scoring(),
    Product(64),
    Triad(1000),
)


def test_loads_in_one_process_and_in_two_then_one_that_fails() -> None:
    with Crew(2, TASK, images_of(TASK, synthetic=False)) as crew:
        for load in LOADS:
            for members in (1, 2):
                found = crew.measure(load, SHORT, members)
                assert found.rate > 0.0
                assert found.extras == [None] * members
        once = Window(0.0, warm=0, least=1, until_all=False)
        assert crew.measure(Evaluations(Plan("processes")), once, 2).rate > 0.0
        with pytest.raises(LossmithError, match=r"^bench: Training.* failed: RuntimeError: zeros") as caught:
            crew.measure(Training(Plan("fused", -1)), SHORT, 1)
    assert "\n" not in str(caught.value)


def test_memory_of_a_process() -> None:
    base, peak = peak_memory(TASK, Plan("fused", 4), synthetic=True)
    assert 50.0 < base < base + peak < available()


def test_the_machine() -> None:
    assert 0.0 <= busy_share(0.01) <= 1.0
    assert array_bytes(1) >= array_bytes(os.cpu_count() or 1) >= 16 << 20
    assert bfloat16_cost(TASK, images_of(TASK, synthetic=True)) > 0.0


def test_what_the_search_takes() -> None:
    seconds = seconds_per_candidate(10, initial=8, children=2)
    assert list(seconds) == ["screening", "evolution"]
    assert all(0.0 < each < 60.0 for each in seconds.values())
