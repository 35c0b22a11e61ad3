"""A comparison: a few losses trained on one task with the same fresh seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lossmith.errors import LossmithError
from lossmith.execution.base import Executor
from lossmith.ledger import EvaluationRow, Ledger, LossRow
from lossmith.search.evaluation import Evaluations, register
from lossmith.search.serving import EvaluationSetup, Split
from lossmith.train.task import TaskConfig

_POLL = 0.2  # seconds between looks at `should_stop`


def compare(
    ledger: Ledger,
    task: TaskConfig,
    setup: EvaluationSetup,
    losses: Sequence[tuple[str, LossRow]],
    seeds: Sequence[int],
    *,
    split: Split,
    executor: Executor,
    update: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any] | None:
    """Train each of `losses` (label, loss) with each of `seeds` and record the comparison in the ledger.

    The first loss is the baseline. Evaluations that the ledger holds are not run again, so a comparison that was
    stopped goes on where it was. `setup` is what `planned` gives; `say` is given what a person should know, a line at
    a time.

    Returns:
        The content of the comparison as JSON data, in the form that `docs/ledger.md` describes; None if stopped.
    """
    register(setup, ledger)
    wanted = [(loss, seed) for seed in seeds for _, loss in losses]  # seed by seed, so that pairs are whole early
    rows: dict[tuple[str, int], EvaluationRow] = {}
    executor.begin(setup, slots=setup.slots)
    evaluations = Evaluations(ledger, executor, setup.plans, say)
    for ticket, (loss, seed) in enumerate(wanted):
        evaluations.request(ticket, loss, task.task_id, seed, split)
    from lossmith.study.summary import summarise  # noqa: PLC0415 - scipy takes a second, and the workers are busy by now

    while len(rows) < len(wanted):
        if should_stop():
            return None
        for answer in evaluations.wait(_POLL):
            rows[answer.row.key.loss, answer.row.key.seed] = answer.row
        update(len(rows), len(wanted))
    content = summarise(task, losses, seeds, rows, split)
    ledger.add_comparison(content)
    return content


def require_two(seeds: int) -> None:
    """Refuse a comparison that cannot have an interval."""
    if seeds < 2:
        raise LossmithError(f"--seeds {seeds}: a comparison of several losses needs at least 2 seeds")
