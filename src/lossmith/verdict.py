"""Why a candidate was accepted or refused: one enumeration for the whole program, each value with a message.

The integrity check, the search, and training all speak through it, so that a ledger never holds a bare `None` for
"it failed" (defect 7 of the published program).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Reason(enum.Enum):
    """What happened; `.value` is the name stored in ledgers, `.message` says it to a person."""

    OK = "ok", "accepted"
    # the graph and its two-class curve: space/integrity.py
    CYCLIC = "cyclic", "the active graph has a cycle; point one of its nodes elsewhere"
    NO_TARGET = "no_target", "the loss does not read y, so it cannot tell right from wrong; use y in the formula"
    NO_PREDICTION = "no_prediction", "the loss does not read yhat, so it has no gradient; use yhat in the formula"
    NOT_FINITE = "not_finite", "the two-class curve is not finite everywhere; avoid overflow and division by zero"
    OPTIMUM_AT_HALF = (
        "optimum_at_half",
        "the two-class curve has its minimum or maximum at probability 1/2, so it rewards (or punishes) guessing",
    )
    FLAT = "flat", "the two-class curve is flat over more than 10 steps of its grid, so there is nothing to descend"
    MANY_TURNS = "many_turns", "the two-class curve turns more than once, so descent can end in the wrong place"
    BACKWARDS = (
        "backwards",
        "the two-class curve jumps at its first step, so the method's check orients the rest the wrong way; say flip",
    )
    # while candidates are drawn: search/evolution.py
    DUPLICATE_FORMULA = "duplicate_formula", "a living or waiting candidate has the same formula"
    DUPLICATE_PHENOTYPE = "duplicate_phenotype", "a living or waiting candidate has the same two-class curve"
    # the rungs, which ask of a draft before it is trained: search/rungs
    DUPLICATE_FUNCTION = (
        "duplicate_function",
        "written in another way, it is a loss that this search asked for before",
    )
    LEADS_AWAY = (
        "leads_away",
        "with the task's number of classes it does not lead an untrained network to the true class",
    )
    UNTRAINABLE = (
        "untrainable",
        "it does not train a small network on a small problem; lower rungs.microtask.threshold to let it pass",
    )
    NO_CHILD = "no_child", "no valid new child was found within the allowed number of mutations of this parent"
    # while a network is trained: train/single.py, train/fused/stream.py
    LOSS_NOT_FINITE = "loss_not_finite", "the training loss became NaN or infinite; try a smaller learning rate"
    WEIGHTS_NOT_FINITE = "weights_not_finite", "a weight became NaN or infinite; try a smaller learning rate"
    BELOW_THRESHOLD = "below_threshold", "training accuracy fell below the task's early-stop threshold"
    # where it is trained: execution/local.py
    WORKER_LOST = "worker_lost", "the worker process ended while it trained this loss (killed, or out of memory)"
    TIME_LIMIT = "time_limit", "the evaluation exceeded its time limit"
    ERROR = "error", "the evaluation raised an unexpected error; its text is in the ledger"

    message: str

    def __new__(cls, value: str, message: str) -> Reason:
        member = object.__new__(cls)
        member._value_ = value
        member.message = message
        return member

    @property
    def ok(self) -> bool:
        return self is Reason.OK


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a check.

    `flip` is the orientation: the loss of a batch is -1 times the expression where it is True. It is None unless `ok`,
    and a function of the expression's own curve alone (defect 1 of the published program: never inherited).
    """

    reason: Reason
    flip: bool | None = None
    detail: str = ""

    @property
    def ok(self) -> bool:
        return self.reason.ok

    @property
    def message(self) -> str:
        return f"{self.reason.message}{f' ({self.detail})' if self.detail else ''}"
