"""Where the time of a step goes."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from lossmith.bench.engine.data import timed
from lossmith.bench.engine.loads import train_steps
from lossmith.bench.engine.pace import Pace
from lossmith.losses.build import loss as build_loss
from lossmith.train import single
from lossmith.train.data import Dataset
from lossmith.train.fused.network import FusedNetwork
from lossmith.train.fused.optimizer import FusedOptimizer
from lossmith.train.plan import Plan
from lossmith.train.task import TaskConfig

DATA, NETWORK, LOSS, OPTIMIZER, REST = PARTS = ("data", "network", "loss", "optimizer", "rest")


class Marks:
    """The time between two marks belongs to the part that the second names."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)

    def ended(self, part: str) -> None:
        """What went on until now was `part`."""
        now = time.perf_counter()
        self.seconds[part] += now - self._last
        self._last = now

    def clear(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._last = time.perf_counter()


@dataclass(frozen=True, slots=True)
class Shares:
    """Training with marks between its parts.

    `run` gives the seconds of one candidate's step for each part: "data" (gathering, augmentation, scaling), "network"
    (forwards and backwards), "loss" (value and gradient on the logits), "optimizer", and "rest".
    """

    plan: Plan
    loss: str  # what `lossmith.loss` takes

    def run(self, task: TaskConfig, dataset: Dataset, pace: Pace) -> dict[str, float]:
        marks = Marks()

        def begins() -> bool:
            marks.ended(REST)
            enough = pace()
            if len(pace.times) == 1:
                marks.clear()  # before it was warm
            return enough

        loss = build_loss(self.loss)
        if self.plan.way == "fused":
            with _fused_marks(marks):
                train_steps(timed(task), dataset, self.plan, loss, begins)
        else:
            with _single_marks(marks):
                train_steps(timed(task), dataset, self.plan, _MarkedLoss(loss, marks), begins)
        steps = (len(pace.times) - 1) * self.plan.slots
        return {part: seconds / steps for part, seconds in marks.seconds.items()}


class _MarkedLoss(nn.Module):
    """A loss that marks where the network ends, and where the gradient comes back to it."""

    def __init__(self, loss: nn.Module, marks: Marks) -> None:
        super().__init__()
        self._loss, self._marks = loss, marks

    def forward(self, logits_BK: Tensor, target: Tensor) -> Tensor:
        self._marks.ended(NETWORK)

        def arrived(gradient: Tensor) -> None:
            self._marks.ended(LOSS)

        logits_BK.register_hook(arrived)
        return self._loss(logits_BK, target)


@contextlib.contextmanager
def _single_marks(marks: Marks) -> Iterator[None]:
    """Marks in `single.train`, whose loss must be a `_MarkedLoss`."""

    def before(*ignored: Any) -> None:
        marks.ended(NETWORK)

    def after(*ignored: Any) -> None:
        marks.ended(OPTIMIZER)

    hooks = [register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)]
    try:
        with _marked(single, "scaled", marks, after=DATA):  # what a batch is given last
            yield
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def _fused_marks(marks: Marks) -> Iterator[None]:
    """Marks in `fused.stream.Stream.step`: what lies between the network's two passes is the losses."""
    with (
        _marked(FusedNetwork, "forward", marks, before=DATA, after=NETWORK),
        _marked(FusedNetwork, "gradient", marks, before=LOSS, after=NETWORK),
        _marked(FusedOptimizer, "step", marks, before=REST, after=OPTIMIZER),
    ):
        yield


@contextlib.contextmanager
def _marked(owner: Any, name: str, marks: Marks, *, after: str, before: str | None = None) -> Iterator[None]:
    """Mark the calls of a function for a while: what goes on until they begin, if told, and until they end."""
    original: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(original)
    def marked(*arguments: Any, **keywords: Any) -> Any:
        if before is not None:
            marks.ended(before)
        try:
            return original(*arguments, **keywords)
        finally:
            marks.ended(after)

    setattr(owner, name, marked)
    try:
        yield
    finally:
        setattr(owner, name, original)
