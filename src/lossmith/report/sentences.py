"""What is said of a run, on the page and on the terminal alike."""

from __future__ import annotations

import re

from lossmith.ledger import LossRow
from lossmith.report import words
from lossmith.report.cost import Cost, RungCost
from lossmith.report.record import SearchRecord
from lossmith.train.task import TaskConfig
from lossmith.verdict import Reason

_FORMULA = re.compile(r"[\w.+\-*/^(), ]+", re.ASCII)  # the characters of the formula language


def state_sentence(record: SearchRecord, directory: str) -> str:
    state = record.state
    if state.finished:
        return f"Finished: {state.total:,} of {state.total:,} candidates scored."
    share = words.percent(state.told / state.total, 0)
    last = f"; the newest evaluation is of {words.moment(state.last)}" if state.last else ""
    return (
        f"Not finished: {state.told:,} of {state.total:,} candidates scored ({share}){last}."
        f" 'lossmith resume {directory}' goes on with it."
    )


def task_words(task: TaskConfig) -> str:
    return f"{task.name}: {task.model}, {task.steps:,} steps of {task.batch_size} images"


def optimism(record: SearchRecord) -> str:
    """Why the scores of the best losses must not be believed as they stand."""
    tried = len(record.ranking)
    gain = (
        f" (about {words.luck(tried):.1f} standard deviations of seed noise, were all equally good)"
        if tried > 1
        else ""
    )
    return (
        f"Each score is a single training, and these are picked as the best of {tried:,}: part of their lead is"
        f" luck{gain}. They are optimistic; whether a loss beats cross-entropy, only a comparison with fresh seeds can"
        " show."
    )


def python_line(loss: LossRow) -> str:
    """The Python that makes the loss; the orientation is given, so it is the one that was trained.

    Empty where the text is none of our formulas: no report offers foreign code to be copied.
    """
    if not _FORMULA.fullmatch(loss.formula):
        return ""
    flip = "" if loss.flip is None else f", flip={loss.flip}"
    return f'lossmith.loss("{loss.formula}"{flip})'


def overhead_sentence(its_cost: Cost) -> str:
    return f"Search overhead: {words.percent(its_cost.overhead, 1)}"


def cost_facts(its_cost: Cost) -> list[tuple[str, str]]:
    """The totals, each with its unit."""
    return [
        ("evaluations", f"{its_cost.evaluations:,}"),
        ("evaluations reused", f"{its_cost.reused:,}"),
        ("training steps", f"{its_cost.steps:,}"),
        ("training time, all workers", words.duration(its_cost.training_seconds)),
        ("wall time", words.duration(its_cost.wall_seconds)),
    ]


_RUNGS = {
    Reason.DUPLICATE_FUNCTION: "duplicates",
    Reason.LEADS_AWAY: "number of classes",
    Reason.UNTRAINABLE: "micro-task",
}


def rung_facts(rungs: list[RungCost]) -> list[tuple[str, str]]:
    """What each rung refused, took and saved."""
    facts: list[tuple[str, str]] = []
    for rung in rungs:
        refused = f"{words.count(rung.refused, 'draft')} refused in {words.duration(rung.seconds)}"
        saved = f"trained, they would have taken about {words.duration(rung.training_seconds)}"
        facts.append((f"rung: {_RUNGS[rung.reason]}", f"{refused}; {saved}"))
    return facts
