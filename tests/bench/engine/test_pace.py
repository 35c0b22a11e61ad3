"""Rates from the moments at which steps began."""

from __future__ import annotations

import multiprocessing
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmith.bench.engine.pace import Meeting, Pace, Window, joint_rate


@given(
    lengths=st.lists(st.floats(0.001, 0.1), min_size=1, max_size=4),
    starts=st.lists(st.floats(0.0, 0.05), min_size=4, max_size=4),
)
def test_rates_of_steady_members_add_up(lengths: list[float], starts: list[float]) -> None:
    members = [
        [start + number * length for number in range(int(2.0 / length))]
        for length, start in zip(lengths, starts, strict=False)
    ]
    assert joint_rate(members) == pytest.approx(sum(1 / length for length in lengths), rel=1e-6)


def test_only_the_time_in_which_all_run_counts() -> None:
    slow_alone = [0.0, 1.0, 2.0, 2.1, 2.2, 2.3, 3.3]  # fast while the other one rests
    other = [1.95, 2.05, 2.15, 2.25, 2.35]
    assert joint_rate([slow_alone, other]) == pytest.approx(10.0 + 10.0)


def test_a_member_with_longer_steps_than_that_counts_its_own() -> None:
    assert joint_rate([[0.0, 1.0], [0.4, 0.5, 0.6]]) == pytest.approx(1.0 + 10.0)


def test_warm_iterations_are_not_timed() -> None:
    pace = Pace(Window(0.0, warm=2, least=3))
    asked = 0
    while not pace():
        asked += 1
    assert asked == 2 + 3
    assert len(pace.times) == 3 + 1
    assert pace.times == sorted(pace.times)
    assert pace.first > 0.0


@pytest.mark.parametrize("until_all", [True, False])
def test_members_begin_together_and_go_on_until_all_have_enough(until_all: bool) -> None:
    meeting = Meeting(multiprocessing.get_context("forkserver"))
    quick = Pace(Window(0.0, warm=1, least=1, until_all=until_all), 2, meeting)
    slow = Pace(Window(0.05, warm=1, least=1, until_all=until_all), 2, meeting)
    ended: dict[Pace, float] = {}
    threads = [threading.Thread(target=_run, args=(pace, ended)) for pace in (quick, slow)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert slow.times[-1] - slow.times[0] >= 0.05
    if until_all:
        assert ended[quick] >= slow.times[0] + 0.05  # not before the slow one has enough, whenever it began itself
    else:
        assert len(quick.times) == 2


def _run(pace: Pace, ended: dict[Pace, float]) -> None:
    while not pace():
        pass
    ended[pace] = time.perf_counter()
