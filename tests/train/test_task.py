"""Tasks as data: presets, overrides, ranges, identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lossmith.errors import ConfigError
from lossmith.train.task import TaskConfig, load_task, task_names

PHASES = tuple(f"cifar10-effnetv2s-phase{number}" for number in range(1, 5))
WIDE = tuple(f"cifar10-wrn28-10-{name}" for name in ("plain", "cutout", "mixup", "randaugment", "all"))
NEEDS_PATH = {
    "cifar10-convnet",
    "cifar10-resnet9v2",
    "cifar10-resnet9v2-randaug80",
    "cifar10-effnetv2s-randaug96",
    "cifar10-effnetv2s-plain",
    "cifar10-effnetv2s-plain-imagenet",
    "cifar10-effnetv2s-progressive-imagenet",
    "finetune-effnetv2s",
    *PHASES,
    *WIDE,
}


def preset(name: str, **changes: Any) -> TaskConfig:
    data = {"data": {"path": "somewhere"}} if name in NEEDS_PATH else {}
    return load_task({"base": name, **data, **changes}, "test")


def test_every_preset_loads_under_its_own_name() -> None:
    names = task_names()
    built_in = {"digits-screen", "digits", "digits-full", "fashion-screen", "fashion", "fashion-full"}
    assert set(names) == NEEDS_PATH | built_in
    ids = set()
    for name in names:
        task = preset(name) if name in NEEDS_PATH else load_task(name, "test")
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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar10-convnet", "d1429898f0eafde3"),
        ("cifar10-resnet9v2", "67b3d2353f0c744d"),
        ("digits", "14efad02287d2371"),
        ("digits-full", "d5c5a751a35206f3"),
        ("digits-screen", "d31d65d32a0ad08c"),
        ("fashion", "f39d898327383c0c"),
        ("fashion-full", "1a2b057d131b75d5"),
        ("fashion-screen", "2a62dc3e9fa6561d"),
    ],
)
def test_the_tasks_of_old_ledgers_keep_their_identity(name: str, expected: str) -> None:
    assert preset(name).task_id == expected


def test_settings_that_came_later_count_where_they_are_used() -> None:
    base = preset("fashion")
    later: list[dict[str, Any]] = [
        {"weights": "file.pt"},
        {"resize": 32},
        {"scaling": "centred"},
        {"prescreen": {"model": "convnet", "steps": 10, "min_train_accuracy": 0.2}},
        {"stages": [{"steps": base.steps}]},
        {"optimizer": {"momentum": 0.8}},
        {"schedule": {"total_steps": base.steps}},
        {"augment": {"randaugment": {"magnitude": 5}}},
        {"augment": {"cutout": 8}},
        {"augment": {"mixup": 1.0}},
        {"augment": {"cutmix": 1.0}},
    ]
    ids = {preset("fashion", **change).task_id for change in later}
    assert len(ids) == len(later)
    assert base.task_id not in ids


@pytest.mark.parametrize(
    ("name", "model", "size", "total", "rule", "first_model", "first_minimum"),
    [
        ("cifar10-resnet9v2-randaug80", "resnet9v2", 80, None, (8, 0.22), "resnet9v2", 0.35),
        ("cifar10-effnetv2s-randaug96", "effnetv2s", 96, 64_000, (31, 0.25), "convnet", 0.37),
    ],
)
def test_the_methods_surrogates_under_randaugment(
    name: str,
    model: str,
    size: int,
    total: int | None,
    rule: tuple[int, float],
    first_model: str,
    first_minimum: float,
) -> None:
    task = preset(name)
    assert (task.model, task.resize, task.scaling, task.weights) == (model, size, "centred", None)
    assert (task.steps, task.batch_size, task.epoch_steps, task.schedule.total_steps) == (8000, 64, 100, total)
    assert (task.optimizer.name, task.optimizer.learning_rate, task.schedule.warmup_fraction) == ("adam", 1e-3, 0.1)
    assert [(one.from_epoch, one.min_train_accuracy) for one in task.stopping] == [rule]
    magic = task.augment.randaugment
    assert magic is not None
    assert (magic.magnitude, magic.layers, magic.fill, magic.translate, magic.cutout) == (5, 2, 128, 100, 40)
    first = task.prescreen
    assert first is not None
    assert (first.model, first.steps, first.total_steps, first.batch_size) == (first_model, 800, 8000, 128)
    assert first.min_train_accuracy == first_minimum


def test_the_phases_of_elimination_are_exact() -> None:
    sizes, dropouts, magnitudes = (128, 160, 192, 224), (0.1, 0.2, 0.3, 0.4), (5, 8, 12, 15)
    for number, name in enumerate((*PHASES, "cifar10-effnetv2s-progressive-imagenet"), 1):
        task, count = preset(name), min(number, 4)
        expected = zip([16_000] * count, sizes, dropouts, magnitudes, strict=False)
        assert [tuple(stage.model_dump().values()) for stage in task.stages] == list(expected)
        assert (task.model, task.scaling, task.batch_size, task.epoch_steps) == ("effnetv2s", "centred", 64, 100)
        assert (task.steps, task.schedule.total_steps) == (16_000 * count, 64_000)
        assert [(rule.from_epoch, rule.min_train_accuracy) for rule in task.stopping] == [(41, 0.45)]
        assert task.weights == ("imagenet" if number == 5 else None)


def test_the_transfer_to_wideresnet_differs_in_the_augmentation_alone() -> None:
    tasks = [preset(name) for name in WIDE]
    assert len({task.model_copy(update={"name": "x", "augment": None}).model_dump_json() for task in tasks}) == 1
    plain, cutout, mixup, randaugment, everything = (task.augment for task in tasks)
    assert (plain.pad, plain.flip, plain.cutout, plain.mixup, plain.randaugment) == (4, True, 0, 0.0, None)
    assert cutout == plain.model_copy(update={"cutout": 16})
    assert mixup == plain.model_copy(update={"mixup": 1.0})
    assert randaugment.randaugment is not None
    assert randaugment == plain.model_copy(update={"randaugment": randaugment.randaugment})
    everything_expected = {"randaugment": randaugment.randaugment, "cutout": 16, "mixup": 1.0}
    assert everything == plain.model_copy(update=everything_expected)
    first = tasks[0]
    assert (first.optimizer.name, first.optimizer.learning_rate) == ("sgd", 0.1)
    assert (first.optimizer.momentum, first.optimizer.weight_decay) == (0.9, 5e-4)
    assert first.steps * first.batch_size / 45_000 == pytest.approx(200, abs=1)


def test_cifar_100_is_an_override() -> None:
    task = preset(WIDE[0], data={"source": "cifar100", "path": "somewhere"})
    assert (task.data.source, task.model) == ("cifar100", "wideresnet28-10")
    assert task.task_id != preset(WIDE[0]).task_id


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
        (
            {"base": "digits", "model": "resnet9"},
            r"'model': no model 'resnet9' \(did you mean 'resnet9v2'\?\): use one ",
        ),
        ({"base": "digits", "weights": ""}, r"'weights'"),
        ({"base": "digits", "resize": 3}, r"'resize'"),
        ({"base": "digits", "scaling": "imagenet"}, r"'scaling'"),
        ({"base": "digits", "steps": 0}, r"'steps'"),
        ({"base": "digits", "batch_size": 1}, r"'batch_size'"),
        ({"base": "digits", "epoch_steps": 0}, r"'epoch_steps'"),
        ({"base": "digits", "dropout": 1.0}, r"'dropout'"),
        ({"base": "digits", "augment": {"pad": -1}}, r"'augment.pad'"),
        ({"base": "digits", "optimizer": {"learning_rate": float("nan")}}, r"'optimizer.learning_rate'"),
        ({"base": "digits", "optimizer": {"betas": [0.9, 1.0]}}, r"'optimizer.betas.1'"),
        ({"base": "digits", "optimizer": {"name": "lion"}}, r"'optimizer.name'"),
        ({"base": "digits", "optimizer": {"momentum": 1.0}}, r"'optimizer.momentum'"),
        ({"base": "digits", "augment": {"randaugment": {}}}, r"'augment.randaugment.magnitude'"),
        (
            {"base": "digits", "stages": [{"steps": 100}]},
            r"run.yaml: steps is 250, but its stages have 100 in all: make",
        ),
        ({"base": "digits", "stages": [{"steps": 0}]}, r"'stages.0.steps'"),
        ({"base": "digits", "stages": [{"steps": 250, "size": 9}]}, r"unknown setting 'stages.0.size' \(did you mean"),
        (
            {"base": "digits", "stages": [{"steps": 250, "magnitude": 5}]},
            r"run.yaml: a stage has a magnitude, but augment.randaugment is not set: set it",
        ),
        (
            {"base": "digits", "schedule": {"total_steps": 249}},
            r"run.yaml: schedule.total_steps is 249, less than the task's 250 steps: raise it",
        ),
        ({"base": "digits", "prescreen": {"model": "convnet", "steps": 9}}, r"'prescreen.min_train_accuracy'"),
        (
            {"base": "digits", "prescreen": {"model": "konvnet", "steps": 9, "min_train_accuracy": 0.1}},
            r"'prescreen.model': no model 'konvnet' \(did you mean 'convnet'\?\): use one of convnet, ",
        ),
        (
            {
                "base": "digits",
                "prescreen": {"model": "convnet", "steps": 9, "total_steps": 8, "min_train_accuracy": 0.1},
            },
            r"'prescreen': total_steps is 8, less than its 9 steps: raise it",
        ),
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


def test_the_documented_table_is_that_of_the_presets() -> None:
    text = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]
    table = {cells[0].strip("`"): cells for cells in rows if len(cells) == 8}
    assert set(table) == set(task_names())
    for name, (_, model, _, batch, steps, stops, first, _) in table.items():
        task = preset(name)
        total = task.schedule.total_steps
        cut = "" if total in {None, task.steps} else f" of {total}"
        assert (model.partition(",")[0], batch, steps) == (task.model, str(task.batch_size), f"{task.steps}{cut}")
        assert ("ImageNet" in model) == (task.weights is not None)
        assert bool(first) == (task.prescreen is not None)
        rules = [f"{rule.min_train_accuracy:.2f} from epoch {rule.from_epoch}" for rule in task.stopping]
        assert stops.startswith(rules[0]) if rules else not stops
