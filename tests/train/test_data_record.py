"""The record of the splits in a run's directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data_files import write_folder
from lossmith.errors import RunError
from lossmith.train.data import Dataset, Split, keep_splits, load_dataset, load_splits, save_splits, split_record
from lossmith.train.task import DataConfig


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return load_dataset(write_folder(tmp_path / "pets", per_class=10, parts=("train", "test")))


def test_the_record_leads_back_to_the_images(tmp_path: Path, dataset: Dataset) -> None:
    path = save_splits(dataset, tmp_path / "splits.npz")
    record = load_splits(path)
    assert record.equals(split_record(dataset))
    assert record.parts == {"train": "train", "validation": "train", "test": "test"}
    assert sorted([*record.rows["train"], *record.rows["validation"]]) == list(range(20))
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        files = sorted((tmp_path / "pets" / record.parts[name]).glob("*/*.png"))
        labels = [("cat", "dog").index(files[row].parent.name) for row in record.rows[name]]
        assert labels == split.labels.tolist()


def test_a_record_that_is_there_must_be_the_same(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "splits.npz"
    keep_splits(dataset, path, "pets")
    written = path.read_bytes()
    keep_splits(dataset, path, "pets")
    assert path.read_bytes() == written
    index = dataset.train.index
    assert index is not None
    for other in (
        replace(dataset, checksum="0" * 16),
        replace(dataset, train=replace(dataset.train, index=index.flip(0))),
        replace(dataset, train=replace(dataset.train, index=index[1:], labels=dataset.train.labels[1:])),
        replace(dataset, test=replace(dataset.test, part="validation")),
    ):
        with pytest.raises(RunError, match=r"splits\.npz: the images or the splits of task 'pets' are not those that"):
            keep_splits(other, path, "pets")


def test_a_damaged_record_says_what_to_do(tmp_path: Path, dataset: Dataset) -> None:
    path = save_splits(dataset, tmp_path / "splits.npz")
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-30], b"PK\x03\x04", whole.replace(b"train_rows", b"trian_rows")):
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"splits\.npz: not a readable record of the splits \(.*\); remove it, and"):
            keep_splits(dataset, path, "pets")
    with pytest.raises(RunError, match="not a readable record"):
        load_splits(tmp_path / "nowhere.npz")
    with pytest.raises(RunError, match="cannot write"):
        save_splits(dataset, tmp_path / "nowhere" / "splits.npz")


def test_it_is_compact(tmp_path: Path) -> None:
    dataset = load_dataset(DataConfig(source="digits"))
    assert save_splits(dataset, tmp_path / "splits.npz").stat().st_size < 3 * 1797


def test_splits_made_by_hand_have_one_too(tmp_path: Path) -> None:
    split = Split(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 0]))
    dataset = Dataset("mine", ("a", "b"), split, split, split, "0" * 16)
    record = load_splits(save_splits(dataset, tmp_path / "splits.npz"))
    assert np.array_equal(record.rows["test"], [0, 1, 2])
    assert record.parts["test"] == ""
