"""K trainings at once, a stream of them: who ends leaves its slot, and the next one takes it.

Legend: K active slots, B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from lossmith.train.batches import Batches, Images, Seeds, generator
from lossmith.train.course import Course
from lossmith.train.data import Dataset
from lossmith.train.fused import layout
from lossmith.train.fused.check import check_fused
from lossmith.train.fused.layout import images_of
from lossmith.train.fused.network import FusedNetwork, FusionError
from lossmith.train.fused.optimizer import FusedOptimizer
from lossmith.train.inputs import at_size, scaled
from lossmith.train.metrics import Scores, accuracy, predict, score
from lossmith.train.randomness import GlobalRandomness, kept
from lossmith.train.result import TrainingResult
from lossmith.train.schedule import learning_rates
from lossmith.train.single import LAYOUT, Loss, ScoreSplit, check_fit, loss_of, new_model, right, unused_logits
from lossmith.train.task import TaskConfig
from lossmith.verdict import Reason

_CPU = torch.device("cpu")
_KEPT_STATES = 8  # initial weights of seeds, kept for the next candidates


class Job(Protocol):
    """See `lossmith.train.engine.Job`."""

    @property
    def number(self) -> int: ...
    @property
    def loss(self) -> Loss: ...
    @property
    def seed(self) -> int: ...
    @property
    def split(self) -> ScoreSplit: ...


@dataclass(slots=True)
class _Slot:
    """One training."""

    job: Job
    batches: Batches  # shared by the slots that began together with one seed
    randomness: GlobalRandomness  # of a loss that draws
    spent: float = 0.0  # seconds, this training's share
    correct: int = 0  # training images of the present epoch that were classified rightly
    course: Course = field(init=False)


def train_fused(
    task: TaskConfig,
    dataset: Dataset,
    take: Callable[[], Job | None],
    slots: int,
    *,
    device: torch.device = _CPU,
    bfloat16: bool = False,
    compiled: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Iterator[tuple[int, TrainingResult | Exception]]:
    """Train jobs on one task, up to `slots` at once; see `lossmith.train.engine.run`.

    `bfloat16` runs the network under autocast, which on a CPU changes nothing here; weights, statistics and losses stay
    in `dtype`. `compiled` runs the network through torch.compile; then free slots are computed as well, since another
    number of them would be another program. A result's seconds are the training's share of the time in which it trained
    beside others.

    Raises:
        FusionError: the model has a layer that cannot be fused, or the task has stages.
        DataError: the images are too small for the task's augmentation.
    """
    stream = Stream(task, dataset, slots, device, dtype, bfloat16=bfloat16, compiled=compiled)
    while True:
        stream.fill(take)
        if not stream.slots:
            return
        yield from stream.step()


class Stream:
    """The slots of one process; `train_fused` says what they do."""

    def __init__(
        self,
        task: TaskConfig,
        dataset: Dataset,
        slots: int,
        device: torch.device,
        dtype: torch.dtype,
        *,
        bfloat16: bool = False,
        compiled: bool = False,
    ) -> None:
        check_fit(task, dataset)
        if task.stages:
            raise FusionError(f"task '{task.name}' has stages of different images: set execution.way to processes")
        self._task, self._dataset, self._capacity = task, dataset, slots
        self._device, self._dtype, self._bfloat16 = device, dtype, bfloat16
        self._images = Images(dataset.train, device)
        self._rates = learning_rates(task.optimizer.learning_rate, task.steps, task.schedule)
        self._states: dict[int, dict[str, Tensor]] = {}  # by seed
        template = new_model(task, dataset, Seeds.of(0), device).to(device=device, dtype=dtype)
        self._network = FusedNetwork(
            template, slots, num_classes=dataset.num_classes, device=device, dtype=dtype, compiled=compiled
        )
        if ":" in task.model:  # a user's: its containers may treat channels as a single network's
            check_fused(task, dataset, device)
        self._optimizer = FusedOptimizer(task.optimizer, self._network.parameters)
        # one network by itself, to score a slot's weights with
        self._single = new_model(task, dataset, Seeds.of(0), device).to(device=device, dtype=dtype)
        self._single.to(memory_format=LAYOUT)  # pyright: ignore[reportCallIssue] - missing from the stub
        self.slots: list[_Slot] = []

    def fill(self, take: Callable[[], Job | None]) -> None:
        """Give the free slots to new jobs."""
        begun: dict[int, Batches] = {}
        while len(self.slots) < self._capacity and (job := take()) is not None:
            if job.seed not in begun:
                begun[job.seed] = Batches(self._task, self._dataset, self._images, job.seed)
            seeds = Seeds.of(job.seed)
            slot = _Slot(job, begun[job.seed], GlobalRandomness(seeds, self._device))
            slot.course = Course(self._task, clock=lambda slot=slot: slot.spent)
            place = len(self.slots)
            dropout = generator(seeds.dropout, self._device)
            self._network.load(place, self._initial(job.seed), dropout)
            self._optimizer.reset(place)
            self.slots.append(slot)
        if len(self.slots) != self._network.active or begun:
            self._network.activate(len(self.slots))

    def step(self) -> Iterator[tuple[int, TrainingResult | Exception]]:
        """One step of every slot; gives the jobs that ended, whose slots are free then."""
        began = time.perf_counter()
        batches = {id(slot.batches): slot.batches for slot in self.slots}
        made = {key: source.next(self.slots[0].course.stage) for key, source in batches.items()}
        targets = [made[id(slot.batches)][1] for slot in self.slots]
        inputs = self._inputs({key: images for key, (images, _) in made.items()})
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            logits_KBC = self._network.forward(inputs).to(self._dtype)
        values, on_logits, errors = self._losses(logits_KBC.detach(), targets)
        gradient = self._network.gradient(logits_KBC, on_logits)
        self._optimizer.step(gradient, [self._rates[slot.course.step] for slot in self.slots])
        for slot, correct in zip(self.slots, right(logits_KBC.detach(), torch.stack(targets)).tolist(), strict=True):
            slot.correct += correct
        share = (time.perf_counter() - began) / len(self.slots)

        ended: dict[int, TrainingResult | Exception] = {}  # by place
        closing: list[int] = []  # places whose epoch ended
        for place, slot in enumerate(self.slots):
            slot.spent += share
            if place in errors:
                ended[place] = errors[place]
            elif not math.isfinite(values[place]):
                ended[place] = slot.course.ended(Reason.LOSS_NOT_FINITE)
            elif slot.course.stepped(values[place]):
                closing.append(place)
        if closing:
            finite = self._network.finite()
            for place in closing:
                if (result := self._close_epoch(place, finite=finite[place])) is not None:
                    ended[place] = result
        results = [(self.slots[place].job.number, result) for place, result in ended.items()]
        for place in sorted(ended, reverse=True):
            self._leave(place)
        if ended:
            self._network.activate(len(self.slots))
        yield from results

    def _initial(self, seed: int) -> dict[str, Tensor]:
        if seed not in self._states:
            if len(self._states) == _KEPT_STATES:
                self._states.pop(next(iter(self._states)))
            self._states[seed] = new_model(self._task, self._dataset, Seeds.of(seed), self._device).state_dict()
        return self._states[seed]

    def _inputs(self, images: dict[int, Tensor]) -> Tensor:
        """[B, K * C, H, W] of the batches, by the identity of their source; K slots are computed."""
        sources = [id(slot.batches) for slot in self.slots]
        sources += sources[:1] * (self._network.width - len(sources))  # free slots are given what the first one sees
        if not layout.batch_innermost(self._device):
            ready = {
                key: scaled(batch, self._task.scaling, dtype=self._dtype, memory_format=LAYOUT)
                for key, batch in images.items()
            }
            both = torch.cat([ready[source] for source in sources], 1)
            return both.contiguous(memory_format=LAYOUT)
        rows = {
            key: scaled(
                batch.permute(1, 2, 3, 0), self._task.scaling, dtype=self._dtype, memory_format=torch.contiguous_format
            )
            for key, batch in images.items()
        }
        return images_of(torch.cat([rows[source] for source in sources]))

    def _losses(self, logits_KBC: Tensor, targets: list[Tensor]) -> tuple[list[float], Tensor, dict[int, Exception]]:
        """Each slot's loss, the gradients on the logits [K, B, C], and the errors that losses raised, by place.

        A loss that failed or is not finite has the gradient 0, which its slot doesn't outlive.
        """
        gradients: list[Tensor] = []
        values: list[Tensor] = []
        errors: dict[int, Exception] = {}
        originals = {id(target): target.clone() for target in targets}  # a loss may write into what others share
        with kept(self._device):
            for place, (slot, target) in enumerate(zip(self.slots, targets, strict=True)):
                logits_BC = logits_KBC[place].clone(memory_format=torch.contiguous_format).requires_grad_()
                version = target._version
                slot.randomness.enter()
                try:
                    value, gradient = self._loss(slot.job.loss, logits_BC, target)
                except Exception as error:  # the loss is a user's: whatever it raises is its result
                    errors[place] = error
                    value, gradient = logits_BC.new_zeros(()), torch.zeros_like(logits_BC)
                slot.randomness.leave()
                if target._version != version:
                    target.copy_(originals[id(target)])
                values.append(value.double().reshape(()))  # whatever the precision: exact
                gradients.append(gradient)
        return torch.stack(values).tolist(), torch.stack(gradients), errors

    def _loss(self, loss: Loss, logits_BC: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, one number, and its gradient [B, C]."""
        value = loss_of(loss, logits_BC, target if target.dtype == torch.int64 else target.to(self._dtype))
        try:
            found = torch.autograd.grad(value, logits_BC, allow_unused=True)[0] if value.requires_grad else None
            if found is None:
                raise unused_logits()
        except Exception:  # of any kind: the backward pass is a user's, too
            if math.isfinite(value.item()):
                raise
            found = torch.zeros_like(logits_BC)  # there is no need of a gradient
        return value.detach(), found

    def _close_epoch(self, place: int, *, finite: bool) -> TrainingResult | None:
        """Score the slot at the end of its epoch; its result where its training ends."""
        slot = self.slots[place]
        began = time.perf_counter()
        if not finite:
            return slot.course.ended(Reason.WEIGHTS_NOT_FINITE)
        validation = self._dataset.validation
        logits_NC = self._predict(place, "validation")
        slot.spent += time.perf_counter() - began
        slot.course.epoch_ended(slot.correct, accuracy(logits_NC, validation.labels))
        slot.correct = 0
        if slot.course.hopeless():
            return slot.course.ended(Reason.BELOW_THRESHOLD)
        if not slot.course.done:
            return None
        if slot.job.split == "validation":
            return slot.course.ended(Reason.OK, score(logits_NC, validation.labels))
        began = time.perf_counter()
        found: Scores = score(self._predict(place, "test"), self._dataset.test.labels)
        slot.spent += time.perf_counter() - began
        return slot.course.ended(Reason.OK, found)

    def _predict(self, place: int, split: ScoreSplit) -> Tensor:
        self._single.load_state_dict(self._network.state(place), strict=False)
        size, images = self._task.resize, self._dataset.validation if split == "validation" else self._dataset.test

        def prepare(batch: Tensor) -> Tensor:
            sized = at_size(batch.to(self._device), size)
            return scaled(sized, self._task.scaling, dtype=self._dtype, memory_format=LAYOUT)

        return predict(self._single, images, prepare)

    def _leave(self, place: int) -> None:
        """Free a slot; the last one takes its place, so that those in training stand together."""
        last = len(self.slots) - 1
        if place != last:
            self._network.move(last, place)
            self._optimizer.move(last, place)
            self.slots[place] = self.slots[last]
        self.slots.pop()
