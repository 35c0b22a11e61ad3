"""The learning rates against the formula."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmith.train.schedule import learning_rates
from lossmith.train.task import ScheduleConfig


def test_the_methods_schedule() -> None:
    rates = learning_rates(1e-3, 8000, ScheduleConfig())
    assert len(rates) == 8000
    for step in (0, 1, 399, 799):
        assert rates[step] == pytest.approx(1e-3 * (step + 1) / 800, rel=1e-12)
    for step in (800, 801, 4400, 7999):
        assert rates[step] == pytest.approx(5e-4 * (1 + math.cos(math.pi * (step - 800) / 7200)), rel=1e-12)
    assert rates[4400] == pytest.approx(5e-4)  # half way down at half of the cosine


def test_a_schedule_without_warm_up_starts_at_the_peak() -> None:
    rates = learning_rates(0.1, 4, ScheduleConfig(warmup_fraction=0.0))
    assert rates == pytest.approx([0.1, 0.05 * (1 + math.sqrt(0.5)), 0.05, 0.05 * (1 - math.sqrt(0.5))])


@given(st.integers(1, 300), st.floats(0, 1), st.floats(1e-6, 10))
def test_rises_to_the_peak_then_falls(steps: int, warmup_fraction: float, peak: float) -> None:
    rates = learning_rates(peak, steps, ScheduleConfig(warmup_fraction=warmup_fraction))
    warmup = round(warmup_fraction * steps)
    assert len(rates) == steps
    assert max(rates) == pytest.approx(peak)
    assert all(0 < rate <= peak * (1 + 1e-12) for rate in rates)
    assert list(rates[:warmup]) == sorted(rates[:warmup])
    assert list(rates[warmup:]) == sorted(rates[warmup:], reverse=True)


def test_the_first_eighth_of_a_long_schedule() -> None:
    rates = learning_rates(1e-3, 8000, ScheduleConfig(total_steps=64_000))
    assert len(rates) == 8000
    assert rates[6399] == 1e-3  # the warm-up is a tenth of the whole schedule
    assert rates[7999] == pytest.approx(5e-4 * (1 + math.cos(math.pi * 1599 / 57_600)), rel=1e-12)


@given(st.integers(1, 300), st.integers(0, 300), st.floats(0, 1))
def test_what_is_cut_off_is_the_start_of_the_whole(steps: int, more: int, warmup_fraction: float) -> None:
    schedule = ScheduleConfig(warmup_fraction=warmup_fraction)
    cut = schedule.model_copy(update={"total_steps": steps + more})
    assert learning_rates(1e-3, steps, cut) == learning_rates(1e-3, steps + more, schedule)[:steps]
