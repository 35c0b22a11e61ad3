"""The settings of a transfer, and the cells that they make."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lossmith.errors import ConfigError
from lossmith.settings import parse_yaml
from lossmith.study.transfer.cells import Cell, cells_of, problems
from lossmith.study.transfer.config import TransferConfig, load_file, load_preset, preset_names, transfer_of
from lossmith.train.task import load_task

PATHS = ["datasets.cifar10.path=a", "datasets.cifar100.path=b"]
GRID: dict[str, Any] = {
    "datasets": {"digits": {"source": "digits"}},
    "models": {"net": {"model": "convnet"}},
    "augmentations": {"plain": {}, "shift": {"augment": {"pad": 1}}},
    "task": {"steps": 30},
}


def cells(values: dict[str, Any]) -> list[Cell]:
    return cells_of(transfer_of(values, "here"), "here")


def of_preset(name: str, *overrides: str) -> dict[str, Cell]:
    return {cell.name: cell for cell in cells_of(load_preset(name, overrides), name)}


def settings(cell: Cell) -> dict[str, Any]:
    """What the task of a cell does, without its name and data."""
    return cell.task.model_dump(exclude={"name", "data"})


def of_task(name: str, **changes: Any) -> dict[str, Any]:
    task = load_task({"base": name, "data": {"path": "a"}, **changes}, name)
    return task.model_dump(exclude={"name", "data"})


def test_the_grid_is_every_combination_scored_on_fold_1() -> None:
    found = cells({**GRID, "models": {"a": {"model": "convnet"}, "b": {"model": "resnet9v2", "steps": 20}}})
    assert [cell.name for cell in found] == [
        "digits/a/plain/scratch",
        "digits/a/shift/scratch",
        "digits/b/plain/scratch",
        "digits/b/shift/scratch",
    ]
    assert [cell.task.steps for cell in found] == [30, 30, 20, 20]  # what the model says goes over what all share
    assert [cell.task.augment.pad for cell in found] == [0, 1, 0, 1]
    assert {cell.task.data.validation_fold for cell in found} == {1}
    assert [cell.task.name for cell in found] == [cell.name for cell in found]


def test_a_case_holds_in_the_cells_that_it_names_alone() -> None:
    case = {"augmentation": ["shift"], "pretrained": False, "task": {"augment": {"flip": True}, "steps": 7}}
    plain, shift = cells({**GRID, "cases": [case]})
    assert (plain.task.augment.flip, plain.task.steps) == (False, 30)
    assert (shift.task.augment.flip, shift.task.augment.pad, shift.task.steps) == (True, 1, 7)


def test_the_presets_are_read() -> None:
    assert preset_names() == ["augmentations", "digits", "fashion", "method"]
    for name in ("digits", "fashion"):
        config = load_preset(name)
        found = cells_of(config, name)
        others = 4  # losses beside the baseline, for which the seeds are enough
        assert 2 / 2**config.seeds < 0.05 / (others * len(found))


def test_the_method_s_transfer_is_made_of_the_method_s_tasks() -> None:
    found = of_preset("method", *PATHS)
    tasks = {
        "plain/scratch": "cifar10-effnetv2s-plain",
        "plain/pretrained": "cifar10-effnetv2s-plain-imagenet",
        "progressive/scratch": "cifar10-effnetv2s-phase4",
        "progressive/pretrained": "cifar10-effnetv2s-progressive-imagenet",
    }
    assert {name: settings(cell) for name, cell in found.items()} == {
        f"{data}/effnetv2s/{rest}": of_task(task) for data in ("cifar10", "cifar100") for rest, task in tasks.items()
    }
    assert found["cifar100/effnetv2s/plain/scratch"].task.data.source == "cifar100"
    config = load_preset("method", PATHS)
    assert (config.seeds, config.baseline, config.losses) == (6, "cross_entropy", ("baikal",))


def test_the_follow_up_s_transfer_is_made_of_its_tasks() -> None:
    found = of_preset("augmentations", *PATHS)
    for name in ("plain", "cutout", "mixup", "randaugment", "all"):
        assert settings(found[f"cifar10/wrn28-10/{name}/scratch"]) == of_task(f"cifar10-wrn28-10-{name}")
    cutout = of_task("cifar10-wrn28-10-cutout", augment={"cutout": 8})
    assert settings(found["cifar100/wrn28-10/cutout/scratch"]) == cutout
    assert len(found) == 10


def test_a_file_may_start_from_a_preset(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("preset: digits\nseeds: 3\naugmentations: {plain: {}}\n")
    config = load_file(file, ["task.steps=9"])
    assert (config.name, config.seeds, config.task["steps"]) == ("mine", 3, 9)
    assert list(config.augmentations) == ["plain"]
    assert list(config.models) == list(load_preset("digits").models)
    assert TransferConfig.model_validate(config.model_dump(mode="json")) == config


def test_the_document_s_grid_is_valid() -> None:
    document = Path(__file__).parents[3] / "docs" / "transfer.md"
    (text,) = re.findall(r"```yaml\n(.*?)```", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = {cell.name: cell for cell in cells({"name": "mine", **parse_yaml(text)})}
    assert found["birds/large/cutout/pretrained"].task.weights == "imagenet"
    assert found["birds/small/cutout/scratch"].task.augment.cutout == 24
    assert sum(cell.error is not None for cell in found.values()) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": {"digits": {"source": "digits", "validation_fold": 2}}}, "scored on fold 1 always"),
        ({"datasets": {}}, "setting 'datasets'"),
        ({"augmentations": {"a/b": {}}}, "setting 'augmentations.a/b"),
        ({"models": {"net": {"model": "convnet", "data": {"source": "digits"}}}}, "models.net has 'data'"),
        ({"models": {"net": {"model": "convent"}}}, r"cell 'digits/net/plain/scratch'.*did you mean 'convnet'"),
        ({"models": {"net": {}}}, "cell 'digits/net/plain/scratch': setting 'model'"),
        ({"task": {"steps": 3, "stps": 3}}, r"unknown setting 'stps' \(did you mean 'steps'"),
        ({"task": {"base": "digit"}}, r"no task preset 'digit' \(did you mean 'digits'"),
        ({"cases": [{"model": "nett", "task": {}}]}, r"cases.0 names no model 'nett' \(did you mean 'net'"),
        ({"cases": [{"dataset": ["x"], "task": {}}]}, "cases.0 names no dataset 'x'"),
        ({"pretrained": [True, True]}, "pretrained has a value twice"),
        ({"pretrained": []}, "setting 'pretrained'"),
        ({"seeds": 1}, "setting 'seeds'"),
        ({"sedes": 3}, r"unknown setting 'sedes' \(did you mean 'seed"),
        ({"preset": "digts"}, r"unknown transfer 'digts' \(did you mean 'digits'"),
        ({"augmentations": {"a": {}, "b": {}}}, r"cells 'digits/net/a/scratch' and .* are one task"),
        ({"task": {"steps": 3, "weights": "w.pt"}}, "starts from scratch, but has weights 'w.pt'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        cells({**GRID, **changes})
    assert "\n" not in str(error.value)


def test_what_cannot_be_trained_here_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = {
        **GRID,
        "datasets": {"digits": {"source": "digits"}, "mine": {"source": "npz", "path": str(tmp_path / "no.npz")}},
        "models": {"net": {"model": "convnet"}, "big": {"model": "effnetv2s"}},
        "augmentations": {"plain": {}},
        "pretrained": [False, True],
        "cases": [{"model": "big", "pretrained": True, "task": {"weights": "imagenet"}}],
    }
    tried: list[Any] = []

    def try_model(name: str, *, weights: str | None, **_: Any) -> None:
        tried.append((name, weights))
        if name == "effnetv2s":
            raise ConfigError("weights not to be had" if weights else "needs the package timm")

    monkeypatch.setattr("lossmith.study.transfer.cells.try_model", try_model)
    found = problems(cells(values))
    assert found.keys() == {cell.name for cell in cells(values)} - {"digits/net/plain/scratch"}
    assert found["digits/big/plain/scratch"] == "needs the package timm"
    assert found["digits/big/plain/pretrained"] == "weights not to be had"
    assert "no weights are named for model 'net'" in found["digits/net/plain/pretrained"]
    assert "no.npz" in found["mine/net/plain/scratch"]
    assert tried == [("convnet", None), ("effnetv2s", None), ("effnetv2s", "imagenet")]


def test_weights_that_cannot_be_had_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def try_model(name: str, **_: Any) -> None:
        asked.append(name)
        raise ConfigError("no network")

    monkeypatch.setattr("lossmith.study.transfer.cells.try_model", try_model)
    values = {
        **GRID,
        "datasets": {"a": {"source": "digits"}, "b": {"source": "digits", "split_seed": 1}},
        "models": {"big": {"model": "effnetv2s"}},
        "augmentations": {"small": {}, "large": {"resize": 32}},
        "pretrained": [True],
        "cases": [{"task": {"weights": "imagenet"}}],
    }
    assert set(problems(cells(values)).values()) == {"no network"}
    assert len(asked) == 1
