"""Decoding image files: in several processes, damaged ones, and files that change meanwhile."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_files import pixels, write_folder, write_image
from lossmith.errors import DataError
from lossmith.train.data import Dataset, decoding, images, load_dataset
from lossmith.train.data.decoding import Item
from lossmith.train.data.folder import find_folder
from lossmith.train.data.images import ImageDecoder, Listing
from lossmith.train.data.source import Decoded
from lossmith.train.task import DataConfig


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two helpers decode from the fourth image on."""
    monkeypatch.setattr(images, "_AT_ONCE", 3)
    monkeypatch.setattr(images, "_TRIAL_S", 0.0)
    monkeypatch.setattr(images, "_PAYS_S", 0.0)
    monkeypatch.setattr(images, "_helpers", lambda: 2)


def listing(items: list[Item]) -> Listing:
    return Listing(len(items), lambda start, stop: items[start:stop])


def colours(folder: Path, count: int) -> list[Item]:
    """PNG and JPEG files, and one in three as bytes."""
    random = np.random.default_rng(0)
    items: list[Item] = []
    for number in range(count):
        path = folder / f"{number}.{'png' if number % 2 else 'jpg'}"
        write_image(path, random.integers(0, 256, (9, 7, 3), dtype=np.uint8))
        items.append(Item(str(path), path.read_bytes() if number % 3 == 0 else None))
    return items


def everything(found: Iterator[Decoded]) -> tuple[list[int], np.ndarray, list[str]]:
    chunks = list(found)
    failures = [failure for chunk in chunks for failure in chunk.failures]
    return [int(p) for c in chunks for p in c.positions], np.concatenate([c.images for c in chunks]), failures


@pytest.mark.parametrize("size", [None, 5])
def test_helpers_give_what_this_process_gives(tmp_path: Path, size: int | None, request: pytest.FixtureRequest) -> None:
    items = colours(tmp_path, 40)
    items[11] = Item("broken", b"\x89PNG no image")
    items[39] = Item("empty", b"")
    alone = everything(ImageDecoder([listing(items)], size).decode(listing(items)))
    request.getfixturevalue("helped")
    together = everything(ImageDecoder([listing(items)], size).decode(listing(items)))
    assert together[0] == alone[0] == [number for number in range(40) if number not in (11, 39)]
    assert np.array_equal(together[1], alone[1])
    assert alone[1].shape == (38, *((9, 7) if size is None else (5, 5)), 3)
    assert together[2] == alone[2]
    assert alone[2][0] == "broken: not a readable image (cannot identify image file 'broken')"
    for position, pixels_ in zip(alone[0], alone[1], strict=True):
        if size is None and position % 2:
            assert np.array_equal(pixels_, np.asarray(Image.open(tmp_path / f"{position}.png")))


@pytest.mark.usefixtures("helped")
def test_a_helper_that_is_killed_is_an_error_and_none_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen: Any = subprocess.Popen

    def start(command: list[str], **pipes: Any) -> subprocess.Popen[bytes]:
        assert command[:2] == [sys.executable, "-P"]
        process = popen([sys.executable, "-c", "import sys; sys.stdin.buffer.readline()"], **pipes)
        started.append(process)
        return process

    monkeypatch.setattr(images.subprocess, "Popen", start)
    items = colours(tmp_path, 12)
    with pytest.raises(
        DataError, match=r"3\.png: the process that decoded this or one of the next 2 images was killed"
    ):
        everything(ImageDecoder([listing(items)], None).decode(listing(items)))
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


@pytest.mark.usefixtures("helped")
def test_helpers_end_when_decoding_is_broken_off(tmp_path: Path) -> None:
    items = colours(tmp_path, 30)
    with pytest.MonkeyPatch.context() as patch:
        started: list[subprocess.Popen[bytes]] = []
        popen: Any = subprocess.Popen
        patch.setattr(images.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
        found = ImageDecoder([listing(items)], None).decode(listing(items))
        assert isinstance(found, Generator)
        for _ in range(3):
            next(found)
        found.close()
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_the_helper_s_program_imports_nothing_of_lossmith_nor_torch() -> None:
    code = f"import runpy, sys; runpy.run_path({decoding.__file__!r}); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert "'torch'" not in done.stdout
    assert "'lossmith" not in done.stdout


def test_progress_is_told_up_to_all_images(tmp_path: Path) -> None:
    config = write_folder(tmp_path, parts=("train", "test"))
    told: list[tuple[int, int]] = []
    load_dataset(config, progress=lambda *state: told.append(state))
    assert told[-1] == (24, 24)
    assert told == sorted(told)
    told.clear()
    load_dataset(config, progress=lambda *state: told.append(state))
    assert not told  # the cache has it


# --- damaged images ------------------------------------------------------------------------------------------------


def damage(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.write_bytes(path.read_bytes()[:-20])


def load(config: DataConfig, corrupt: str, told: list[str] | None = None) -> Dataset:
    values = {**config.model_dump(), "corrupt": corrupt}
    return load_dataset(DataConfig(**values), notice=(told if told is not None else []).append)


@pytest.mark.parametrize("forced", [False, True])
def test_damaged_images_are_counted_and_named(tmp_path: Path, forced: bool, request: pytest.FixtureRequest) -> None:
    config = write_folder(tmp_path, parts=("train", "test"))
    names = ("train/cat/0.png", "train/dog/5.png", "test/cat/2.png", "test/dog/1.png")
    damage(tmp_path, *names)
    if forced:
        request.getfixturevalue("helped")
    with pytest.raises(DataError) as caught:
        load(config, "error")
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}/train/cat/0.png: not a readable image (")
    assert f"; 4 images are damaged, also {tmp_path}/train/dog/5.png, {tmp_path}/test/cat/2.png and others; " in text
    assert text.endswith("replace or remove the files, or set data.corrupt to skip")


def test_damaged_images_can_be_left_out_and_that_is_told_each_time(tmp_path: Path) -> None:
    config = write_folder(tmp_path, per_class=10, parts=("train", "test"))
    whole = load(config, "skip")
    damage(tmp_path, "train/cat/0.png", "test/dog/3.png")
    told: list[str] = []
    dataset = load(config, "skip", told)
    assert len(told) == 1
    assert told[0].startswith(f"2 damaged images are left out: {tmp_path}/train/cat/0.png: not a readable image (")
    assert [len(dataset.train) + len(dataset.validation), len(dataset.test)] == [19, 19]
    values = pixels(dataset.test)[:, 0, 0, 0].tolist()
    assert values == [value for value in pixels(whole.test)[:, 0, 0, 0].tolist() if value != 1 + 64 + 16 + 3]
    assert dataset.test.labels.tolist() == [0] * 10 + [1] * 9
    again: list[str] = []
    assert load(config, "skip", again).checksum == dataset.checksum
    assert again == told


def test_without_a_listener_it_is_a_warning(tmp_path: Path) -> None:
    config = write_folder(tmp_path)
    damage(tmp_path, "train/cat/0.png")
    with pytest.warns(UserWarning, match="1 damaged image is left out: "):
        load_dataset(DataConfig(source="folder", path=config.path, corrupt="skip"))


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_that_loses_all_its_images_is_an_error(tmp_path: Path, part: str) -> None:
    config = write_folder(tmp_path, parts=("train", "test"))
    damage(tmp_path, *(f"{part}/dog/{number}.png" for number in range(6)))
    with pytest.raises(DataError, match=rf"{part}: all 6 images of class 'dog' are damaged; replace them"):
        load(config, "skip")


@pytest.mark.parametrize("corrupt", ["error", "skip"])
def test_all_images_damaged(tmp_path: Path, corrupt: str) -> None:
    config = write_folder(tmp_path)
    damage(tmp_path, *(f"train/{name}/{number}.png" for name in ("cat", "dog") for number in range(6)))
    with pytest.raises(DataError, match=r"12 images are damaged|all 6 images of class 'cat' are damaged"):
        load(config, corrupt)


def test_leaving_images_out_makes_another_task() -> None:
    """But the setting's default changes no task of an older ledger."""
    from lossmith.train.task import load_task  # noqa: PLC0415 - only this test needs it

    task = load_task("digits", "a test")
    skipping = task.model_copy(update={"data": task.data.model_copy(update={"corrupt": "skip"})})
    assert skipping.task_id != task.task_id


# --- files that change between the listing and the decoding ----------------------------------------------------------


@pytest.mark.parametrize("corrupt", ["error", "skip"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "remove",
            r"dog/4\.png: cannot read the file: No such file or directory; it was there when the data were listed",
        ),
        ("rewrite", r"dog/4\.png: changed while the data were read; run again when nothing writes there"),
    ],
)
def test_a_file_that_changes_after_it_was_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, message: str, corrupt: str
) -> None:
    config = write_folder(tmp_path)
    victim = tmp_path / "train" / "dog" / "4.png"

    def find(path: str, image_size: int | None) -> object:
        origin = find_folder(path, image_size)
        if change == "remove":
            victim.unlink()
        else:
            write_image(victim, np.full((5, 4), 99, np.uint8))
        return replace(origin)

    monkeypatch.setattr("lossmith.train.data.load.find_folder", find)
    with pytest.raises(DataError, match=message):
        load(config, corrupt)


def test_a_link_to_nothing_and_a_folder_called_like_an_image(tmp_path: Path) -> None:
    config = write_folder(tmp_path)
    (tmp_path / "train" / "cat" / "x.png").symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"cat/x\.png: cannot read: No such file"):
        load_dataset(config)
    (tmp_path / "train" / "cat" / "x.png").unlink()
    (tmp_path / "train" / "cat" / "x.png").mkdir()
    with pytest.raises(DataError, match=r"cat/x\.png: cannot read the file: Is a directory"):
        load_dataset(config)
