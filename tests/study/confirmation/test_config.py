"""The settings of a confirmation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from confirmations import config, tiny
from lossmith.errors import ConfigError
from lossmith.settings import parse_yaml
from lossmith.study.confirmation.cells import augmentation_words, dataset_name, registered_cell, settings
from lossmith.study.confirmation.config import confirmation_of, load_confirmation
from lossmith.study.confirmation.registration import RegisteredTuning
from lossmith.train.task import DataConfig, load_task


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"tuning": {"focal": {"learning_rates": [1, 2]}}},
            "tuning has settings for 'focal' alone: every loss is tuned",
        ),
        ({"tuning": {"learning_rates": [1, 1.0]}}, "tuning.learning_rates has a value twice"),
        ({"tuning": {"learning_rates": []}}, "tuning.learning_rates"),
        ({"tuning": {"seeds": 0}}, "tuning.seeds"),
        ({"losses": []}, "setting 'losses'"),
        ({"cells": []}, "setting 'cells'"),
        ({"cells": [tiny(), tiny()]}, "two cells have the name 'tiny'"),
        ({"cells": [tiny(), tiny("b", optimizer={"learning_rate": 0.1})]}, "cell 'tiny' is another cell's task"),
        ({"cells": [tiny(), tiny("b", data={"validation_fold": 1})]}, "cell 'tiny' is another cell's task"),
        ({"cells": ["no-such-task"]}, "no task preset 'no-such-task'"),
        ({"seeds": 1}, "setting 'seeds'"),
        ({"split": "test"}, "unknown setting 'split'"),
        ({"overlap": 0.5}, "setting 'overlap'"),
        ({"marign": 0.01}, "did you mean 'margin'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_with_overrides(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("losses: [baikal]\ncells: [digits-full, {base: digits, steps: 10}]\n", encoding="utf-8")
    found = load_confirmation(path, ["tuning.seeds=5", "margin=1e-2"])
    assert (found.name, found.tuning.seeds, found.margin, found.seeds) == ("mine", 5, 0.01, 20)
    assert [cell.steps for cell in found.cells] == [500, 10]
    assert found.baselines == ("cross_entropy", "label_smoothing", "poly1", "focal")
    named = load_confirmation(path, ["cells.0.steps=40", "cells.1.optimizer.learning_rate=0.01"])
    assert [(cell.name, cell.steps) for cell in named.cells] == [("digits-full", 40), ("digits", 10)]
    assert named.cells[1].optimizer.learning_rate == 0.01
    (tmp_path / "cell.yaml").write_text("base: digits\nsteps: 10\n", encoding="utf-8")
    changed = confirmation_of(
        {"losses": ["baikal"], "cells": [str(tmp_path / "cell.yaml")]}, "test", ["cells.0.batch_size=32"]
    )
    assert [(cell.name, cell.steps, cell.batch_size) for cell in changed.cells] == [("cell", 10, 32)]
    with pytest.raises(ConfigError, match=r"mine\.yaml with tuning\.sedes=1: unknown setting 'tuning\.sedes'"):
        load_confirmation(path, ["tuning.sedes=1"])


def test_the_documents_settings_are_valid_and_the_defaults() -> None:
    document = (Path(__file__).parents[3] / "docs" / "confirmation.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", document, flags=re.DOTALL)
    written = parse_yaml(block)
    found = confirmation_of(written, "docs/confirmation.md")
    own = ("losses", "controls", "cells", "sources", "null_search")
    plain = confirmation_of({"losses": list(found.losses), "cells": written["cells"]}, "test")
    assert found == plain.model_copy(update={key: getattr(found, key) for key in own})


def test_every_setting_of_a_cell_is_a_task_of_its_own_on_the_confirmations_fold() -> None:
    cell = registered_cell(config().cells[0])
    tuning = RegisteredTuning(learning_rates=(0.3, 1.0), weight_decays=(0.0, 5e-4), seeds=(1,))
    grid = settings(cell, tuning)
    assert [(each.learning_rate, each.weight_decay) for each in grid] == [
        (0.0009, 0.0),
        (0.0009, 5e-4),
        (0.003, 0.0),
        (0.003, 5e-4),
    ]
    assert len({each.task.task_id for each in grid}) == 4
    assert {each.task.data.validation_fold for each in grid} == {2}
    assert all(each.task.optimizer.learning_rate == each.learning_rate for each in grid)


def test_a_learning_rate_out_of_range_is_refused_in_one_line() -> None:
    cell = registered_cell(config().cells[0])
    with pytest.raises(
        ConfigError, match=r"cell 'tiny' at 5000 times its learning rate: setting 'optimizer\.learning_"
    ):
        settings(cell, RegisteredTuning(learning_rates=(5000.0,), weight_decays=(0.0,), seeds=(1,)))


def test_the_words_of_a_cell() -> None:
    plain = load_task({"base": "digits-screen"}, "test")
    assert augmentation_words(plain) == "none"
    many = tiny(
        augment={"pad": 2, "flip": True, "randaugment": {"magnitude": 5}, "cutout": 3, "mixup": 0.2, "cutmix": 1}
    )
    words = "pad 2, flip, RandAugment 5, cutout 3, mixup 0.2, cutmix 1"
    assert augmentation_words(load_task(many, "test")) == words
    stages = [{"steps": 15, "magnitude": 5}, {"steps": 15, "magnitude": 8}]
    staged = tiny(augment={"pad": 0, "randaugment": {"magnitude": 5}}, stages=stages)
    assert augmentation_words(load_task(staged, "test")) == "RandAugment 5 to 8"
    assert dataset_name(DataConfig(source="digits")) == "digits"
    assert dataset_name(DataConfig(source="folder", path="/data/flowers")) == "folder:flowers"
