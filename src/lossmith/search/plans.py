"""How the losses of each task are trained: chosen when a run meets the task, kept for as long as the run goes on.

Results depend on the choice (in their last digits, or in more where the arithmetic is bfloat16), so a run that goes on,
or a comparison in the same ledger, keeps to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace

from pydantic import TypeAdapter, ValidationError

from lossmith.config import ExecutionConfig
from lossmith.errors import RunError
from lossmith.ledger import TaskRow
from lossmith.search.serving import EvaluationSetup, training_device
from lossmith.train.choice import choose
from lossmith.train.plan import Plan

ONE_AT_A_TIME = Plan("processes")  # how the tasks of a ledger without plans were trained
_PLAN = TypeAdapter(Plan)


def planned(setup: EvaluationSetup, known: Iterable[TaskRow], execution: ExecutionConfig) -> EvaluationSetup:
    """`setup` with a plan for each of its tasks: the run's where it knows the task, else a new one.

    Args:
        setup: what `prepare` gives.
        known: the tasks of the run's ledger.
        execution: what the user wants; what is "auto" there is measured.

    Raises:
        RunError: the run holds a plan that this version does not know.
        ConfigError: the task cannot be trained as `execution` says.
    """
    rows = {row.task_id: row for row in known}
    plans = {
        key: _stored(rows[key])
        if key in rows
        else choose(
            task,
            setup.dataset(key),
            way=execution.way,
            slots=execution.slots,
            dtype=execution.dtype,
            compiled=execution.compile,
            device=training_device(),
        )
        for key, task in setup.tasks.items()
    }
    return replace(setup, plans=plans)


def description(setup: EvaluationSetup, workers: int) -> Iterable[str]:
    """A line for each different plan of a setup."""
    names: dict[str, list[str]] = {}
    for key, plan in setup.plans.items():
        names.setdefault(_words(plan, workers), []).append(setup.tasks[key].name)
    for words, tasks in names.items():
        which = f" of {', '.join(tasks)}" if len(names) > 1 else ""
        yield f"engine{which}: {words}"


def _words(plan: Plan, workers: int) -> str:
    processes = f"{workers} process" + ("es" if workers > 1 else "")
    losses = f"{plan.slots} losses" if plan.slots > 1 else "1 loss"
    compiled = ", compiled" if plan.compiled else ""
    why = f" ({plan.why})" if plan.why else ""
    each = "each of " if workers > 1 else ""
    return f"{plan.way}, {losses} at once in {each}{processes}, {plan.dtype}{compiled}{why}"


def _stored(row: TaskRow) -> Plan:
    if row.plan is None:
        return ONE_AT_A_TIME
    try:
        unknown = set(row.plan) - {field.name for field in fields(Plan)}
        if not unknown:
            return _PLAN.validate_python(row.plan)
        what = ", ".join(sorted(unknown))
    except ValidationError as error:
        what = ".".join(map(str, error.errors()[0]["loc"]))
    raise RunError(
        f"the run's plan for task '{row.name}' has a '{what}' that this version doesn't know; update Lossmith"
    )
