"""Whole studies with imagined trainings: planted surrogates, early stops, failures, costs, stop and resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fidelities import SECONDS, losses, run, settings
from lossmith.ledger import Ledger
from lossmith.study.fidelity.config import FidelityConfig
from lossmith.study.fidelity.fidelity import KIND, trainings_of
from lossmith.study.trainings import StoppedError

LOSSES = losses(24)
QUALITY = np.random.default_rng(0).permutation(24) / 40 + 0.3


def _noise(place: int, task: str, seed: int, sd: float) -> float:
    return sd * float(np.random.default_rng([place, seed, *task.encode()]).standard_normal())


def planted(place: int, task: str, seed: int) -> list[float]:
    """What each surrogate's name says; the expensive task is good from its third epoch on."""
    truth = float(QUALITY[place])
    found = truth + _noise(place, task, seed, 0.004)
    match task:
        case "perfect":
            return [0.1, found]
        case "reversed":
            return [0.1, 1 - found]
        case "noise":
            return [0.1, 0.5 + _noise(place, task, seed, 0.2)]
        case _:
            return [0.5 + _noise(place, task, seed, 0.2), 0.4 + _noise(place, task, seed, 0.2), found, found]


def by_name(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in content["surrogates"]}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, FidelityConfig]:
    config = settings("perfect", "reversed", "noise", expensive=_expensive(at=[20, 40, 60]))
    directory = tmp_path_factory.mktemp("study")
    content, _ = run(directory, config, LOSSES, planted)
    return content, directory, config


def _expensive(**changes: Any) -> dict[str, Any]:
    return {"task": {"base": "digits", "steps": 80, "epoch_steps": 20, "stopping": []}, "seeds": 4, **changes}


def test_planted_surrogates_are_found_out(study: tuple[dict[str, Any], Path, FidelityConfig]) -> None:
    content, _, _ = study
    found = by_name(content)
    assert set(found) == {"perfect", "reversed", "noise", "expensive at 20", "expensive at 40", "expensive at 60"}
    assert found["perfect"]["tau"]["low"] > 0.8
    assert found["perfect"]["recall"]["10"]["value"] > 0.8
    assert found["reversed"]["tau"]["high"] < -0.8
    assert found["noise"]["tau"]["low"] < 0 < found["noise"]["tau"]["high"]
    assert found["expensive at 20"]["tau"]["high"] < 0.5
    assert found["expensive at 60"]["tau"]["low"] > 0.8
    ceiling = content["expensive"]["reliability"]
    assert ceiling["tau"]["low"] > 0.8
    assert ceiling["splits"] == 3
    assert content["expensive"]["single"]["tau"]["low"] > 0.8
    behind = {name: entry["behind"] for name, entry in found.items()}
    assert max(each["value"] for each in behind.values()) == 0
    assert behind["noise"]["high"] < 0
    assert content["recommendation"].startswith("Two halves of the expensive task's 4 seeds order the 24 losses")
    assert "Take 'perfect', with a tau of" in content["recommendation"]
    assert "it is the best" in content["recommendation"] or "cannot be told from the best" in content["recommendation"]


def test_stopping_early_costs_no_training_and_a_share_of_the_time(
    study: tuple[dict[str, Any], Path, FidelityConfig],
) -> None:
    content, directory, config = study
    assert content["evaluations"] == 24 * (4 + 3) == len(trainings_of(config, LOSSES))
    costs = {name: entry["cost"] for name, entry in by_name(content).items()}
    assert costs["expensive at 20"]["seconds"] == SECONDS
    assert costs["expensive at 60"]["seconds"] == 3 * SECONDS
    assert costs["expensive at 60"]["share"] == 0.75
    assert costs["perfect"]["seconds"] == 2 * SECONDS
    assert content["expensive"]["cost"]["seconds"] == 4 * SECONDS
    assert content["expensive"]["cost"]["share"] == 1
    # as many operations as steps, of the same network, and in proportion to the batch
    assert costs["expensive at 20"]["flops"] * 4 == pytest.approx(content["expensive"]["cost"]["flops"])
    assert costs["noise"]["flops"] / costs["perfect"]["flops"] == pytest.approx(34 / 32)
    with Ledger.read(directory) as ledger:
        assert ledger.results(KIND) == [content]
        rows = {row.id: row for row in ledger.evaluations()}
    assert len(rows) == content["evaluations"]
    assert {row.key.split for row in rows.values()} == {"validation"}
    # every score is traced to the training that it was read from
    for entry in (content["expensive"], *content["surrogates"]):
        for loss, score in entry["scores"].items():
            for seed, value, number in zip(entry["seeds"], score["values"], score["evaluations"], strict=True):
                row = rows[number]
                assert (row.key.loss, row.key.task, row.key.seed) == (loss, entry["task_id"], seed)
                (point,) = [point for point in row.curve if point["step"] == entry["step"]]
                assert point["validation_accuracy"] == value


def test_failures_rank_last_and_are_counted(tmp_path: Path) -> None:
    """The best third fails the surrogate: where it failed by the step that is read, it is ranked as the worst."""
    config = settings("half", expensive=_expensive(at=[20, 40], seeds=2))
    best = set(np.argsort(QUALITY)[-8:].tolist())

    def curve(place: int, task: str, seed: int) -> list[float]:
        truth = float(QUALITY[place])
        if task == "half":
            return [truth] if place in best else [truth, truth]
        return [truth, truth] if place == 0 and seed == 1 else [truth] * 4

    content, _ = run(tmp_path, config, LOSSES, curve)
    found = by_name(content)
    half, early, late = found["half"], found["expensive at 20"], found["expensive at 40"]
    assert (half["failed"], half["failures"]) == (8, {"below_threshold": 8})
    assert half["recall"]["5"]["value"] == 0
    assert half["tau"]["value"] < 0.2
    assert half["cost"]["seconds"] == pytest.approx((8 * 1 + 16 * 2) / 24 * SECONDS)
    assert (early["failed"], early["failures"]) == (0, {})
    # stopped for being below its threshold at the end of that epoch
    assert (late["failed"], late["failures"]) == (1, {"below_threshold": 1})
    expensive = content["expensive"]
    assert (expensive["failed"], expensive["failures"]) == (1, {"below_threshold": 1})
    assert expensive["scores"][LOSSES[0].loss.key]["values"] == [QUALITY[0], None]
    assert late["scores"][LOSSES[0].loss.key]["values"] == [QUALITY[0], None]
    assert early["scores"][LOSSES[0].loss.key]["values"] == [QUALITY[0], QUALITY[0]]


def test_stopped_and_gone_on_with_it_ends_as_if_it_had_not_been_stopped(tmp_path: Path) -> None:
    config = settings("perfect", "noise")
    with pytest.raises(StoppedError):
        run(tmp_path / "one", config, LOSSES, planted, stop_after=50)
    with Ledger.read(tmp_path / "one") as ledger:
        assert ledger.results(KIND) == []
    resumed, executor = run(tmp_path / "one", config, LOSSES, planted)
    assert len(executor.trained) == 24 * 6 - 50
    whole, _ = run(tmp_path / "two", config, LOSSES, planted)
    assert resumed == whole


def test_nothing_is_said_where_nothing_can_be(tmp_path: Path) -> None:
    def noise(place: int, task: str, seed: int) -> list[float]:
        return [0.5 + _noise(place, task, seed, 0.1)] * (2 if task == "noise" else 4)

    content, _ = run(tmp_path / "all", settings("noise"), LOSSES, noise)
    assert "no surrogate can be judged" in content["recommendation"]

    content, _ = run(tmp_path / "one", settings("noise"), LOSSES, planted)
    assert "No surrogate is shown to rank losses at all: the best, 'noise'," in content["recommendation"]


def test_of_equals_the_cheapest_is_taken(tmp_path: Path) -> None:
    """Two surrogates that say the same, of which one takes half as long."""

    def curve(place: int, task: str, seed: int) -> list[float]:
        return [float(QUALITY[place]) + _noise(place, task, seed, 0.02)] * (2 if task in {"a", "b"} else 4)

    config = settings("a", "b", expensive=_expensive(at=[20]))
    content, _ = run(tmp_path, config, LOSSES, curve)
    assert "Nothing can be told apart: with 24 losses, every surrogate may be as good as" in content["recommendation"]
    assert "So take the cheapest, 'expensive at 20'" in content["recommendation"]
