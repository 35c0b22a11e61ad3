"""The learning rate of every step, known before training starts."""

from __future__ import annotations

import math

from lossmith.train.task import ScheduleConfig


def learning_rates(peak: float, steps: int, schedule: ScheduleConfig) -> tuple[float, ...]:
    """The learning rate of steps 0..steps-1: linear up to `peak` at the end of the warm-up, then a half cosine to 0.

    With w warm-up steps: peak * (t+1)/w for t < w, then peak * (1 + cos(pi * (t-w)/(steps-w))) / 2. The rate would be
    exactly 0 one step after the last, so no step is wasted at either end.

    Args:
        peak: the largest learning rate.
        steps: how many steps the whole schedule has, >= 1.
        schedule: the warm-up's fraction of the steps.
    """
    warmup = round(schedule.warmup_fraction * steps)
    rising = (peak * (step + 1) / warmup for step in range(warmup))
    falling = (peak * (1 + math.cos(math.pi * step / (steps - warmup))) / 2 for step in range(steps - warmup))
    return (*rising, *falling)
