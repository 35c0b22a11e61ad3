"""A study as settings and as a directory; running one is in tests/end_to_end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lossmith.errors import ConfigError, RunError
from lossmith.study import study
from lossmith.study.study import StudyConfig


def test_presets_are_valid_and_read_back(tmp_path: Path) -> None:
    assert study.preset_names() == ["paper", "paper-augmentations", "study-digits", "study-fashion", "study-smoke"]
    for name in study.preset_names():
        config = study.load_preset(name)
        directory = tmp_path / name
        study.write_study(directory, config)
        assert study.is_study(directory)
        assert study.read_study(directory) == config


def test_the_paper_study_has_the_method_s_numbers() -> None:
    config = study.load_preset("paper")
    search = config.search.search
    assert (search.initial, search.population, search.iterations) == (1_000, 100, 4_000)
    assert [phase.keep for phase in config.elimination.phases] == [25, 12, 6, 4]
    assert config.transfer is not None
    assert (config.transfer.seeds, set(config.transfer.pretrained)) == (6, {True, False})


def test_the_stages_come_in_order_and_may_be_left_out() -> None:
    assert study.load_preset("study-smoke").stages == (
        *("search", "random", "null", "elimination", "elimination-random", "transfer", "confirmation"),
    )
    fewer = ["random_search=false", "null_search=false", "transfer=null"]
    fewer += ["confirmation.controls=[]", "confirmation.null_search=null"]
    config = study.load_preset("study-smoke", fewer)
    assert config.stages == ("search", "elimination", "confirmation")


def test_a_stage_that_is_named_is_its_directory(tmp_path: Path) -> None:
    config = study.load_preset("study-smoke")
    confirmation = study.confirmation_in(config, tmp_path)
    assert confirmation.losses == (str(tmp_path / "elimination"),)
    assert confirmation.controls == (str(tmp_path / "elimination-random"),)
    assert confirmation.null_search == str(tmp_path / "null")
    stages = ("search", "random", "elimination", "elimination-random", "transfer")
    assert confirmation.sources == tuple(str(tmp_path / stage) for stage in stages)
    assert config.transfer is not None
    assert study.transfer_in(config.transfer, tmp_path).losses == (str(tmp_path / "elimination"),)


def test_overrides_reach_into_stages_given_by_name() -> None:
    config = study.load_preset(
        "study-smoke",
        ["search.search.iterations=5", "elimination.phases.0.seeds=4", "confirmation.cells.0.steps=30", "name=mine"],
    )
    assert config.search.search.iterations == 5
    assert config.elimination.phases[0].seeds == 4
    assert config.confirmation.cells[0].steps == 30
    assert config.name == "mine"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("search=digts", r"'search': unknown preset 'digts' \(did you mean 'digits'"),
        ("elimination.candidates=0", "'elimination'.*candidates"),
        ("confirmation.seeds=1", "'confirmation'.*seeds"),
        ("transfer.seeds=x", "'transfer'.*seeds"),
        ("random_search=false", "'elimination-random' is named, but this study has no such stage"),
        ("colour=red", "unknown setting 'colour'"),
        ("search", "expected KEY=VALUE"),
    ],
)
def test_what_users_get_wrong(override: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        study.load_preset("study-smoke", [override])


def test_directories_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    config: StudyConfig = study.load_preset("study-smoke")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"is not empty \(notes.txt"):
        study.write_study(tmp_path / "other", config)
    with pytest.raises(RunError, match="cannot read the study"):
        study.read_study(tmp_path)
    (tmp_path / study.FILE).write_text(json.dumps({"format": 2}))
    with pytest.raises(RunError, match="no study of this version"):
        study.read_study(tmp_path)


def test_an_unknown_study_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown study 'study-digit' \(did you mean 'study-digits'"):
        study.load_preset("study-digit")
