"""What the engine is compared with: one network trained as PyTorch's tutorials do it, and nothing of the engine.

The network in torch's default memory layout, `torch.optim` as it comes, `F.cross_entropy`, float32, nothing compiled.
The batches are the task's own.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from lossmith.bench.engine.pace import Pace
from lossmith.train.batches import Batches, Images, Seeds
from lossmith.train.data import Dataset
from lossmith.train.inputs import at_size, scaled
from lossmith.train.metrics import predict, score
from lossmith.train.schedule import learning_rates
from lossmith.train.single import new_model
from lossmith.train.stages import stages
from lossmith.train.task import OptimizerConfig, TaskConfig

_CPU = torch.device("cpu")
_LAYOUT = torch.contiguous_format


def plain_steps(task: TaskConfig, dataset: Dataset) -> Iterator[nn.Module]:
    """Train one network on a task without stages; gives it after every step."""
    model = new_model(task, dataset, Seeds.of(0), _CPU)
    optimizer = _optimizer(task.optimizer, model)
    batches = Batches(task, dataset, Images(dataset.train, _CPU), seed=0)
    stage = stages(task)[0]
    for rate in learning_rates(task.optimizer.learning_rate, task.steps, task.schedule):
        images_BCHW, target = batches.next(stage)
        loss = functional.cross_entropy(model(scaled(images_BCHW, task.scaling, memory_format=_LAYOUT)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        yield model


def plain_times(task: TaskConfig, dataset: Dataset, pace: Pace, threads: int) -> list[float]:
    """The moments at which steps of plain training ended, with this many threads."""
    with threads_of_torch(threads):
        for _ in plain_steps(task, dataset):
            if pace():
                break
    return pace.times


def plain_evaluation(task: TaskConfig, dataset: Dataset, threads: int) -> float:
    """Wall seconds of one whole evaluation: all steps, and the validation split scored after every epoch."""

    def prepare(images: Tensor) -> Tensor:
        return scaled(at_size(images, task.resize), task.scaling, memory_format=_LAYOUT)

    with threads_of_torch(threads):
        began = time.perf_counter()
        for step, model in enumerate(plain_steps(task, dataset), 1):
            if step % task.epoch_steps == 0 or step == task.steps:
                score(predict(model, dataset.validation, prepare), dataset.validation.labels)
        return time.perf_counter() - began


@contextlib.contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """torch computes with this many threads in this block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    if config.name == "sgd":
        return torch.optim.SGD(
            model.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            nesterov=config.momentum > 0.0,
            weight_decay=config.weight_decay,
        )
    return torch.optim.Adam(
        model.parameters(),
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
    )
