"""The learning rate of every step, known before training starts."""

from __future__ import annotations

import math
from itertools import islice

from lossmith.train.task import ScheduleConfig


def learning_rates(peak: float, steps: int, schedule: ScheduleConfig) -> tuple[float, ...]:
    """The learning rate of steps 0..steps-1: linear up to `peak` at the end of the warm-up, then a half cosine to 0.

    With T steps in the whole schedule, w of them warm-up: peak * (t+1)/w for t < w, then
    peak * (1 + cos(pi * (t-w)/(T-w))) / 2. The rate would be exactly 0 one step after the last of the schedule, so no
    step is wasted at either end.

    Args:
        peak: the largest learning rate.
        steps: how many steps are trained, >= 1.
        schedule: how long the whole schedule is (`total_steps`, which may be longer than `steps`: training then ends
            before the rate has fallen; None: `steps`), and which fraction of that is warm-up.

    Returns:
        `steps` rates.
    """
    total = steps if schedule.total_steps is None else schedule.total_steps
    warmup = round(schedule.warmup_fraction * total)
    rising = (peak * (step + 1) / warmup for step in range(warmup))
    falling = (peak * (1 + math.cos(math.pi * step / (total - warmup))) / 2 for step in range(total - warmup))
    return (*islice(rising, steps), *islice(falling, max(0, steps - warmup)))
