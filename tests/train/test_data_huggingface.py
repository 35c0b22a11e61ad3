"""Data sets of the package `datasets`: real ones, made here and saved to disk. Nothing is downloaded."""

from __future__ import annotations

import importlib
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data_files import pixels
from lossmith.errors import DataError
from lossmith.train.data import Dataset, load_dataset
from lossmith.train.task import DataConfig


@pytest.fixture(scope="module")
def datasets() -> Any:
    package = pytest.importorskip("datasets")
    package.disable_progress_bars()
    return package


def png(value: int, size: tuple[int, int] = (5, 4), colour: bool = False) -> bytes:
    array = np.full((*size, 3) if colour else size, value, np.uint8)
    content = io.BytesIO()
    Image.fromarray(array).save(content, "PNG")
    return content.getvalue()


def made(datasets: Any, count: int, start: int = 0, names: tuple[str, ...] = ("cat", "dog"), **more: Any) -> Any:
    """Images whose value is their number, with a column of text and one of images, and labels that go round."""
    columns = {
        "text": [f"row {number}" for number in range(count)],
        "picture": [{"bytes": png(start + number), "path": None} for number in range(count)],
        "animal": [number % len(names) for number in range(count)],
        **{key: values for key, (_, values) in more.items()},
    }
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "picture": datasets.Image(),
            "animal": datasets.ClassLabel(names=list(names)),
            **{key: kind for key, (kind, _) in more.items()},
        }
    )
    return datasets.Dataset.from_dict(columns, features=features)


def load(path: object, **settings: Any) -> Dataset:
    return load_dataset(DataConfig(source="huggingface", path=str(path), **settings))


def test_splits_columns_and_classes_are_found(tmp_path: Path, datasets: Any) -> None:
    splits = {"train": made(datasets, 20), "val": made(datasets, 6, 100), "test": made(datasets, 8, 200)}
    splits["unsupervised"] = made(datasets, 3)
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "pets")
    dataset = load(tmp_path / "pets")
    assert (dataset.name, dataset.classes, dataset.image_shape) == ("pets", ("cat", "dog"), (1, 5, 4))
    assert pixels(dataset.validation)[:, 0, 0, 0].tolist() == list(range(100, 106))
    assert pixels(dataset.test)[:, 0, 0, 0].tolist() == list(range(200, 208))
    assert dataset.test.labels.tolist() == [0, 1] * 4
    assert sorted(pixels(dataset.train)[:, 0, 0, 0].tolist()) == list(range(20))
    assert torch.equal(pixels(dataset.train)[:, 0, 0, 0] % 2, dataset.train.labels)


def test_a_single_split_is_split_and_images_are_resized(tmp_path: Path, datasets: Any) -> None:
    made(datasets, 40).save_to_disk(tmp_path / "pets")
    dataset = load(tmp_path / "pets", image_size=8)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [28, 4, 8]
    assert dataset.image_shape == (1, 8, 8)


def test_rows_that_were_selected_and_shuffled_keep_their_labels(tmp_path: Path, datasets: Any) -> None:
    made(datasets, 40).shuffle(seed=1).select(range(30)).save_to_disk(tmp_path / "pets")
    dataset = load(tmp_path / "pets")
    for split in (dataset.train, dataset.validation, dataset.test):
        assert (pixels(split)[:, 0, 0, 0] % 2 == split.labels).all()


def test_the_second_load_needs_no_package(tmp_path: Path, datasets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made(datasets, 40).save_to_disk(tmp_path / "pets")
    first = load(tmp_path / "pets")
    monkeypatch.setitem(sys.modules, "datasets", None)  # as if it were not installed
    again = load(tmp_path / "pets")
    assert again.checksum == first.checksum
    with pytest.raises(DataError, match=r"needs the package datasets: pip install 'lossmith\[huggingface\]'"):
        load(tmp_path / "pets", image_size=9)


def test_a_data_set_that_was_saved_anew_is_read_anew(tmp_path: Path, datasets: Any) -> None:
    made(datasets, 40).save_to_disk(tmp_path / "pets")
    first = load(tmp_path / "pets")
    made(datasets, 40, start=1).save_to_disk(tmp_path / "pets")
    assert load(tmp_path / "pets").checksum != first.checksum


def test_of_several_label_columns_one_is_named(tmp_path: Path, datasets: Any) -> None:
    size = datasets.ClassLabel(names=["small", "middle", "large"]), [number % 3 for number in range(60)]
    made(datasets, 60, size=size).save_to_disk(tmp_path / "pets")
    with pytest.raises(
        DataError, match=r"several columns of labels; set data\.label_column to one of .*: animal, size"
    ):
        load(tmp_path / "pets")
    assert load(tmp_path / "pets", label_column="size").classes == ("small", "middle", "large")
    assert load(tmp_path / "pets", label_column="animal").classes == ("cat", "dog")
    with pytest.raises(DataError, match=r"has no column 'sise' \(data\.label_column\); its columns are text, picture"):
        load(tmp_path / "pets", label_column="sise")
    with pytest.raises(DataError, match=r"'text' is no column of integers"):
        load(tmp_path / "pets", label_column="text")


def test_the_fine_labels_of_cifar100_are_taken(tmp_path: Path, datasets: Any) -> None:
    coarse = datasets.ClassLabel(names=["a", "b"]), [number % 2 for number in range(60)]
    fine = datasets.ClassLabel(names=["a", "b", "c"]), [number % 3 for number in range(60)]
    data = made(datasets, 60, coarse_label=coarse, fine_label=fine).remove_columns("animal")
    data.save_to_disk(tmp_path / "cifar")
    assert load(tmp_path / "cifar").num_classes == 3


def test_integers_called_label_will_do(tmp_path: Path, datasets: Any) -> None:
    numbers = datasets.Value("int64"), [number % 4 for number in range(60)]
    made(datasets, 60, label=numbers).remove_columns("animal").save_to_disk(tmp_path / "pets")
    assert load(tmp_path / "pets").classes == ("0", "1", "2", "3")


def test_damaged_and_missing_images_are_named_and_can_be_left_out(tmp_path: Path, datasets: Any) -> None:
    contents: list[Any] = [{"bytes": png(number), "path": None} for number in range(40)]
    contents[7] = {"bytes": png(7)[:-20], "path": None}
    contents[9] = None
    data = made(datasets, 40, photo=(datasets.Image(), contents)).remove_columns("picture")
    data.save_to_disk(tmp_path / "pets")
    with pytest.raises(
        DataError, match=r"pets: split 'train': image 7: not a readable image \(.*; 2 images .* image 9;"
    ):
        load(tmp_path / "pets")
    told: list[str] = []
    config = DataConfig(source="huggingface", path=str(tmp_path / "pets"), corrupt="skip")
    dataset = load_dataset(config, notice=told.append)
    values = torch.cat([pixels(split) for split in (dataset.train, dataset.validation, dataset.test)])[:, 0, 0, 0]
    assert sorted(values.tolist()) == [number for number in range(40) if number not in (7, 9)]
    assert told[0].startswith("2 damaged images are left out: ")


def test_a_class_that_only_the_test_split_has(tmp_path: Path, datasets: Any) -> None:
    names = ("cat", "dog", "emu")
    train = made(datasets, 30, names=names).filter(lambda row: row["animal"] != 2)
    datasets.DatasetDict({"train": train, "test": made(datasets, 9, names=names)}).save_to_disk(tmp_path / "pets")
    with pytest.raises(DataError, match=r"split 'train': class 'emu' has no image in the training split"):
        load(tmp_path / "pets")


def test_data_sets_that_will_not_do(tmp_path: Path, datasets: Any) -> None:
    datasets.DatasetDict({"test": made(datasets, 8)}).save_to_disk(tmp_path / "a")
    with pytest.raises(DataError, match=r"a: no split 'train'; found test"):
        load(tmp_path / "a")
    made(datasets, 8).remove_columns("picture").save_to_disk(tmp_path / "b")
    with pytest.raises(DataError, match=r"b: 0 columns of the type Image, expected one; its columns are text, animal"):
        load(tmp_path / "b")
    made(datasets, 8).remove_columns("animal").save_to_disk(tmp_path / "c")
    with pytest.raises(
        DataError, match=r"c: no column of the type ClassLabel; set data\.label_column to .*: text, picture"
    ):
        load(tmp_path / "c")
    (tmp_path / "d").mkdir()
    with pytest.raises(
        DataError, match=r"d: holds no data set saved by save_to_disk; for image files set data\.source to"
    ):
        load(tmp_path / "d")
    (next((tmp_path / "a").glob("test/*.arrow"))).write_bytes(b"torn")
    with pytest.raises(DataError, match=r"a: cannot load the data set \(.*\); save it anew") as caught:
        load(tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_a_name_of_the_hub(tmp_path: Path, datasets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub itself is not asked: what it would be asked for is recorded."""
    asked: list[tuple[str, str | None]] = []
    found = datasets.DatasetDict({"train": made(datasets, 40)})

    def load_dataset_(name: str, configuration: str | None) -> Any:
        asked.append((name, configuration))
        return found

    monkeypatch.setattr(importlib.import_module("datasets"), "load_dataset", load_dataset_)
    dataset = load("someone/pets:small")
    assert dataset.name == "pets:small"
    assert asked == [("someone/pets", "small")]
    found["train"] = made(datasets, 40, start=5)
    assert load("someone/pets:small").checksum != dataset.checksum  # a newer version at the hub
    load("pets")
    assert asked[-1] == ("pets", None)


def test_without_a_network_it_says_so(monkeypatch: pytest.MonkeyPatch, datasets: Any) -> None:
    def offline(name: str, configuration: str | None) -> Any:
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub (OfflineModeIsEnabled)\nmore")

    monkeypatch.setattr(importlib.import_module("datasets"), "load_dataset", offline)
    with pytest.raises(
        DataError, match=r"someone/pets: cannot load the data set \(Couldn't reach .*\); check the name"
    ):
        load("someone/pets")
