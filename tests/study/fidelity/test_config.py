"""Settings of fidelity studies: presets, files, overrides, and what is refused, in one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fidelities import settings
from lossmith.errors import ConfigError
from lossmith.study.fidelity.config import (
    dataset_of,
    epoch_ends,
    fidelity_of,
    from_stored,
    load_file,
    load_preset,
    preset_names,
)
from lossmith.train.task import load_task


def test_the_presets_are_whole_and_can_be_stored() -> None:
    assert preset_names() == ["digits", "fashion", "smoke"]
    for name in preset_names():
        config = load_preset(name)
        assert config.name == name
        assert from_stored(config.model_dump(mode="json"), "stored") == config
        assert all(each.task.data.validation_fold == 0 for each in (config.expensive, *config.surrogates))
    digits, fashion = load_preset("digits"), load_preset("fashion")
    for config in (digits, fashion):
        assert config.losses.zoo
        assert config.losses.random >= 50
        steps = [each.task.steps for each in config.surrogates]
        assert max(steps) < config.expensive.task.steps
        assert config.expensive.seeds >= 3
    # one thing at a time: what differs from the first surrogate
    first, *others = [each.task.model_dump(exclude={"name"}) for each in fashion.surrogates[:5]]
    different = [[key for key in first if each[key] != first[key]] for each in others]
    assert different == [["augment"], ["resize"], ["model"], ["data"]]


def test_overrides_and_files(tmp_path: Path) -> None:
    config = load_preset("smoke", ["expensive.task.steps=60", "surrogates.0.seeds=2", "losses.random=9"])
    assert (config.expensive.task.steps, config.surrogates[0].seeds, config.losses.random) == (60, 2, 9)
    path = tmp_path / "mine.yaml"
    path.write_text("preset: smoke\nseed: 4\nsurrogates:\n  - {name: one, task: digits-screen}\n", encoding="utf-8")
    config = load_file(path, ["surrogates.0.task.steps=50"])
    assert (config.name, config.seed) == ("mine", 4)
    assert (config.surrogates[0].task.name, config.surrogates[0].task.steps) == ("one", 50)
    assert config.expensive == load_preset("smoke").expensive
    assert settings("a", top=[10, 1, 1]).top == (1, 10)


def test_data_is_given_to_all_tasks_that_do_not_say_otherwise() -> None:
    values: dict[str, Any] = {
        "name": "x",
        "data": {"path": "/data/cifar", "validation_fraction": 0.2},
        "expensive": {"task": {"base": "cifar10-resnet9v2-randaug80"}},
        "surrogates": [
            {"name": "plain", "task": "cifar10-resnet9v2"},
            {"name": "own", "task": {"base": "cifar10-convnet", "data": {"validation_fraction": 0.3}}},
        ],
    }
    config = fidelity_of(values, "x")
    paths = [(each.task.data.path, each.task.data.validation_fraction) for each in config.surrogates]
    assert paths == [("/data/cifar", 0.2), ("/data/cifar", 0.3)]
    assert config.expensive.task.data.path == "/data/cifar"
    assert dataset_of(config.expensive.task.data) == "cifar10"
    assert dataset_of(config.surrogates[0].task.data) == "folder /data/cifar"


def test_epochs_end_where_curves_have_points() -> None:
    task = load_task({"base": "digits", "steps": 250, "epoch_steps": 100}, "test")
    assert epoch_ends(task) == [100, 200, 250]
    staged = load_task(
        {"base": "digits", "steps": 70, "stages": [{"steps": 30}, {"steps": 40}], "epoch_steps": 20}, "t"
    )
    assert epoch_ends(staged) == [20, 30, 50, 70]


def _task(**changes: Any) -> dict[str, Any]:
    return {"base": "digits", "steps": 80, "epoch_steps": 20, **changes}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"expensive": {"task": _task()}}, "there is no surrogate"),
    (
        {"expensive": {"task": _task(), "at": [30]}},
        "at step 30, which is not the end of an epoch before its last: use 20",
    ),
    ({"expensive": {"task": _task(), "at": [80]}}, "use 20, 40, 60"),
    ({"expensive": {"task": _task(), "seeds": 1, "at": [20]}}, "setting 'expensive.seeds': Input should be greater"),
    ({"expensive": {"task": _task()}, "surrogates": [{"name": "a", "task": _task()}]}, "same task as 'expensive'"),
    (
        {"expensive": {"task": _task()}, "surrogates": [{"name": "expensive", "task": "digits"}]},
        "name 'expensive' is given twice",
    ),
    (
        {"expensive": {"task": _task()}, "surrogates": [{"name": "a", "task": "digits", "seeds": 9}]},
        "'a' has 9 seeds, more than the 3 of the expensive task",
    ),
    (
        {"expensive": {"task": "digit", "at": [20]}},
        "setting 'expensive.task': no task preset 'digit' (did you mean 'digits'?)",
    ),
    ({"expensive": {"task": _task(), "at": [20], "split": "test"}}, "unknown setting 'expensive.split'"),
    ({"surrogates": [{"name": "a", "task": "digits"}]}, "setting 'expensive': Field required"),
    ({"preset": "digit"}, "unknown fidelity study 'digit'"),
    ({"data": 3}, "setting 'data': expected a group"),
    ({"expensive": {"task": {"base": "my.yaml"}, "at": [20]}}, "expected the name of a task preset, not a file"),
]


@pytest.mark.parametrize(("values", "message"), BAD)
def test_what_does_not_fit_is_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        fidelity_of({"name": "x", **values}, "file.yaml")
    text = str(error.value)
    assert text.startswith("file.yaml: ")
    assert message in text
    assert "\n" not in text


def test_an_override_that_does_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"'surrogates' has the entries 0 to 0, no '3'"):
        load_preset("smoke", ["surrogates.3.seeds=2"])
