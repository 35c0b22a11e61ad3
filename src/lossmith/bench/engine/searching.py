"""What the search itself takes, beside the trainings."""

from __future__ import annotations

import time

import numpy as np

from lossmith.bench.engine.plain import threads_of_torch
from lossmith.config import RungsConfig, SearchConfig
from lossmith.search.evolution import Evolution, Outcome, Stage
from lossmith.search.rungs.rungs import Rungs
from lossmith.space.config import SpaceConfig
from lossmith.verdict import Reason


def seconds_per_candidate(classes: int, *, initial: int, children: int) -> dict[str, float]:
    """Seconds of a core that asking for a candidate and telling its outcome take, by stage, with the default rungs.

    A search of its own, whose outcomes are random. Nothing is trained, and nothing is written to a ledger.

    Args:
        classes: of the task.
        initial: random losses; an eighth of them become the population.
        children: how many are asked for after that.
    """
    config = SearchConfig(initial=initial, population=max(2, initial // 8), iterations=children)
    random = np.random.default_rng(0)
    spent = {Stage.SCREENING: 0.0, Stage.EVOLUTION: 0.0}
    told = dict.fromkeys(spent, 0)
    with threads_of_torch(1):
        evolution = Evolution(config, SpaceConfig(), 0, Rungs(RungsConfig(), classes))
        while not evolution.done:
            stage = evolution.stage
            began = time.process_time()
            if (candidate := evolution.ask()) is None:
                raise AssertionError("every outcome was told")
            evolution.tell(candidate.number, Outcome(Reason.OK, float(random.uniform(0.5, 1.0))))
            if stage in spent:
                spent[stage] += time.process_time() - began
                told[stage] += 1
    return {stage.value: seconds / max(1, told[stage]) for stage, seconds in spent.items()}
