"""The stages of a task, and progressive training by them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bars import LOSSES, make_dataset, make_task
from lossmith.errors import ConfigError, DataError
from lossmith.train import batches, single
from lossmith.train.dropout import Dropout
from lossmith.train.single import train
from lossmith.train.stages import Stage, prescreen_task, stages
from lossmith.verdict import Reason

PROGRESSIVE: dict[str, Any] = {
    "steps": 12,
    "epoch_steps": 4,
    "augment": {"randaugment": {"magnitude": 1.0}},
    "stages": [
        {"steps": 5, "resize": 6, "dropout": 0.1, "magnitude": 2.0},
        {"steps": 4, "resize": 8, "dropout": 0.2},
        {"steps": 3, "dropout": 0.3, "magnitude": 9.0},
    ],
}


def test_a_task_without_stages_is_one() -> None:
    assert stages(make_task(resize=10, dropout=0.2)) == (Stage(0, 12, 10, 0.2, None),)


def test_a_stage_takes_from_the_task_what_it_leaves_out() -> None:
    task = make_task(**PROGRESSIVE, resize=12)
    assert stages(task) == (Stage(0, 5, 6, 0.1, 2.0), Stage(5, 9, 8, 0.2, None), Stage(9, 12, 12, 0.3, 9.0))


def test_a_dropout_is_not_left_over_from_the_stage_before() -> None:
    mixed = {"steps": 4, "stages": [{"steps": 2, "dropout": 0.1}, {"steps": 2}]}
    with pytest.raises(ConfigError, match="some stages have a dropout and others none"):
        make_task(**mixed)
    assert [stage.dropout for stage in stages(make_task(**mixed, dropout=0.4))] == [0.1, 0.4]


def test_progressive_training_changes_size_dropout_and_magnitude(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the right steps, and scores at the size of the stage."""
    seen: dict[str, list[Any]] = {"sizes": [], "magnitudes": [], "dropouts": [], "scored": []}
    real_augment, real_forward, real_predict = batches.augment, Dropout.forward, single.predict

    def augment(images: Tensor, labels: Tensor, config: Any, *rest: Any, **named: Any) -> Any:
        seen["sizes"].append(images.shape[-1])
        seen["magnitudes"].append(config.randaugment.magnitude)
        return real_augment(images, labels, config, *rest, **named)

    def forward(self: Dropout, inputs: Tensor) -> Tensor:
        if self.training:
            seen["dropouts"].append(self.probability)
        return real_forward(self, inputs)

    def predict(model: nn.Module, split: Any, prepare: Any) -> Tensor:
        seen["scored"].append(prepare(split.take(torch.arange(2))).shape[-1])
        return real_predict(model, split, prepare)

    monkeypatch.setattr(batches, "augment", augment)
    monkeypatch.setattr(Dropout, "forward", forward)
    monkeypatch.setattr(single, "predict", predict)
    result = train(make_task(**PROGRESSIVE, resize=12), make_dataset(), LOSSES[0], 0, score_split="test")
    assert result.reason is Reason.OK
    assert seen["sizes"] == [6] * 5 + [8] * 4 + [12] * 3
    assert seen["magnitudes"] == [2.0] * 5 + [1.0] * 4 + [9.0] * 3
    assert seen["dropouts"] == [0.1] * 5 + [0.2] * 4 + [0.3] * 3
    # an epoch never spans two stages: 4 + 1, 4, 3 steps; the last score is the test split's
    assert [record.step for record in result.curve] == [4, 5, 9, 12]
    assert seen["scored"] == [6, 6, 8, 12, 12]


@pytest.mark.parametrize(
    ("rule", "steps"),
    [((1, 1.0), 4), ((2, 1.0), 5), ((3, 1.0), 12), ((4, 1.0), 12)],
)
def test_stopping_rules_count_each_stages_epochs(rule: tuple[int, float], steps: int) -> None:
    """The stages have 2, 1 and 1 epochs."""
    stopping = [{"from_epoch": rule[0], "min_train_accuracy": rule[1]}]
    result = train(make_task(**PROGRESSIVE, stopping=stopping), make_dataset(), LOSSES[0], 0)
    assert result.steps == steps
    assert result.reason is (Reason.OK if steps == 12 else Reason.BELOW_THRESHOLD)


def test_the_learning_rate_goes_on_from_stage_to_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    real = torch.optim.Adam.step

    def step(self: torch.optim.Adam) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return real(self)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    train(make_task(**PROGRESSIVE, schedule={"warmup_fraction": 0.0}), make_dataset(), LOSSES[0], 0)
    assert rates == sorted(rates, reverse=True)
    assert len(set(rates)) == 12


def test_padding_must_fit_the_smallest_images_of_the_stages() -> None:
    task = make_task(steps=4, augment={"pad": 6}, stages=[{"steps": 2, "resize": 6}, {"steps": 2, "resize": 8}])
    with pytest.raises(DataError, match=r"augment\.pad 6 can push the whole of a 6x6 image of bars out"):
        train(task, make_dataset(), LOSSES[0], 0)


def test_the_pre_screen_is_a_plain_task_with_a_rule_at_its_end() -> None:
    screen = {"model": "resnet9v2", "dropout": 0.3, "steps": 25, "total_steps": 80, "batch_size": 8}
    task = make_task(**PROGRESSIVE, scaling="centred", prescreen={**screen, "min_train_accuracy": 0.7})
    first = prescreen_task(task)
    assert first is not None
    assert (first.model, first.dropout, first.steps, first.batch_size, first.epochs) == ("resnet9v2", 0.3, 25, 8, 7)
    assert first.schedule.total_steps == 80
    assert (first.augment.randaugment, first.augment.pad, first.stages, first.scaling) == (None, 0, (), "unit")
    assert [(rule.from_epoch, rule.min_train_accuracy) for rule in first.stopping] == [(7, 0.7)]
    assert first.prescreen is None
    assert prescreen_task(make_task()) is None


def test_the_pre_screen_comes_first_and_its_own_result_is_given() -> None:
    screen = {"model": "convnet", "steps": 3, "batch_size": 8, "min_train_accuracy": 1.0}
    result = train(make_task(prescreen=screen), make_dataset(), LOSSES[0], 0)
    assert (result.reason, result.steps, result.score) == (Reason.BELOW_THRESHOLD, 3, None)
    passed = train(make_task(prescreen={**screen, "min_train_accuracy": 0.0}), make_dataset(), LOSSES[0], 0)
    plain = train(make_task(), make_dataset(), LOSSES[0], 0)
    assert passed.reason is Reason.OK
    assert [record.train_loss for record in passed.curve] == [record.train_loss for record in plain.curve]
