"""`lossmith bench` as a user runs it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from commandline import run_lossmith


@pytest.mark.slow  # it measures for a minute or two
def test_the_engine_on_digits(tmp_path: Path) -> None:
    file = tmp_path / "engine.json"
    text = run_lossmith("bench", "engine", "--quick", "--json", file)
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines() if str(file) not in line)
    for part in ("task 'digits'", "GFLOP/s", "plain, 1 thread", "processes", "fused, K = 8", "Where the time goes"):
        assert part in text
    assert "random images" not in text

    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["format"] == 1
    cores = len(os.sched_getaffinity(0))
    counts = sorted({1, cores})
    assert [limits["processes"] for limits in found["limits"]] == counts
    assert all(limits["arithmetic"] > 0 and limits["bandwidth"] > 0 for limits in found["limits"])
    reference, *others = found["ways"]
    assert reference["plan"] is None
    assert (reference["threads"], reference["ratio"]) == (cores, 1.0)
    measured = {(way["plan"]["way"], way["plan"]["slots"], way["processes"]) for way in others if way["plan"]}
    assert measured >= {(way, slots, n) for way, slots in (("processes", 1), ("fused", 8)) for n in counts}
    for way in found["ways"]:
        assert way["rate"] > 0
        assert way["ratio"] == pytest.approx(way["rate"] / reference["rate"])
        assert 0 < way["evaluations_per_hour"] < 3600 * way["rate"] / found["evaluation_steps"]
        assert way["arithmetic"] > 0
        assert way["bandwidth"] > 0
    assert found["best"] in others
    for share in found["shares"]:
        assert sum(share["parts"].values()) == pytest.approx(1.0)
        assert set(share["parts"]) == {"data", "network", "loss", "optimizer", "rest", "scoring"}
    assert [memory["plan"]["slots"] for memory in found["memory"]] == [8]
    assert all(memory["base"] > 0 and memory["peak"] > 0 for memory in found["memory"])
    assert set(found["search_seconds"]) == {"screening", "evolution"}
    assert found["compile_seconds"] is None
    assert any("--quick" in note for note in found["notes"])


@pytest.mark.slow
def test_random_images_stand_for_data_that_is_not_there(tmp_path: Path) -> None:
    task = tmp_path / "small.yaml"
    task.write_text(
        "{base: cifar10-convnet, data: {path: nowhere, image_size: 8}, batch_size: 8, steps: 4,"
        " stages: [{steps: 2, resize: 8}, {steps: 2, resize: 12}], stopping: []}",
        encoding="utf-8",
    )
    text = run_lossmith("bench", "engine", "--quick", "--synthetic", "--task", task)
    assert "random images: what follows tells speed alone" in text
    assert "(random images, 3x8x8, 10 classes)" in text
    assert "only the first of the task's 2 stages is measured" in text.replace("\n", " ")
    assert "processes" in text


def test_what_users_get_wrong(tmp_path: Path) -> None:
    for arguments, part in (
        (["--json", tmp_path / "none" / "file.json"], "name a file in a directory that exists"),
        (["--task", "cifar10-resnet9v2", "--data", tmp_path / "none"], str(tmp_path / "none")),
    ):
        error = run_lossmith("bench", "engine", *arguments, code=2)
        assert len(error.strip().splitlines()) == 1
        assert error.startswith("lossmith: ")
        assert part in error
