"""Tasks as data: presets, overrides, ranges, identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lossmith.errors import ConfigError
from lossmith.train.task import TaskConfig, load_task, task_names

NEEDS_PATH = {"cifar10-convnet", "cifar10-resnet9v2"}


def test_every_preset_loads_under_its_own_name() -> None:
    names = task_names()
    assert {"digits-screen", "digits", "digits-full", "fashion-screen", "fashion", "fashion-full"} <= set(names)
    assert set(names) >= NEEDS_PATH
    ids = set()
    for name in names:
        reference = {"base": name, "data": {"path": "somewhere"}} if name in NEEDS_PATH else name
        task = load_task(reference, "test")
        assert task.name == name
        ids.add(task.task_id)
    assert len(ids) == len(names)


@pytest.mark.parametrize(
    ("name", "model", "minimum", "from_epoch"),
    [("cifar10-convnet", "convnet", 0.37, 9), ("cifar10-resnet9v2", "resnet9v2", 0.35, 7)],
)
def test_the_methods_surrogates_are_exact(name: str, model: str, minimum: float, from_epoch: int) -> None:
    task = load_task({"base": name, "data": {"path": "cifar"}}, "test")
    assert (task.model, task.dropout, task.data.source) == (model, None, "folder")
    assert (task.steps, task.batch_size, task.epoch_steps, task.epochs) == (8000, 128, 100, 80)
    assert (task.optimizer.name, task.optimizer.learning_rate, task.schedule.warmup_fraction) == ("adam", 1e-3, 0.1)
    assert [(rule.from_epoch, rule.min_train_accuracy) for rule in task.stopping] == [(from_epoch, minimum)]
    assert not task.augment.flip
    assert task.augment.pad == 0


@pytest.mark.parametrize("name", sorted(NEEDS_PATH))
def test_a_preset_without_its_data_says_so(name: str) -> None:
    with pytest.raises(ConfigError, match=r"--task: task '.*': setting 'data': .*needs data.path"):
        load_task(name, "--task")


def test_overrides_are_merged_deeply_and_lists_replaced() -> None:
    values: dict[str, Any] = {"base": "digits", "steps": 7, "optimizer": {"weight_decay": 0.5}, "stopping": []}
    task = load_task(values, "test")
    base = load_task("digits", "test")
    assert task.steps == 7
    assert task.optimizer.weight_decay == 0.5
    assert task.optimizer.learning_rate == base.optimizer.learning_rate
    assert task.data == base.data
    assert task.stopping == ()
    assert values["base"] == "digits"  # the caller's mapping is left alone


def test_a_yaml_file_can_stand_alone_or_over_a_preset(tmp_path: Path) -> None:
    over = tmp_path / "mine.yaml"
    over.write_text("base: digits\nname: mine\noptimizer: {learning_rate: 1e-2}\n")
    task = load_task(str(over), "test")
    assert (task.name, task.optimizer.learning_rate) == ("mine", 0.01)

    alone = tmp_path / "alone.yml"
    alone.write_text("model: convnet\ndata: {source: digits}\nsteps: 3\n")
    assert load_task(str(alone), "test").name == "alone"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("digit", r"run.yaml: no task preset 'digit' \(did you mean 'digits'\?\); use one of .*digits-full"),
        ("no/such.yaml", r"no/such.yaml: cannot read"),
        ({"base": "fashoin"}, r"run.yaml: no task preset 'fashoin' \(did you mean 'fashion'\?\)"),
        ({"base": 3}, r"run.yaml: setting 'base': expected the name of a task preset, found 3"),
        ({"base": "digits", "stepps": 3}, r"run.yaml: unknown setting 'stepps' \(did you mean 'steps'\?\)"),
        ({"base": "digits", "data": {"source": "npz"}}, r"'data': source 'npz' needs data.path"),
        ({"base": "digits", "data": {"path": "x"}}, r"'data': source 'digits' is built in"),
        ({"base": "digits", "data": {"source": "cifar"}}, r"'data.source'"),
        ({"base": "digits", "data": {"validation_fraction": 0}}, r"'data.validation_fraction'"),
        ({"base": "digits", "data": {"test_fraction": 1}}, r"'data.test_fraction'"),
        ({"base": "digits", "data": {"train_limit": 1}}, r"'data.train_limit'"),
        ({"base": "digits", "data": {"image_size": 0}}, r"'data.image_size'"),
        ({"base": "digits", "data": {"split_seed": -1}}, r"'data.split_seed'"),
        ({"base": "digits", "model": "resnet"}, r"'model'"),
        ({"base": "digits", "steps": 0}, r"'steps'"),
        ({"base": "digits", "batch_size": 1}, r"'batch_size'"),
        ({"base": "digits", "epoch_steps": 0}, r"'epoch_steps'"),
        ({"base": "digits", "dropout": 1.0}, r"'dropout'"),
        ({"base": "digits", "augment": {"pad": -1}}, r"'augment.pad'"),
        ({"base": "digits", "optimizer": {"learning_rate": float("nan")}}, r"'optimizer.learning_rate'"),
        ({"base": "digits", "optimizer": {"betas": [0.9, 1.0]}}, r"'optimizer.betas.1'"),
        ({"base": "digits", "optimizer": {"name": "sgd"}}, r"'optimizer.name'"),
        ({"base": "digits", "schedule": {"warmup_fraction": 1.1}}, r"'schedule.warmup_fraction'"),
        ({"base": "digits", "stopping": [{"from_epoch": 0, "min_train_accuracy": 0.1}]}, r"'stopping.0.from_epoch'"),
        ({"base": "digits", "stopping": [{"from_epoch": 1, "min_train_accuracy": 2}]}, r"min_train_accuracy'"),
        ({}, r"run.yaml: setting 'name'"),
    ],
)
def test_mistakes_are_one_line_that_names_the_key(reference: str | dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_task(reference, "run.yaml")
    assert "\n" not in str(caught.value)


def test_task_id_leaves_out_the_name_and_the_path_only() -> None:
    base = load_task("fashion", "test")
    assert len(base.task_id) == 16
    assert int(base.task_id, 16) >= 0
    assert (
        load_task({"base": "fashion", "name": "other", "data": {"path": "elsewhere"}}, "test").task_id == base.task_id
    )
    for change in (
        {"steps": base.steps + 1},
        {"batch_size": 2},
        {"dropout": 0.3},
        {"data": {"split_seed": 1}},
        {"data": {"source": "digits"}},
        {"augment": {"pad": 3}},
        {"optimizer": {"eps": 1e-8}},
        {"schedule": {"warmup_fraction": 0.2}},
        {"stopping": []},
    ):
        assert load_task({"base": "fashion", **change}, "test").task_id != base.task_id


def test_the_number_of_epochs_counts_a_shorter_last_one() -> None:
    task = load_task("digits", "test")
    for steps, epochs in ((1, 1), (50, 1), (51, 2), (100, 2)):
        assert TaskConfig(**{**task.model_dump(), "steps": steps, "epoch_steps": 50}).epochs == epochs
