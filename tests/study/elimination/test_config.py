"""The settings of an elimination."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossmith.errors import ConfigError
from lossmith.study.elimination.config import (
    from_stored,
    load_file,
    load_preset,
    preset_names,
    with_racing,
)
from lossmith.study.elimination.protocol import phase_seeds

NEEDS = {"method": ["data.path=/data/cifar10"]}


@pytest.mark.parametrize("name", preset_names())
def test_every_protocol_is_valid_and_selects_on_fold_1(name: str) -> None:
    config = load_preset(name, NEEDS.get(name, []))
    assert config.name == name
    assert {phase.task.data.validation_fold for phase in config.phases} == {1}
    assert from_stored(config.model_dump(mode="json"), "stored") == config


def test_the_method_s_phases() -> None:
    config = load_preset("method", NEEDS["method"])
    assert [(phase.keep, phase.seeds, phase.batch) for phase in config.phases] == [
        (25, 1, 150),
        (12, 1, None),
        (6, 1, None),
        (4, 1, None),
    ]
    sizes = [[stage.resize for stage in phase.task.stages] for phase in config.phases]
    assert sizes == [[128], [128, 160], [128, 160, 192], [128, 160, 192, 224]]
    assert {phase.task.data.path for phase in config.phases} == {"/data/cifar10"}
    assert all(phase.task.model == "effnetv2s" for phase in config.phases)


def test_a_file_over_a_protocol(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("preset: digits\nseed: 4\ncandidates: [10, 20]\nracing: {error: 0.1}\ndata: {split_seed: 9}\n")
    config = load_file(path, ["phases.1.seeds=7", "phases.0.task.steps=100"])
    assert (config.name, config.seed, config.candidates) == ("mine", 4, (10, 20))
    assert config.racing is not None
    assert (config.racing.error, config.racing.least) == (0.1, 2)
    assert [phase.task.steps for phase in config.phases] == [100, 500]
    assert [phase.task.data.split_seed for phase in config.phases] == [9, 9]
    assert [phase.seeds for phase in config.phases] == [3, 7]


def test_a_task_in_a_file_of_its_own(tmp_path: Path) -> None:
    task = tmp_path / "own.yaml"
    task.write_text("base: digits\nsteps: 70\n")
    path = tmp_path / "mine.yaml"
    path.write_text(f"phases: [{{task: {task}, keep: 1}}, {{task: {{base: {task}, batch_size: 32}}, keep: 1}}]\n")
    first, second = load_file(path, ["data.split_seed=2"]).phases
    assert [(task.name, task.steps, task.batch_size) for task in (first.task, second.task)] == [
        ("own", 70, 64),
        ("own", 70, 32),
    ]
    assert first.task.data.split_seed == second.task.data.split_seed == 2


def test_racing_by_an_option() -> None:
    config = with_racing(load_preset("digits"), "--racing")
    assert config.racing is not None
    assert with_racing(config, "--racing") is config
    with pytest.raises(ConfigError, match="--racing: racing decides after 2 seeds, but no phase has more"):
        with_racing(load_preset("digits", ["phases.0.seeds=2", "phases.1.seeds=1"]), "--racing")


def test_each_phase_has_seeds_of_its_own_and_other_seeds_give_others() -> None:
    config = load_preset("digits")
    seeds = phase_seeds(config)
    assert list(map(len, seeds)) == [3, 6]
    assert len({seed for some in seeds for seed in some}) == 9
    assert not {*seeds[0], *seeds[1]} & {
        seed for some in phase_seeds(load_preset("digits", ["seed=1"])) for seed in some
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["phases.0.kep=3"], r"unknown setting 'phases.0.kep' \(did you mean 'keep'\?\)"),
        (["phases.2.keep=3"], "'phases' has the entries 0 to 1, no '2'"),
        (["phases.first.keep=3"], "no 'first'"),
        (["candidates.0=3"], "'candidates' is not a group of settings"),
        (["keep"], "expected KEY=VALUE"),
        (["seed={"], "not valid YAML"),
        (["phases.0.task=digitz"], r"'phases.0.task': no task preset 'digitz' \(did you mean 'digits'"),
        (["phases.0.task=3"], "'phases.0.task'"),
        (["phases=[]"], "'phases'"),
        (["phases.1.keep=9"], "phase 'phase 2' keeps 9, more than the 8 that 'phase 1' leaves"),
        (["phases.1.name=phase 1"], "two phases are called 'phase 1'"),
        (["racing.error=1"], "'racing.error'"),
        (["data=3"], "'data'"),
        (["phases.0.task.data=3"], "data"),
    ],
)
def test_one_line_says_what_is_wrong(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_preset("digits", settings)
    assert "\n" not in str(caught.value)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--protocol: unknown protocol 'digitz' \(did you mean 'digits'\?\)"):
        load_preset("digitz")
    with pytest.raises(ConfigError, match="nowhere"):
        load_file(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match=r"needs data\.path"):
        load_preset("method")
    (tmp_path / "a.yaml").write_text("preset: methot\n")
    with pytest.raises(ConfigError, match=r"a.yaml: unknown protocol 'methot' \(did you mean 'method'\?\)"):
        load_file(tmp_path / "a.yaml")
