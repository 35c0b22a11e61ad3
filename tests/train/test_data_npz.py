"""The forms of .npz files, and that they are read a few images at a time."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_files import Array, pixels
from lossmith.errors import DataError
from lossmith.train.data import Dataset, load_dataset, source
from lossmith.train.task import DataConfig


def load(path: Path) -> Dataset:
    return load_dataset(DataConfig(source="npz", path=str(path)))


def random_images(count: int, *shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
def test_medmnist_s_layout(tmp_path: Path, shape: tuple[int, ...]) -> None:
    arrays: dict[str, Any] = {}
    for seed, (part, count) in enumerate((("train", 40), ("val", 8), ("test", 12))):
        arrays[f"{part}_images"] = random_images(count, *shape, seed=seed)
        arrays[f"{part}_labels"] = (np.arange(count, dtype=np.uint8) % 4)[:, np.newaxis]
    path = tmp_path / "bloodmnist.npz"
    np.savez_compressed(path, **arrays)
    dataset = load(path)
    assert (dataset.name, dataset.num_classes) == ("bloodmnist", 4)
    assert dataset.image_shape == (1 if len(shape) == 2 else 3, 28, 28)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [40, 8, 12]
    found = pixels(dataset.validation).permute(0, 2, 3, 1).numpy().reshape(8, *shape)
    assert np.array_equal(found, arrays["val_images"])
    assert dataset.test.labels.tolist() == [0, 1, 2, 3] * 3

    arrays["train_labels"] = np.zeros((40, 14), np.uint8)  # ChestMNIST's: several labels an image
    np.savez_compressed(path, **arrays)
    with pytest.raises(
        DataError, match=r"'train_labels': expected the shape \[N\], found \[40, 14\]; one class number"
    ):
        load(path)
    arrays["train_labels"] = np.arange(40) % 4
    del arrays["val_labels"]
    np.savez_compressed(path, **arrays)
    with pytest.raises(DataError, match=r"array 'val_labels' is missing"):
        load(path)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_every_way_to_store_an_array_gives_the_same(
    tmp_path: Path, compressed: bool, order: Any, version: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_CHUNK_BYTES", 700)  # a few images at a time
    images, labels = random_images(50, 6, 5, 3), np.arange(50) % 2
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, array in (("images", np.asarray(images, order=order)), ("labels", labels.astype(">i2"))):
            content = io.BytesIO()
            np.lib.format.write_array(content, array, version)
            archive.writestr(f"{name}.npy", content.getvalue())
    dataset = load(path)
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.index is not None
        assert np.array_equal(pixels(split).permute(0, 2, 3, 1).numpy(), images[split.index.numpy()])
        assert np.array_equal(split.labels.numpy(), labels[split.index.numpy()])


def test_damage_in_the_middle_of_the_images_is_found(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    images, labels = random_images(200, 8, 8), np.arange(200) % 2
    for save in (np.savez, np.savez_compressed):
        save(path, labels=labels, images=images)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
        with pytest.raises(
            DataError, match=r"data\.npz: not a readable .npz file of plain arrays \(.*\); save it anew"
        ):
            load(path)


def test_an_array_shorter_than_its_header_says(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, images=random_images(20, 4, 4), labels=np.arange(20) % 2)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["images.npy"] = members["images.npy"][:-1]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(DataError, match=r"truncated: 319 bytes where 320 were expected"):
        load(path)


def test_a_label_beyond_the_number_of_images_is_no_class(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, images=random_images(20, 4, 4), labels=np.array([0] * 19 + [2**60]))
    with pytest.raises(DataError, match=r"label 1152921504606846976, but only 20 images; number the classes from 0"):
        load(path)
