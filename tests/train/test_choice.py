"""The plan of a task: what is fixed, what is measured, what is remembered. No time is measured here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bars import CPU, make_dataset, make_task
from lossmith.errors import ConfigError
from lossmith.train import choice
from lossmith.train.choice import choose
from lossmith.train.data import Dataset
from lossmith.train.fused.network import FusionError
from lossmith.train.plan import Plan

Rates = dict[int, float | Exception]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[Rates], list[int]]:
    """Lets the measurements give these rates, by losses at once, and tells which were asked for."""

    def prepare(rates: Rates) -> list[int]:
        asked: list[int] = []

        def rate(count: int) -> float:
            asked.append(count)
            found = rates[count]
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(choice, "single_rate", lambda task, dataset, device, *, bfloat16, compiled: rate(1))
        monkeypatch.setattr(
            choice, "fused_rate", lambda task, dataset, count, device, *, bfloat16, compiled: rate(count)
        )
        monkeypatch.setattr(choice, "SLOTS", (4, 8, 16))
        return asked

    return prepare


def plan(dataset: Dataset, memory: Path, **options: Any) -> Plan:
    model = options.pop("model", "convnet")
    return choose(make_task(model=model), dataset, **{"device": CPU, "memory": memory / "plans.json", **options})


def words(count: int, gain: float) -> str:
    return f"{count} losses at once make {gain:.2f} times the steps per second of one (measured)"


# --- the decision --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rates", "expected", "asked", "why"),
    [
        ({1: 10.0, 4: 10.5}, Plan("processes"), [1, 4], words(4, 1.05)),
        ({1: 10.0, 4: 20.0, 8: 21.0}, Plan("fused", 4), [1, 4, 8], words(4, 2.0)),
        ({1: 10.0, 4: 20.0, 8: 25.0, 16: 5.0}, Plan("fused", 8), [1, 4, 8, 16], words(8, 2.5)),
        ({1: 10.0, 4: 20.0, 8: 25.0, 16: 30.0}, Plan("fused", 16), [1, 4, 8, 16], words(16, 3.0)),
        (
            {1: 10.0, 4: torch.OutOfMemoryError("none left")},
            Plan("processes"),
            [1, 4],
            "there is not enough memory for 4 losses at once",
        ),
        ({1: 10.0, 4: 20.0, 8: MemoryError()}, Plan("fused", 4), [1, 4, 8], words(4, 2.0)),
    ],
)
def test_more_at_once_as_long_as_it_pays(
    dataset: Dataset, measured: Any, tmp_path: Path, rates: Rates, expected: Plan, asked: list[int], why: str
) -> None:
    counts = measured(rates)
    found = plan(dataset, tmp_path)
    assert (found, found.why, counts) == (expected, why, asked)


@pytest.mark.parametrize(("rate", "expected"), [(20.0, Plan("fused", 6)), (10.0, Plan("processes"))])
def test_with_slots_fixed_only_they_are_measured(
    dataset: Dataset, measured: Any, tmp_path: Path, rate: float, expected: Plan
) -> None:
    counts = measured({1: 10.0, 6: rate})
    assert plan(dataset, tmp_path, slots=6) == expected
    assert counts == [1, 6]


def test_fused_as_configured_finds_the_number_of_slots(dataset: Dataset, measured: Any, tmp_path: Path) -> None:
    measured({1: 10.0, 4: 12.0, 8: 12.1})
    assert plan(dataset, tmp_path, way="fused") == Plan("fused", 4)
    measured({1: 10.0, 4: 1.0})
    assert plan(dataset, tmp_path / "other", way="fused") == Plan("fused", 1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"way": "processes"}, Plan("processes")),
        ({"way": "processes", "dtype": "bfloat16", "compiled": True}, Plan("processes", 1, "bfloat16", compiled=True)),
        ({"dtype": "bfloat16"}, Plan("processes", 1, "bfloat16")),
        ({"compiled": True}, Plan("processes", compiled=True)),
        ({"way": "fused", "slots": 5}, Plan("fused", 5)),
        ({"way": "fused", "slots": 5, "compiled": True}, Plan("fused", 5, compiled=True)),
    ],
)
def test_what_is_fixed_is_not_measured(
    dataset: Dataset, measured: Any, tmp_path: Path, options: dict[str, Any], expected: Plan
) -> None:
    counts = measured({})
    found = plan(dataset, tmp_path, **options)
    assert (found, found.why, counts) == (expected, "as configured", [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rates", "compiled_rate", "expected"),
    [
        ({1: 10.0, 4: 20.0, 8: 21.0}, 40.0, Plan("fused", 4, "bfloat16", compiled=True)),
        ({1: 10.0, 4: 20.0, 8: 21.0}, 21.0, Plan("fused", 4, "bfloat16")),
        ({1: 10.0, 4: 9.0}, 30.0, Plan("processes", 1, "bfloat16", compiled=True)),
    ],
)
def test_on_a_gpu_compiling_is_measured_as_well(
    dataset: Dataset,
    measured: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rates: Rates,
    compiled_rate: float,
    expected: Plan,
) -> None:
    measured(rates)
    plain_single, plain_fused = choice.single_rate, choice.fused_rate

    def single(*given: Any, compiled: bool, **options: Any) -> float:
        return compiled_rate if compiled else plain_single(*given, compiled=False, **options)

    def fused(*given: Any, compiled: bool, **options: Any) -> float:
        return compiled_rate if compiled else plain_fused(*given, compiled=False, **options)

    monkeypatch.setattr(choice, "single_rate", single)
    monkeypatch.setattr(choice, "fused_rate", fused)
    monkeypatch.setattr(choice, "Stream", lambda *given: None)  # there is no GPU to make it on
    found = plan(dataset, tmp_path, device=torch.device("cuda"))
    assert found == expected
    assert f"; compiled {compiled_rate / (20.0 if 8 in rates else 10.0):.2f} times that" in found.why


# --- what cannot be fused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [None, 4])
def test_a_model_that_cannot_be_fused_is_told_or_trained_in_processes(
    dataset: Dataset, measured: Any, tmp_path: Path, slots: int | None
) -> None:
    counts = measured({})
    with pytest.raises(FusionError, match=re.escape("layer '3.1' (LayerNorm) cannot be fused")):
        plan(dataset, tmp_path, model="user_models:layer_norm", way="fused", slots=slots)
    for model, layer in (("layer_norm", "layer '3.1' (LayerNorm)"), ("shuffled", "layer '3' (Shuffled)")):
        found = plan(dataset, tmp_path, model=f"user_models:{model}", slots=slots)
        assert found == Plan("processes")
        assert found.why.startswith(layer)
    assert counts == []


def test_a_model_that_can_be_fused_now_is_asked_again(
    dataset: Dataset, measured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's file changes between two runs, but its name does not."""
    import user_models  # noqa: PLC0415 - its contents are what changes

    counts = measured({1: 10.0, 4: 20.0, 8: 20.0})
    name = "user_models:same_padding"
    assert plan(dataset, tmp_path, model=name).way == "processes"
    monkeypatch.setattr(user_models, "same_padding", user_models.residual)
    assert plan(dataset, tmp_path, model=name) == Plan("fused", 4)
    monkeypatch.setattr(user_models, "same_padding", user_models.shuffled)
    assert plan(dataset, tmp_path, model=name).way == "processes"
    monkeypatch.setattr(user_models, "same_padding", user_models.plain)
    assert plan(dataset, tmp_path, model=name) == Plan("fused", 4)
    assert counts == [1, 4, 8, 1, 4, 8]


def test_a_model_that_cannot_be_built_is_no_reason_for_processes(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no 'nowhere'"):
        plan(dataset, tmp_path, model="user_models:nowhere")


# --- memory --------------------------------------------------------------------------------------------------------


def test_a_choice_is_remembered(dataset: Dataset, measured: Any, tmp_path: Path) -> None:
    first = measured({1: 10.0, 4: 20.0, 8: 20.0})
    chosen = plan(dataset, tmp_path / "a" / "b")
    again = measured({})
    found = plan(dataset, tmp_path / "a" / "b")
    assert (found, found.why) == (chosen, words(4, 2.0))
    assert (first, again) == ([1, 4, 8], [])


def test_each_question_has_its_own_answer(dataset: Dataset, measured: Any, tmp_path: Path) -> None:
    questions: list[dict[str, Any]] = [{}, {"slots": 4}, {"way": "fused"}, {"model": "resnet9v2"}]
    for options in questions:
        counts = measured({1: 10.0, 4: 20.0, 8: 20.0})
        plan(dataset, tmp_path, **options)
        assert counts
    counts = measured({1: 10.0, 4: 5.0})
    assert plan(make_dataset(channels=3), tmp_path) == Plan("processes")
    assert counts == [1, 4]
    assert len(json.loads((tmp_path / "plans.json").read_text())) == 5
    counts = measured({})
    assert all(plan(dataset, tmp_path, **options).slots == 4 for options in questions)
    assert counts == []


DAMAGED = {
    "empty": lambda text: "",
    "cut off": lambda text: text[: len(text) // 2],
    "a list": lambda text: "[1, 2]",
    "no text": None,
    "another way": lambda text: text.replace('"fused"', '"sideways"'),
    "no slots": lambda text: text.replace('"slots": 4', '"slots": 0'),
    "slots in words": lambda text: text.replace('"slots": 4', '"slots": "four"'),
    "no plan": lambda text: json.dumps(dict.fromkeys(json.loads(text))),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_measured_again_and_mended(
    dataset: Dataset, measured: Any, tmp_path: Path, damage: str
) -> None:
    file = tmp_path / "plans.json"
    measured({1: 10.0, 4: 20.0, 8: 20.0})
    plan(dataset, tmp_path)
    change = DAMAGED[damage]
    before = file.read_text()
    if change is None:
        file.write_bytes(b"\xff\xfe\x00")
    else:
        file.write_text(change(before))
        assert file.read_text() != before
    counts = measured({1: 10.0, 4: 20.0, 8: 20.0})
    assert plan(dataset, tmp_path) == Plan("fused", 4)
    assert counts == [1, 4, 8]
    counts = measured({})
    assert plan(dataset, tmp_path) == Plan("fused", 4)
    assert counts == []


def test_what_cannot_be_written_is_measured_each_time(dataset: Dataset, measured: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of a directory")
    for _ in range(2):
        counts = measured({1: 10.0, 4: 20.0, 8: 20.0})
        assert plan(dataset, tmp_path / "file") == Plan("fused", 4)
        assert counts == [1, 4, 8]
    (tmp_path / "plans.json").mkdir()
    measured({1: 10.0, 4: 20.0, 8: 20.0})
    assert plan(dataset, tmp_path) == Plan("fused", 4)


def test_the_usual_place(dataset: Dataset, measured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    measured({1: 10.0, 4: 20.0, 8: 20.0})
    assert choose(make_task(), dataset, device=CPU) == Plan("fused", 4)
    assert (tmp_path / "lossmith" / "plans.json").is_file()


# --- measuring -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["convnet", "user_models:residual"])
def test_rates_are_measured_of_short_tasks_too(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str
) -> None:
    """Fewer steps than a measurement has, rules that would stop it, and a pre-screen that it would fail."""
    monkeypatch.setattr(choice, "_SECONDS", 0.0)
    monkeypatch.setattr(choice, "SLOTS", (2,))
    threads = torch.get_num_threads()
    before = torch.random.get_rng_state()
    for steps in (1, 3, 50):
        screen = {"model": "convnet", "steps": 2, "batch_size": 8, "min_train_accuracy": 1.0}
        rules = [{"from_epoch": 1, "min_train_accuracy": 1.0}]
        task = make_task(model=model, steps=steps, prescreen=screen, stopping=rules)
        assert choice.single_rate(task, dataset, CPU, bfloat16=False) > 0
        assert choice.fused_rate(task, dataset, 3, CPU, bfloat16=False) > 0
        found = choose(task, dataset, device=CPU, memory=tmp_path / f"{steps}.json")
        assert found.why.startswith("2 losses at once make ")
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_task_with_stages_is_trained_in_processes(dataset: Dataset, measured: Any, tmp_path: Path) -> None:
    counts = measured({})
    task = make_task(steps=4, stages=[{"steps": 2, "resize": 6}, {"steps": 2}])
    found = choose(task, dataset, device=CPU, memory=tmp_path / "plans.json")
    assert found == Plan("processes")
    assert "has stages of different images" in found.why
    with pytest.raises(FusionError, match="has stages of different images"):
        choose(task, dataset, way="fused", device=CPU, memory=tmp_path / "plans.json")
    assert counts == []
