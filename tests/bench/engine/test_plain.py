"""The reference does what the engine does, in the ordinary way."""

from __future__ import annotations

import pytest
from torch import nn

from lossmith.bench.engine.data import images_of
from lossmith.bench.engine.plain import plain_evaluation, plain_steps, threads_of_torch
from lossmith.train.inputs import scaled
from lossmith.train.metrics import predict, score
from lossmith.train.single import LAYOUT, train
from lossmith.train.task import OptimizerConfig, TaskConfig, load_task

SGD = OptimizerConfig(name="sgd", learning_rate=0.01, weight_decay=1e-3)


@pytest.mark.parametrize("optimizer", [None, SGD], ids=["adam", "sgd"])
def test_it_trains_as_the_engine_does(optimizer: OptimizerConfig | None) -> None:
    digits = load_task("digits", "test")
    task = digits.model_copy(
        update={"steps": 12, "epoch_steps": 6, "stopping": (), "optimizer": optimizer or digits.optimizer}
    )
    dataset = images_of(task, synthetic=False)
    *_, model = plain_steps(task, dataset)
    logits = predict(model, dataset.validation, lambda x: scaled(x, task.scaling, memory_format=LAYOUT))
    expected = train(task, dataset, nn.CrossEntropyLoss(), 0)
    assert score(logits, dataset.validation.labels).nll == pytest.approx(expected.nll, rel=1e-4)


def test_an_evaluation_takes_time_and_leaves_the_threads() -> None:
    digits = load_task("digits", "test")
    task: TaskConfig = digits.model_copy(update={"steps": 3, "epoch_steps": 2})
    with threads_of_torch(1):
        assert plain_evaluation(task, images_of(task, synthetic=False), 1) > 0.0
