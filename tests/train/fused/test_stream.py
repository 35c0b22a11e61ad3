"""K trainings as one network: equal to K separate ones, and bit for bit the same whoever trains beside them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import bars
from compilers import needs_compiler
from lossmith.train import single
from lossmith.train.data import Dataset
from lossmith.train.engine import Job
from lossmith.train.fused import layout
from lossmith.train.fused.stream import Stream, train_fused
from lossmith.train.result import TrainingResult
from lossmith.train.single import new_model, train
from lossmith.train.task import TaskConfig
from lossmith.verdict import Reason

Loss = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return bars.make_dataset(channels=3)


make_task = partial(bars.make_task, batch_size=8)
LOSSES: tuple[Loss, ...] = bars.LOSSES[:3]


class Failing:
    """Cross-entropy, until its call number `at`, which gives something else."""

    def __init__(self, at: int, kind: str) -> None:
        self._left = at
        self._kind = kind

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        self._left -= 1
        if self._left:
            return functional.cross_entropy(logits, target)
        if self._kind == "raises":
            raise ValueError("a fault of the loss")
        return functional.cross_entropy(logits, target) * float(self._kind)


def fused(
    task: TaskConfig, dataset: Dataset, jobs: Iterable[Job], slots: int, **options: Any
) -> dict[int, TrainingResult | Exception]:
    left = iter(jobs)
    return dict(train_fused(task, dataset, lambda: next(left, None), slots, **options))


def without_times(result: TrainingResult | Exception) -> TrainingResult | str:
    if isinstance(result, Exception):
        return repr(result)
    return replace(result, seconds=0.0, curve=tuple(replace(record, seconds=0.0) for record in result.curve))


TASKS = {
    "convnet": {},
    "resnet9v2": {"model": "resnet9v2", "batch_size": 6},
    "sgd": {"optimizer": {"name": "sgd", "learning_rate": 0.05, "weight_decay": 1e-3}},
    "weight decay": {"optimizer": {"learning_rate": 0.01, "weight_decay": 1e-2}},
    "mixed and centred": {"augment": {"mixup": 0.4, "cutmix": 1.0}, "scaling": "centred", "resize": 10},
    "randaugment": {"augment": {"randaugment": {"magnitude": 5}, "cutout": 3}, "dropout": 0.4},
}


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch's own layers do the work, as where the batch is not the innermost dimension."""
    monkeypatch.setattr(layout, "batch_innermost", lambda device: False)


@pytest.mark.parametrize(
    ("changes", "innermost"),
    [*((changes, True) for changes in TASKS.values()), *((TASKS[name], False) for name in ("convnet", "resnet9v2"))],
    ids=[*TASKS, "convnet as on a GPU", "resnet9v2 as on a GPU"],
)
def test_every_parameter_is_that_of_a_separate_training(
    dataset: Dataset, changes: dict[str, Any], innermost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """float64, 50 steps, dropout included: within 1e-9 relative to the largest value of the layer.

    Not of the tensor: a bias before batch norm has the gradient 0, and holds nothing but rounding. Adam would enlarge
    that by 1 / eps, so eps is not the method's 1e-7 here.
    """
    optimizer = {"learning_rate": 0.01, "eps": 1e-5, **changes.get("optimizer", {})}
    task = make_task(steps=50, **{**changes, "optimizer": optimizer})
    alone: list[dict[str, Tensor]] = []
    for seed, loss in enumerate(LOSSES):
        models: list[nn.Module] = []
        with monkeypatch.context() as patch:
            patch.setattr(single, "new_model", lambda *given, kept=models: kept.append(new_model(*given)) or kept[0])
            train(task, dataset, loss, seed, dtype=torch.float64)
        alone.append({name: value.clone() for name, value in models[0].state_dict().items()})
    if not innermost:
        as_on_a_gpu(monkeypatch)
    stream = Stream(task, dataset, len(LOSSES), torch.device("cpu"), torch.float64)
    jobs = iter([Job(seed, loss, seed) for seed, loss in enumerate(LOSSES)])
    stream.fill(lambda: next(jobs, None))
    network = stream._network
    states = [network.state(slot) for slot in range(3)]  # views: they follow the training
    while stream.slots:
        list(stream.step())  # all end together, so none is moved to another slot
    for own, found in zip(alone, states, strict=True):
        assert found.keys() == {name for name in own if not name.endswith("num_batches_tracked")}
        for name, value in found.items():
            layer = name.rpartition(".")[0]
            scale = max(float(other.abs().max()) for path, other in own.items() if path.rpartition(".")[0] == layer)
            assert float((value - own[name]).abs().max()) <= 1e-9 * scale, name


@pytest.mark.parametrize("model", ["convnet", "resnet9v2"])
def test_a_result_is_the_same_bits_for_any_number_and_order_of_slots(dataset: Dataset, model: str) -> None:
    """Slots are refilled all the time, since jobs of other lengths end beside them: NaN, errors, stopping rules."""
    task = make_task(model=model, stopping=[{"from_epoch": 1, "min_train_accuracy": 0.34}])

    def jobs() -> list[Job]:
        good = [Job(number, LOSSES[number % 3], number % 4) for number in range(8)]
        bad = [Job(8, Failing(3, "nan"), 1), Job(9, Failing(7, "inf"), 2), Job(10, Failing(5, "raises"), 0)]
        return good + bad

    expected = {number: without_times(result) for number, result in fused(task, dataset, jobs(), 1).items()}
    assert len(expected) == 11
    reasons = {result.reason for result in expected.values() if isinstance(result, TrainingResult)}
    assert {Reason.LOSS_NOT_FINITE, Reason.BELOW_THRESHOLD} <= reasons
    for seed, slots in enumerate((2, 3, 5, 11)):
        shuffled = jobs()
        random.Random(seed).shuffle(shuffled)  # noqa: S311 - an order, no secret
        found = fused(task, dataset, shuffled, slots)
        assert {number: without_times(result) for number, result in found.items()} == expected


@pytest.mark.parametrize(("place", "kind"), [*((place, "nan") for place in range(8)), (3, "inf")])
def test_what_is_not_finite_in_one_slot_touches_no_other(dataset: Dataset, place: int, kind: str) -> None:
    task = make_task()
    others = [Job(number, LOSSES[number % 3], number) for number in range(7)]
    expected = {number: without_times(result) for number, result in fused(task, dataset, others, 7).items()}
    jobs = [*others[:place], Job(99, Failing(8, kind), 5), *others[place:]]
    found = {number: without_times(result) for number, result in fused(task, dataset, jobs, 8).items()}
    failed = found.pop(99)
    assert isinstance(failed, TrainingResult)
    assert (failed.reason, failed.steps) == (Reason.LOSS_NOT_FINITE, 7)
    assert found == expected


def test_curves_of_both_ways_overlap_in_float32(dataset: Dataset) -> None:
    task = make_task(steps=40, epoch_steps=10)
    results = fused(task, dataset, [Job(seed, loss, seed) for seed, loss in enumerate(LOSSES)], 3)
    for seed, loss in enumerate(LOSSES):
        alone, result = train(task, dataset, loss, seed), results[seed]
        assert isinstance(result, TrainingResult)
        for one, other in zip(alone.curve, result.curve, strict=True):
            assert other.train_loss == pytest.approx(one.train_loss, rel=2e-3)


@pytest.mark.slow  # torch.compile takes a minute
# torch's compiler warns of its own doings: deprecated parts, and gradients that it asks for where it breaks a graph
@pytest.mark.filterwarnings("ignore::DeprecationWarning", r"ignore:The \.grad attribute of a Tensor:UserWarning")
@needs_compiler
@pytest.mark.parametrize("innermost", [True, False])
def test_compiled_it_gives_the_same_to_rounding(
    dataset: Dataset, innermost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while slots are free: five jobs in two slots, one of which gives NaN."""
    task = make_task(steps=20, epoch_steps=10, dropout=0.3)
    losses = [*LOSSES, Failing(7, "nan"), functional.cross_entropy]
    expected = [train(task, dataset, loss, seed, dtype=torch.float64) for seed, loss in enumerate(losses[:3])]
    if not innermost:
        as_on_a_gpu(monkeypatch)
    jobs = [Job(number, loss, number % 3) for number, loss in enumerate(losses)]
    found = fused(task, dataset, jobs, 2, dtype=torch.float64, compiled=True)
    for number, alone in enumerate(expected):
        result = found[number]
        assert isinstance(result, TrainingResult)
        assert [record.train_loss for record in result.curve] == pytest.approx(
            [record.train_loss for record in alone.curve], rel=1e-6
        )
    failed, last = found[3], found[4]
    assert isinstance(failed, TrainingResult)
    assert isinstance(last, TrainingResult)
    assert (failed.reason, failed.steps) == (Reason.LOSS_NOT_FINITE, 6)
    assert last.reason is Reason.OK


def test_a_job_that_comes_later_takes_a_free_slot(dataset: Dataset) -> None:
    waiting = [Job(0, functional.cross_entropy, 0), None, None, Job(1, bars.squared, 1)]
    found = dict(train_fused(make_task(), dataset, lambda: waiting.pop(0) if waiting else None, 4))
    assert set(found) == {0, 1}
