"""Small pictures to train on, tasks of them, and what training them alone and as one network gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lossmith.train import single
from lossmith.train.data import Dataset, Split
from lossmith.train.engine import Job
from lossmith.train.fused.stream import Stream
from lossmith.train.result import TrainingResult
from lossmith.train.single import train
from lossmith.train.task import TaskConfig, load_task

CPU = torch.device("cpu")
State = dict[str, Tensor]


def make_split(count: int, seed: int, size: int = 8, channels: int = 1) -> Split:
    """Noise with a bright bar whose row is the class (0..2)."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 100, (count, channels, size, size), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % 3
    for index, label in enumerate(labels.tolist()):
        images[index, 0, 2 * label] += 120
    return Split(images, labels)


def make_dataset(size: int = 8, channels: int = 1) -> Dataset:
    train, validation, test = (make_split(count, seed, size, channels) for seed, count in enumerate((48, 30, 33)))
    return Dataset("bars", ("a", "b", "c"), train, validation, test, "0" * 16)


def make_task(**changes: Any) -> TaskConfig:
    values = {
        "name": "bars",
        "model": "convnet",
        "data": {"source": "digits"},
        "augment": {"pad": 1, "flip": True},
        "steps": 12,
        "batch_size": 16,
        "epoch_steps": 5,
        "optimizer": {"learning_rate": 0.01},
    }
    return load_task({**values, **changes}, "test")


# --- losses --------------------------------------------------------------------------------------------------------


def probabilities(logits_BK: Tensor, target: Tensor) -> Tensor:
    return functional.one_hot(target, logits_BK.shape[1]).to(logits_BK) if target.dtype == torch.int64 else target


def squared(logits_BK: Tensor, target: Tensor) -> Tensor:
    return functional.mse_loss(logits_BK.softmax(1), probabilities(logits_BK, target)) * 3


def smoothed(logits_BK: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(logits_BK, target, label_smoothing=0.1)


def focal(logits_BK: Tensor, target: Tensor) -> Tensor:
    log_p = logits_BK.log_softmax(1)
    return -(probabilities(logits_BK, target) * (1 - log_p.exp()) ** 2 * log_p).sum(1).mean()


LOSSES = (functional.cross_entropy, squared, smoothed, focal)


@dataclass
class FromStep:
    """Cross-entropy until a step (from 0), then what `then` makes of it."""

    step: int
    then: Callable[[Tensor, Tensor], Tensor]
    seen: int = field(default=0, init=False)

    def __call__(self, logits_BK: Tensor, target: Tensor) -> Tensor:
        loss = functional.cross_entropy(logits_BK, target)
        self.seen += 1
        return loss if self.seen <= self.step else self.then(loss, logits_BK)


# --- training ------------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What a training gave, and its network's state at the end of each of its epochs."""

    result: TrainingResult | Exception
    states: list[State] = field(default_factory=list)


def timeless(result: TrainingResult | Exception) -> TrainingResult | str:
    """A result without its times; an error as a text."""
    if isinstance(result, Exception):
        return f"{type(result).__name__}: {result}"
    return replace(result, seconds=0.0, curve=tuple(replace(record, seconds=0.0) for record in result.curve))


def alone(task: TaskConfig, dataset: Dataset, job: Job, **options: Any) -> Outcome:
    """The job, trained by itself."""
    outcome = Outcome(RuntimeError("not trained"))

    def predict(network: torch.nn.Module, *arguments: Any) -> Tensor:
        outcome.states.append({name: value.clone() for name, value in network.state_dict().items()})
        return real(network, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        real = single.predict
        patch.setattr(single, "predict", predict)
        try:
            outcome.result = train(task, dataset, job.loss, job.seed, score_split=job.split, **options)
        except Exception as error:  # as the engine does
            outcome.result = error
    return outcome


class _Watched(Stream):
    """Keeps the states at the end of epochs."""

    states: dict[int, list[State]]

    def _close_epoch(self, place: int, *, finite: bool) -> TrainingResult | None:
        if finite:
            state = {name: value.clone() for name, value in self._network.state(place).items()}
            self.states.setdefault(self.slots[place].job.number, []).append(state)
        return super()._close_epoch(place, finite=finite)


def together(
    task: TaskConfig,
    dataset: Dataset,
    jobs: Iterable[Job],
    slots: int,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device = CPU,
) -> dict[int, Outcome]:
    """The jobs by number, up to `slots` at once as one network."""
    stream = _Watched(task, dataset, slots, device, dtype)
    stream.states = {}
    queue = iter(jobs)
    outcomes: dict[int, Outcome] = {}
    for number, result in _results(stream, lambda: next(queue, None)):
        assert number not in outcomes
        outcomes[number] = Outcome(result, stream.states.get(number, []))
    return outcomes


def _results(stream: Stream, take: Callable[[], Job | None]) -> Iterator[tuple[int, TrainingResult | Exception]]:
    while True:
        stream.fill(take)
        if not stream.slots:
            return
        yield from stream.step()


def same_bits(one: Outcome, other: Outcome) -> bool:
    """Whether results and states are the same, bit for bit."""
    if timeless(one.result) != timeless(other.result) or len(one.states) != len(other.states):
        return False
    return all(
        first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
        for first, second in zip(one.states, other.states, strict=True)
    )


def furthest(one: Outcome, other: Outcome) -> tuple[float, str]:
    """The largest difference of a tensor's numbers, relative to its largest one, and where."""
    worst = (0.0, "")
    assert len(one.states) == len(other.states) > 0
    for epoch, (first, second) in enumerate(zip(one.states, other.states, strict=True)):
        for name in first.keys() & second.keys():
            scale = float(second[name].abs().max()) or 1.0
            worst = max(
                worst, (float((first[name].cpu() - second[name].cpu()).abs().max()) / scale, f"{name} in {epoch}")
            )
    return worst
