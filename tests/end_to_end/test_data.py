"""Image folders through the command line: decoded once, damaged, and changed under a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from commandline import run_lossmith
from lossmith.ledger import Ledger
from lossmith.train.data import load_dataset, load_splits, save_splits, split_record
from lossmith.train.task import load_task


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two classes that differ in brightness."""
    random = np.random.default_rng(0)
    for label, name in enumerate(("dark", "light")):
        folder = tmp_path / "images" / "train" / name
        folder.mkdir(parents=True)
        for number in range(20):
            array = random.integers(128 * label, 128 * label + 128, (8, 8), dtype=np.uint8)
            Image.fromarray(array).save(folder / f"{number}.png")
    return tmp_path / "images"


def task(tmp_path: Path, images: Path, **data: object) -> list[str]:
    """The arguments of a training of two seconds."""
    values = {
        "base": "digits-screen",
        "steps": 6,
        "stopping": [],
        "data": {"source": "folder", "path": str(images), **data},
    }
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(values))
    return ["train", f"--task={tmp_path / 'task.yaml'}", "--loss=cross_entropy", "--workers=1"]


def test_a_changed_image_stops_a_run_that_is_repeated(tmp_path: Path, images: Path) -> None:
    command = [*task(tmp_path, images), f"--run={tmp_path / 'run'}"]
    first = run_lossmith(*command)
    assert "decoding images 40/40" in first
    with Ledger.read(tmp_path / "run") as ledger:
        (row,) = ledger.tasks()
    config = load_task(str(tmp_path / "task.yaml"), "a test").data
    dataset = load_dataset(config)
    (stored,) = (tmp_path / "run").glob("splits-*.npz")
    assert stored.name == f"splits-{row.task_id}.npz"
    assert load_splits(stored).equals(split_record(dataset))

    image = images / "train" / "dark" / "7.png"
    before = image.read_bytes()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(image)
    error = run_lossmith(*command, code=2)
    assert error.count("\n") == 1
    assert f"changed since this run began (checksum {dataset.checksum}, now " in error
    assert error.rstrip().endswith("restore the data, or start a new run")
    image.write_bytes(before)
    other = load_dataset(config.model_copy(update={"split_seed": 1}))
    save_splits(other, stored)
    error = run_lossmith(*command, code=2)
    assert error.count("\n") == 1
    assert "are not those that this run began with" in error


def test_damaged_images_are_an_error_or_a_note_and_so_is_a_damaged_cache(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSSMITH_CACHE", str(tmp_path / "cache"))
    for name in ("dark/3.png", "light/11.png"):
        path = images / "train" / name
        path.write_bytes(path.read_bytes()[:50])
    error = run_lossmith(*task(tmp_path, images), f"--run={tmp_path / 'run'}", code=2)
    assert error.count("\n") == 1
    assert "dark/3.png: not a readable image" in error
    assert "2 images are damaged" in error
    assert not (tmp_path / "run").exists()

    command = task(tmp_path, images, corrupt="skip")
    load_dataset(load_task(str(tmp_path / "task.yaml"), "a test").data, notice=lambda text: None)
    (pixels,) = tmp_path.glob("cache/*/train-*.images")
    pixels.write_bytes(pixels.read_bytes()[:-1])
    printed = run_lossmith(*command, f"--run={tmp_path / 'run'}")
    assert "note: 2 damaged images are left out: " in printed
    assert printed.count("the cache of decoded images is damaged") == 1
