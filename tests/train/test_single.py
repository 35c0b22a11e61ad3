"""Training: what ends it, what is scored, what is paired, and that nothing global is touched."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import bars
from lossmith.errors import DataError
from lossmith.train import batches
from lossmith.train.data import Dataset, Split, load_dataset
from lossmith.train.dropout import Dropout
from lossmith.train.result import EpochRecord, TrainingResult
from lossmith.train.single import TrainingStoppedError, train
from lossmith.train.task import load_task
from lossmith.verdict import Reason

make_task = partial(bars.make_task, batch_size=8)
make_split = partial(bars.make_split, size=6)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset("bars", ("a", "b", "c"), make_split(48, 1), make_split(30, 2), make_split(33, 3), "0" * 16)


def squared_error(logits_BK: Tensor, target_B: Tensor) -> Tensor:
    return functional.mse_loss(logits_BK.softmax(1), functional.one_hot(target_B, logits_BK.shape[1]).float())


def without_times(result: TrainingResult) -> TrainingResult:
    return replace(result, seconds=0.0, curve=tuple(replace(record, seconds=0.0) for record in result.curve))


class Recorder:
    """A loss that keeps what it was given."""

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.loss = loss
        self.logits: list[Tensor] = []
        self.targets: list[Tensor] = []

    def __call__(self, logits_BK: Tensor, target_B: Tensor) -> Tensor:
        self.logits.append(logits_BK.detach().clone())
        self.targets.append(target_B.clone())
        return self.loss(logits_BK, target_B)


class Forbidden:
    """A tensor that must not be touched."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"the test split was touched: {name}")


# --- results -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["convnet", "resnet9v2"])
def test_the_result_of_a_run(dataset: Dataset, model: str) -> None:
    told: list[EpochRecord] = []
    result = train(make_task(model=model), dataset, nn.CrossEntropyLoss(), 0, on_epoch=told.append)
    assert result.reason is Reason.OK
    assert result.steps == 12
    assert [(record.epoch, record.step) for record in result.curve] == [(1, 5), (2, 10), (3, 12)]  # the last is shorter
    assert tuple(told) == result.curve
    assert result.score == result.curve[-1].validation_accuracy
    assert result.nll is not None
    assert result.nll > 0
    assert result.ece is not None
    assert 0 <= result.ece <= 1
    times = [0.0, *(record.seconds for record in result.curve), result.seconds]
    assert times == sorted(times)


def test_the_curve_is_of_the_training_batches(dataset: Dataset) -> None:
    recorder = Recorder(nn.CrossEntropyLoss())
    result = train(make_task(), dataset, recorder, 3)
    for record, steps in zip(result.curve, (slice(0, 5), slice(5, 10), slice(10, 12)), strict=True):
        logits, targets = torch.cat(recorder.logits[steps]), torch.cat(recorder.targets[steps])
        assert record.train_accuracy == float((logits.argmax(1) == targets).double().mean())
        assert record.train_loss == pytest.approx(float(functional.cross_entropy(logits, targets)), rel=1e-5)


def test_the_score_is_the_last_epochs_and_not_the_best(dataset: Dataset) -> None:
    calls = iter(range(10_000))

    def good_then_bad(logits_BK: Tensor, target_B: Tensor) -> Tensor:
        wrong = 0 if next(calls) < 60 else 1
        return functional.cross_entropy(logits_BK, (target_B + wrong) % 3)

    task = make_task(steps=120, epoch_steps=20, augment={}, schedule={"warmup_fraction": 0.0})
    result = train(task, dataset, good_then_bad, 0)
    assert result.reason is Reason.OK
    assert result.score == result.curve[-1].validation_accuracy
    assert result.curve[-1].validation_accuracy < max(record.validation_accuracy for record in result.curve) - 0.2


def test_every_image_is_used_equally_often(dataset: Dataset) -> None:
    recorder = Recorder(nn.CrossEntropyLoss())
    labels = torch.arange(48)  # each image its own class, so that the targets tell the images
    numbered = replace(dataset, train=Split(dataset.train.images, labels), classes=tuple(map(str, range(48))))
    train(make_task(steps=21, batch_size=16), numbered, recorder, 0)
    assert torch.cat(recorder.targets).bincount().tolist() == [7] * 48
    assert recorder.targets[0].tolist() != recorder.targets[3].tolist()  # a new order in every pass


def test_a_batch_may_exceed_the_data(dataset: Dataset) -> None:
    assert train(make_task(steps=2, batch_size=100), dataset, nn.CrossEntropyLoss(), 0).reason is Reason.OK


# --- endings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("step", [0, 7])
def test_a_loss_that_is_not_finite_stops_at_that_step(dataset: Dataset, value: float, step: int) -> None:
    calls = iter(range(1000))

    def breaks(logits_BK: Tensor, target_B: Tensor) -> Tensor:
        loss = functional.cross_entropy(logits_BK, target_B)
        return loss * value if next(calls) == step else loss

    result = train(make_task(), dataset, breaks, 0)
    assert result.reason is Reason.LOSS_NOT_FINITE
    assert (result.score, result.nll, result.ece) == (None, None, None)
    assert result.steps == step
    assert next(calls) == step + 1  # it was not called again
    assert len(result.curve) == step // 5


def test_weights_that_are_not_finite_stop_at_the_end_of_the_epoch(dataset: Dataset) -> None:
    def gradient_of_nan(logits_BK: Tensor, target_B: Tensor) -> Tensor:
        return functional.cross_entropy(logits_BK.detach(), target_B) + (logits_BK * 0).abs().sqrt().sum()

    result = train(make_task(steps=5), dataset, gradient_of_nan, 0)
    # the first update spoils the weights, the second step's loss shows it
    assert result.reason is Reason.LOSS_NOT_FINITE
    assert result.steps == 1

    result = train(make_task(steps=1), dataset, gradient_of_nan, 0)
    assert result.reason is Reason.WEIGHTS_NOT_FINITE
    assert (result.score, result.steps, result.curve) == (None, 1, ())


@pytest.mark.parametrize(
    ("rules", "epochs"),
    [
        ([(1, 1.0)], 1),
        ([(2, 1.0)], 2),
        ([(3, 1.0)], 3),
        ([(3, 0.0), (2, 1.0)], 2),
        ([(4, 1.0)], None),
        ([(1, 0.0)], None),
        ([], None),
    ],
)
def test_stop_rules(dataset: Dataset, rules: list[tuple[int, float]], epochs: int | None) -> None:
    stopping = [{"from_epoch": first, "min_train_accuracy": minimum} for first, minimum in rules]
    told: list[EpochRecord] = []
    result = train(make_task(stopping=stopping), dataset, nn.CrossEntropyLoss(), 0, on_epoch=told.append)
    if epochs is None:
        assert result.reason is Reason.OK
        return
    assert result.reason is Reason.BELOW_THRESHOLD
    assert result.score is None
    assert len(result.curve) == len(told) == epochs
    assert result.steps == result.curve[-1].step == (5, 10, 12)[epochs - 1]


def test_a_stop_rule_is_met_by_the_accuracy_itself(dataset: Dataset) -> None:
    reached = train(make_task(), dataset, nn.CrossEntropyLoss(), 0).curve[0].train_accuracy
    for minimum, reason in ((reached, Reason.OK), (reached + 1e-9, Reason.BELOW_THRESHOLD)):
        rules = [{"from_epoch": 1, "min_train_accuracy": minimum}]
        result = train(make_task(stopping=rules, steps=5), dataset, nn.CrossEntropyLoss(), 0)
        assert result.reason is reason


def test_should_stop_ends_before_the_next_step(dataset: Dataset) -> None:
    told: list[EpochRecord] = []
    recorder = Recorder(nn.CrossEntropyLoss())
    with pytest.raises(TrainingStoppedError, match="after 7 of 12 steps"):
        train(
            *(make_task(), dataset, recorder, 0),
            on_epoch=told.append,
            should_stop=lambda: len(recorder.targets) == 7,
        )
    assert len(told) == 1


def test_padding_must_fit_the_images(dataset: Dataset) -> None:
    with pytest.raises(DataError, match=r"task 'bars': augment.pad 6 can push the whole of a 6x6 image of bars out"):
        train(make_task(augment={"pad": 6}), dataset, nn.CrossEntropyLoss(), 0)


# --- pairing and determinism ---------------------------------------------------------------------------------------


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Tensor]]:
    """Every augmented batch, and the state of the dropout generator before every mask."""
    kept: dict[str, list[Tensor]] = {"batches": [], "dropout": []}
    real_augment, real_forward = batches.augment, Dropout.forward

    def augment(*arguments: Any, num_classes: int) -> tuple[Tensor, Tensor]:
        images, targets = real_augment(*arguments, num_classes=num_classes)
        kept["batches"].append(images.clone())
        return images, targets

    def forward(self: Dropout, inputs: Tensor) -> Tensor:
        if self.training:
            kept["dropout"].append(self.generator.get_state())
        return real_forward(self, inputs)

    monkeypatch.setattr(batches, "augment", augment)
    monkeypatch.setattr(Dropout, "forward", forward)
    return kept


def same(first: list[Tensor], second: list[Tensor]) -> list[bool]:
    return [torch.equal(one, other) for one, other in zip(first, second, strict=True)]


def test_two_losses_with_one_seed_see_the_same(dataset: Dataset, draws: dict[str, list[Tensor]]) -> None:
    one, two = Recorder(nn.CrossEntropyLoss()), Recorder(squared_error)
    train(make_task(), dataset, one, 5)
    train(make_task(), dataset, two, 5)
    assert same(one.logits[:1], two.logits[:1]) == [True]  # same weights, batch, augmentation and mask
    assert not any(same(one.logits[1:], two.logits[1:]))  # then each goes its own way
    assert all(same(one.targets, two.targets))
    for kept in draws.values():
        assert len(kept) == 24
        assert all(same(kept[:12], kept[12:]))


def test_two_seeds_differ_in_everything(dataset: Dataset, draws: dict[str, list[Tensor]]) -> None:
    one, two = Recorder(nn.CrossEntropyLoss()), Recorder(nn.CrossEntropyLoss())
    train(make_task(), dataset, one, 5)
    train(make_task(), dataset, two, 6)
    assert not any(same(one.logits, two.logits))
    assert not all(same(one.targets, two.targets))
    for kept in draws.values():
        assert not any(same(kept[:12], kept[12:]))


@pytest.mark.parametrize("model", ["convnet", "resnet9v2"])
def test_a_run_repeats_bit_for_bit_whatever_the_global_state(dataset: Dataset, model: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = train(make_task(model=model), dataset, nn.CrossEntropyLoss(), 7)
        torch.manual_seed(2)
        again = train(make_task(model=model), dataset, nn.CrossEntropyLoss(), 7)
    assert without_times(first) == without_times(again)


def test_no_global_generator_is_moved(dataset: Dataset) -> None:
    def states() -> tuple[Any, ...]:
        numpy_state = np.random.get_state()  # noqa: NPY002 - it is what must not change
        return torch.random.get_rng_state().tolist(), str(numpy_state), random.getstate()

    before = states()
    train(make_task(), dataset, nn.CrossEntropyLoss(), 0)
    assert states() == before
    assert torch.is_grad_enabled()


def test_the_data_is_left_as_it_was(dataset: Dataset) -> None:
    before = [split.images.clone() for split in (dataset.train, dataset.validation, dataset.test)]
    train(make_task(augment={}), dataset, nn.CrossEntropyLoss(), 0, score_split="test")
    assert all(same(before, [split.images for split in (dataset.train, dataset.validation, dataset.test)]))


# --- the test split ------------------------------------------------------------------------------------------------


def test_the_test_split_is_not_touched_by_a_search(dataset: Dataset) -> None:
    forbidden = cast("Tensor", Forbidden())
    guarded = replace(dataset, test=Split(forbidden, forbidden))
    assert train(make_task(), guarded, nn.CrossEntropyLoss(), 0).reason is Reason.OK
    with pytest.raises(AssertionError, match="touched"):
        train(make_task(), guarded, nn.CrossEntropyLoss(), 0, score_split="test")
    rules = [{"from_epoch": 1, "min_train_accuracy": 1.0}]
    stopped = train(make_task(stopping=rules), guarded, nn.CrossEntropyLoss(), 0, score_split="test")
    assert stopped.reason is Reason.BELOW_THRESHOLD


def test_the_test_split_is_scored_after_the_last_step_only(dataset: Dataset) -> None:
    recorder = Recorder(nn.CrossEntropyLoss())
    touched_after: list[int] = []

    class Watched(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            touched_after.append(len(recorder.targets))
            return super().__torch_function__(func, types, args, kwargs or {})

    watched = replace(dataset, test=Split(dataset.test.images.as_subclass(Watched), dataset.test.labels))
    result = train(make_task(), watched, recorder, 0, score_split="test")
    assert set(touched_after) == {12}
    assert result.reason is Reason.OK
    assert result.score is not None
    assert (result.score * 33) == pytest.approx(round(result.score * 33))  # of the 33 test images
    on_validation = train(make_task(), dataset, nn.CrossEntropyLoss(), 0)
    assert [record.validation_accuracy for record in result.curve] == [
        record.validation_accuracy for record in on_validation.curve
    ]


@pytest.mark.gpu
def test_a_gpu_sees_the_same_weights_and_batches(dataset: Dataset) -> None:
    one, two = Recorder(nn.CrossEntropyLoss()), Recorder(nn.CrossEntropyLoss())
    task = make_task(augment={}, dropout=0.0)
    on_cpu = train(task, dataset, one, 0)
    on_gpu = train(task, dataset, two, 0, device=torch.device("cuda"))
    assert all(same(one.targets, [target.cpu() for target in two.targets]))
    torch.testing.assert_close(one.logits[0], two.logits[0].cpu(), rtol=1e-2, atol=1e-2)  # TF32 convolutions
    assert on_gpu.reason is on_cpu.reason is Reason.OK
    augmented = make_task()
    repeated = [train(augmented, dataset, nn.CrossEntropyLoss(), 0, device=torch.device("cuda")) for _ in range(2)]
    assert all(result.reason is Reason.OK for result in repeated)


# --- real data -----------------------------------------------------------------------------------------------------


def test_cross_entropy_learns_the_digits() -> None:
    task = load_task("digits-screen", "test")
    result = train(task, load_dataset(task.data), nn.CrossEntropyLoss(), 0, score_split="test")
    assert result.reason is Reason.OK
    assert result.score is not None
    assert result.score > 0.9
    assert result.nll is not None
    assert result.nll < 0.4


def test_resnet_learns_in_colour() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 150, (60, 3, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.arange(60) % 3
    images[torch.arange(60), labels] += 100  # the class is the brightest channel
    split = Split(images, labels)
    colours = Dataset("colours", ("red", "green", "blue"), split, split, split, "0" * 16)
    task = make_task(model="resnet9v2", steps=60, batch_size=20, dropout=0.0)
    result = train(task, colours, nn.CrossEntropyLoss(), 0)
    assert result.score is not None
    assert result.score > 0.9
