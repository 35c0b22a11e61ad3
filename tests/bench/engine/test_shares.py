"""Where the time of a step goes."""

from __future__ import annotations

import time

import pytest

from lossmith.bench.engine.data import random_images
from lossmith.bench.engine.pace import Pace, Window
from lossmith.bench.engine.shares import PARTS, Marks, Shares
from lossmith.train import single
from lossmith.train.fused.network import FusedNetwork
from lossmith.train.fused.optimizer import FusedOptimizer
from lossmith.train.plan import Plan
from lossmith.train.task import load_task


@pytest.mark.parametrize("plan", [Plan("processes"), Plan("fused", 3)], ids=["processes", "fused"])
@pytest.mark.parametrize("loss", ["cross_entropy", "-y*log(yhat) + 0.5*square(y - yhat)"])
def test_the_parts_make_the_whole(plan: Plan, loss: str) -> None:
    task = load_task("digits", "test")
    before = single.scaled, FusedNetwork.forward, FusedNetwork.gradient, FusedOptimizer.step
    pace = Pace(Window(0.0, warm=2, least=10))
    parts = Shares(plan, loss).run(task, random_images(task.data), pace)
    steps = (len(pace.times) - 1) * plan.slots
    assert sum(parts.values()) * steps == pytest.approx(pace.times[-1] - pace.times[0], rel=0.02)
    assert tuple(parts) == PARTS
    assert all(seconds > 0.0 for seconds in parts.values())
    assert max(parts, key=lambda part: parts[part]) == "network"
    assert before == (single.scaled, FusedNetwork.forward, FusedNetwork.gradient, FusedOptimizer.step)


def test_the_time_until_a_mark_belongs_to_it() -> None:
    marks = Marks()
    time.sleep(0.02)
    marks.ended("data")
    marks.ended("loss")
    assert marks.seconds["data"] >= 0.02 > marks.seconds["loss"]
    marks.clear()
    assert set(marks.seconds.values()) == {0.0}
