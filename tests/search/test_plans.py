from __future__ import annotations

import pickle
from dataclasses import asdict, replace

import pytest

import engines
from lossmith.config import ExecutionConfig
from lossmith.errors import RunError
from lossmith.ledger import TaskRow
from lossmith.search.evaluation import prepare
from lossmith.search.plans import description, planned
from lossmith.train.engine import run
from lossmith.train.plan import Plan
from lossmith.train.task import load_task

PLAIN = Plan("processes")
FUSED = Plan("fused", slots=4, why="4 losses at once make 3.00 times the steps per second of one (measured)")


def known(key: str, plan: Plan | None) -> TaskRow:
    return TaskRow(key, key, {}, "checksum", asdict(plan) if plan else None)


def test_a_run_keeps_to_its_plans_and_one_from_before_there_were_any_to_one_at_a_time() -> None:
    setup = replace(engines.setup(PLAIN, run), plans={})
    execution = ExecutionConfig(way="fused", slots=16)
    found = planned(setup, [known("a", FUSED), known("b", None), known("other", PLAIN)], execution)
    assert found.plans == {"a": FUSED, "b": PLAIN}
    assert found.plans["a"].why == FUSED.why
    assert found.slots == 4


def test_a_new_task_is_trained_as_the_configuration_says() -> None:
    task = load_task("digits-screen", "test")
    setup = prepare([task])
    for execution, plan in [
        (ExecutionConfig(way="processes"), PLAIN),
        (ExecutionConfig(way="fused", slots=3), Plan("fused", slots=3)),
        (ExecutionConfig(way="processes", dtype="bfloat16"), Plan("processes", dtype="bfloat16")),
    ]:
        assert planned(setup, (), execution).plans == {task.task_id: plan}


@pytest.mark.parametrize("change", [{"way": "magic"}, {"sharded": True}])
def test_a_plan_of_a_newer_version_is_refused(change: dict[str, object]) -> None:
    row = replace(known("a", FUSED), plan={**asdict(FUSED), **change})
    setup = engines.setup(PLAIN, run, tasks={"a": engines.TASKS["a"]})
    with pytest.raises(RunError, match=f"task 'a' has a '{next(iter(change))}' .*update Lossmith"):
        planned(setup, [row], ExecutionConfig())


def test_what_is_used_is_said() -> None:
    setup = engines.setup(FUSED, run)
    (line,) = description(setup, 2)
    assert line == f"engine: fused, 4 losses at once in each of 2 processes, float32 ({FUSED.why})"
    first, second = description(replace(setup, plans={"a": PLAIN, "b": replace(FUSED, compiled=True, why="")}), 1)
    assert first == "engine of digits-screen: processes, 1 loss at once in 1 process, float32"
    assert second == "engine of digits: fused, 4 losses at once in 1 process, float32, compiled"


def test_workers_are_sent_what_they_need_and_no_more() -> None:
    task = load_task("digits-screen", "test")
    setup = replace(prepare([task]), plans={task.task_id: PLAIN})
    sent = pickle.loads(pickle.dumps(setup))  # noqa: S301 - our own
    assert (sent.tasks, sent.plans) == (setup.tasks, setup.plans)
    assert sent.dataset(task.task_id).checksum == setup.checksums[task.task_id]
