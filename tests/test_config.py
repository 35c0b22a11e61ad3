from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lossmith.config import NO_RUNGS, MicrotaskConfig, RunConfig, from_stored, load_file, load_preset, preset_names
from lossmith.errors import ConfigError
from lossmith.settings import override_setting


def test_presets_are_valid_and_read_back_from_their_stored_form() -> None:
    assert {"smoke", "digits", "fashion"} <= set(preset_names())
    for name in preset_names():
        places = ["screening.data.path=x", "task.data.path=x"] if name == "cifar10" else []  # of data that users have
        config = load_preset(name, places)
        assert from_stored(config.model_dump(mode="json"), "ledger") == config


def test_defaults_are_the_method_s() -> None:
    search = RunConfig.model_fields["search"].default
    assert (search.initial, search.population, search.iterations, search.tournament) == (1000, 100, 4000, 20)
    assert (search.retries, search.phenotype_distance, search.max_mutations) == (7, 0.01, 2500)


def test_overrides_reach_into_tasks_given_by_name() -> None:
    config = load_preset(
        "digits", ["search.iterations=7", "task.steps=33", "task.optimizer.learning_rate=1e-4", "seed=5"]
    )
    assert (config.search.iterations, config.task.steps, config.seed) == (7, 33, 5)
    assert config.task.optimizer.learning_rate == 1e-4
    assert config.task.model == load_preset("digits").task.model


def test_a_file_may_start_from_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("preset: digits\nseed: 3\nsearch: {iterations: 9}\ntask: {steps: 50}\n")
    config = load_file(path)
    base = load_preset("digits")
    assert (config.name, config.seed, config.search.iterations, config.task.steps) == ("mine", 3, 9, 50)
    assert config.search.initial == base.search.initial
    assert config.screening == base.screening


def test_a_whole_file_with_tasks_inline(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "screening: {name: s, model: convnet, data: {source: digits}, steps: 10}\n"
        "task: {name: t, model: resnet9v2, data: {source: digits}, steps: 1e2}\n"
    )
    config = load_file(path)
    assert config.task.steps == 100
    assert config.search.iterations == 4000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("serch: {}\n", "unknown setting 'serch' (did you mean 'search'?)"),
        ("search: {iteration: 5}\n", "unknown setting 'search.iteration' (did you mean 'iterations'?)"),
        (
            "space: {mutation: {operater: 0.5}}\n",
            "unknown setting 'space.mutation.operater' (did you mean 'operator'?)",
        ),
        ("task: {base: digits, stepps: 5}\n", "unknown setting 'stepps' (did you mean 'steps'?)"),
        ("task: digitz\n", "did you mean 'digits'?"),
        ("search: {iterations: many}\n", "search.iterations"),
        ("search: {initial: 5, population: 6}\n", "population (6) cannot exceed initial (5)"),
        ("name: ''\n", "name"),
        ("search: {tournament: 1000000000000}\n", "search.tournament"),
        ("search: {phenotype_distance: .inf}\n", "search.phenotype_distance"),
        ("seed: -1\n", "greater than or equal to 0"),
        ("preset: digitz\n", "unknown preset 'digitz' (did you mean 'digits'?)"),
        ("- a\n- b\n", "expected a mapping"),
        ("a: [1\n", "not valid YAML"),
        ("screening: 5\n", "screening"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_names_it(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text if text.startswith(("preset", "-", "a:")) else f"preset: digits\n{text}")
    with pytest.raises(ConfigError) as caught:
        load_file(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("iterations", "expected KEY=VALUE"),
        ("search.=4", "expected KEY=VALUE"),
        ("search.iteratons=4", "unknown setting 'search.iteratons' (did you mean 'iterations'?)"),
        ("seed.x=4", "'seed' is not a group"),
        ("search.iterations=[", "not valid YAML"),
        ("name=2024-13-45", "not valid YAML"),
        ("seed=" + "9" * 5000, "not valid YAML"),
        ("space=" + "[" * 3000, "not valid YAML"),
    ],
)
def test_a_mistake_in_an_override_is_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_preset("digits", ["seed=1", override])
    assert message in str(caught.value)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").touch()
    with pytest.raises(ConfigError, match="is empty"):
        load_file(tmp_path / "run.yaml")


def test_a_missing_file_and_an_unknown_preset(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_file(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"unknown preset 'digts' \(did you mean 'digits'"):
        load_preset("digts")


def test_rungs_are_on_by_default_and_off_where_a_run_was_begun_without_them() -> None:
    config = load_preset("smoke")
    assert config.rungs.duplicates
    assert config.rungs.classes
    assert config.rungs.microtask is not None
    stored = config.model_dump(mode="json")
    assert from_stored(stored, "stored").rungs == config.rungs
    del stored["rungs"]  # as a run has it that was begun before there were any
    assert from_stored(stored, "stored").rungs == NO_RUNGS


def test_a_run_from_before_there_was_a_choice_goes_on_one_loss_at_a_time() -> None:
    config = load_preset("smoke")
    assert (config.execution.way, config.execution.slots, config.execution.dtype) == ("auto", None, "auto")
    stored = config.model_dump(mode="json")
    assert from_stored(stored, "stored") == config
    stored["execution"] = {"time_limit": 5.0}  # as such a run has it
    execution = from_stored(stored, "stored").execution
    assert (execution.way, execution.dtype, execution.compile, execution.time_limit) == (
        "processes",
        "float32",
        False,
        5.0,
    )


def test_how_losses_are_trained_is_set() -> None:
    overrides = ["execution.way=fused", "execution.slots=4", "execution.dtype=bfloat16", "execution.compile=false"]
    execution = load_preset("smoke", overrides).execution
    assert (execution.way, execution.slots, execution.dtype, execution.compile) == ("fused", 4, "bfloat16", False)
    for override, message in [
        ("execution.way=fuse", "execution.way"),
        ("execution.slots=0", "execution.slots"),
        ("execution.compile=3", "execution.compile"),
    ]:
        with pytest.raises(ConfigError, match=message):
            load_preset("smoke", [override])
    with pytest.raises(ConfigError, match="trains one loss at a time"):
        load_preset("smoke", ["execution.way=processes", "execution.slots=2"])


def test_rungs_are_set_one_by_one() -> None:
    rungs = load_preset("smoke", ["rungs.microtask.threshold=0.3", "rungs.classes=false"]).rungs
    assert (rungs.duplicates, rungs.classes) == (True, False)
    assert rungs.microtask == MicrotaskConfig(threshold=0.3)
    assert load_preset("smoke", ["rungs.microtask=null"]).rungs.microtask is None
    with pytest.raises(ConfigError, match=r"rungs\.microtask\.threshold"):
        load_preset("smoke", ["rungs.microtask.threshold=2"])


def test_a_setting_within_a_list_is_set_by_its_number() -> None:
    values: dict[str, Any] = {"phases": [{"keep": 3}, {"keep": 2}], "execution": None}
    override_setting(values, "phases.1.keep=1")
    override_setting(values, "phases.0.task.steps=10", lambda path, value: value)
    override_setting(values, "execution.way=fused")
    assert values == {
        "phases": [{"keep": 3, "task": {"steps": 10}}, {"keep": 1}],
        "execution": {"way": "fused"},
    }
    for text, problem in (
        ("phases.2.keep=1", "'phases' has the entries 0 to 1, no '2'"),
        ("phases.keep=1", "'phases' has the entries 0 to 1, no 'keep'"),
        ("phases.0.keep.least=1", "'phases.0.keep' is not a group of settings"),
    ):
        with pytest.raises(ConfigError, match=re.escape(problem)):
            override_setting(values, text)
