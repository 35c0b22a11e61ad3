"""Data sets: the four sources, the splits, and every way in which data can be wrong."""

from __future__ import annotations

import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_files import Array, numbered, pixels, rows, write_folder, write_image, write_npz
from lossmith.errors import DataError
from lossmith.train.data import Dataset, load_dataset
from lossmith.train.data import fashion as fashion_module
from lossmith.train.task import DataConfig


def idx_bytes(array: Array) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_fashion(root: Path, compress: bool = True) -> DataConfig:
    root.mkdir(parents=True, exist_ok=True)
    for prefix, count in (("train", 60), ("t10k", 20)):
        images, labels = numbered(count, classes=10, size=28)
        for kind, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            name, content = f"{prefix}-{kind}", idx_bytes(array)
            if compress:
                (root / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (root / name).write_bytes(content)
    return DataConfig(source="fashion-mnist", path=str(root))


def assert_sound(dataset: Dataset) -> None:
    """What holds of every data set."""
    shape = dataset.image_shape
    for split in (dataset.train, dataset.validation, dataset.test):
        images = pixels(split)
        assert images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert images.shape == (len(split), *shape)
        assert images.is_contiguous()
        assert torch.equal(torch.cat(list(split.chunks(7))), images)
        assert split.labels.min() >= 0
        assert split.labels.max() < dataset.num_classes
    assert len(dataset.train.labels.unique()) == dataset.num_classes
    assert len(dataset.checksum) == 16
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own bytes, as the driver sends them to workers
    for split, copied in zip((dataset.train, dataset.test), (copy.train, copy.test), strict=True):
        assert torch.equal(pixels(copied), pixels(split))
        assert torch.equal(copied.labels, split.labels)
        assert copied.labels.dtype == torch.int64
        assert copied.part == split.part
    assert copy.checksum == dataset.checksum
    assert copy.classes == dataset.classes


# --- sources -------------------------------------------------------------------------------------------------------


def test_digits() -> None:
    dataset = load_dataset(DataConfig(source="digits"))
    assert_sound(dataset)
    assert dataset.name == "digits"
    assert dataset.classes == tuple("0123456789")
    assert dataset.image_shape == (1, 8, 8)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [1295, 143, 359]
    assert (pixels(dataset.train).min(), pixels(dataset.train).max()) == (0, 255)
    assert len(pixels(dataset.train).unique()) == 17


def test_fashion_mnist_itself() -> None:
    try:
        dataset = load_dataset(DataConfig(source="fashion-mnist", train_limit=5000))
    except DataError as error:
        pytest.skip(f"Fashion-MNIST is not on this machine: {error}")
    assert_sound(dataset)
    assert dataset.image_shape == (1, 28, 28)
    assert dataset.classes[9] == "Ankle boot"
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [5000, 6000, 10_000]
    assert dataset.validation.labels.bincount().tolist() == [600] * 10
    assert dataset.test.labels[:5].tolist() == [9, 2, 1, 1, 6]
    assert int(pixels(dataset.test).sum(dtype=torch.int64)) == 573_469_082


@pytest.mark.parametrize("compress", [True, False])
def test_fashion_mnist_from_a_directory(tmp_path: Path, compress: bool) -> None:
    dataset = load_dataset(write_fashion(tmp_path, compress))
    assert_sound(dataset)
    assert dataset.num_classes == 10
    assert len(dataset.test) == 20
    assert pixels(dataset.test)[:, 0, 0, 0].tolist() == list(range(20))


def test_fashion_mnist_is_found_in_the_cache_before_debians(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DataConfig(source="fashion-mnist")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fashion_module, "DEBIAN_DIRECTORY", tmp_path / "debian")
    with pytest.raises(DataError, match=r"in neither .*cache/lossmith/fashion-mnist nor .*debian; install the package"):
        load_dataset(config)
    write_fashion(tmp_path / "debian")
    assert len(load_dataset(config).test) == 20
    cache = tmp_path / "cache" / "lossmith" / "fashion-mnist"
    cache.mkdir(parents=True)
    assert len(load_dataset(config).test) == 20  # an empty cache is what a download that failed leaves
    write_fashion(cache)
    (tmp_path / "debian" / "train-images-idx3-ubyte.gz").unlink()
    assert len(load_dataset(config).test) == 20


def test_npz_of_images_and_labels(tmp_path: Path) -> None:
    images, labels = numbered(40)
    dataset = load_dataset(write_npz(tmp_path, images=images, labels=labels))
    assert_sound(dataset)
    assert dataset.name == "data"
    assert dataset.classes == ("0", "1")
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [28, 4, 8]


def test_npz_with_its_own_parts_in_colour(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    arrays: dict[str, Array] = {}
    for part, count in (("train", 30), ("validation", 6), ("test", 9)):
        arrays[f"x_{part}"] = generator.integers(0, 256, (count, 5, 6, 3), dtype=np.uint8)
        arrays[f"y_{part}"] = (np.arange(count) % 3)[:, None]  # [N, 1], as Keras saves CIFAR's
    dataset = load_dataset(write_npz(tmp_path, **arrays))
    assert_sound(dataset)
    assert dataset.image_shape == (3, 5, 6)
    for part in ("validation", "test"):
        split = getattr(dataset, part)
        assert np.array_equal(pixels(split).permute(0, 2, 3, 1).numpy(), arrays[f"x_{part}"])
        assert split.labels.tolist() == arrays[f"y_{part}"][:, 0].tolist()
    assert rows(pixels(dataset.train)) == rows(torch.from_numpy(arrays["x_train"]).permute(0, 3, 1, 2).contiguous())


@pytest.mark.parametrize("validation", ["validation", "val"])
def test_folder_with_its_own_parts(tmp_path: Path, validation: str) -> None:
    dataset = load_dataset(write_folder(tmp_path / "pets", parts=("train", validation, "test")))
    assert_sound(dataset)
    assert (dataset.name, dataset.classes, dataset.image_shape) == ("pets", ("cat", "dog"), (1, 5, 4))
    assert pixels(dataset.validation)[:, 0, 0, 0].tolist() == [65, 66, 67, 68, 69, 70, 81, 82, 83, 84, 85, 86]
    assert dataset.test.labels.tolist() == [0] * 6 + [1] * 6
    assert sorted(pixels(dataset.train)[:, 0, 0, 0].tolist()) == [1, 2, 3, 4, 5, 6, 17, 18, 19, 20, 21, 22]


def test_folder_of_train_alone_is_split(tmp_path: Path) -> None:
    config = write_folder(tmp_path, per_class=10)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image, left alone")
    dataset = load_dataset(config)
    assert_sound(dataset)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [14, 2, 4]


def test_one_image_in_colour_makes_all_of_them_so(tmp_path: Path) -> None:
    config = write_folder(tmp_path)
    write_image(tmp_path / "train" / "dog" / "z.png", np.dstack([np.full((5, 4), v, np.uint8) for v in (1, 2, 3)]))
    dataset = load_dataset(config)
    assert_sound(dataset)
    assert dataset.image_shape == (3, 5, 4)
    colours = {
        tuple(image[:, 0, 0].tolist()) for s in (dataset.train, dataset.validation, dataset.test) for image in pixels(s)
    }
    assert (1, 2, 3) in colours
    assert (4, 4, 4) in colours


def test_image_size_resizes_images_of_differing_sizes(tmp_path: Path) -> None:
    config = write_folder(tmp_path)
    write_image(tmp_path / "train" / "dog" / "z.png", np.full((9, 11), 200, np.uint8))
    dataset = load_dataset(DataConfig(source="folder", path=config.path, image_size=8))
    assert_sound(dataset)
    assert dataset.image_shape == (1, 8, 8)
    assert all(image.unique().numel() == 1 for image in pixels(dataset.train))  # even images stay even


def test_image_size_resizes_arrays() -> None:
    dataset = load_dataset(DataConfig(source="digits", image_size=16))
    assert_sound(dataset)
    assert dataset.image_shape == (1, 16, 16)
    plain = load_dataset(DataConfig(source="digits"))
    assert torch.equal(dataset.train.labels, plain.train.labels)
    means = pixels(dataset.train).float().mean((1, 2, 3)), pixels(plain.train).float().mean((1, 2, 3))
    assert (means[0] - means[1]).abs().max() < 6


# --- splits --------------------------------------------------------------------------------------------------------


def test_splits_are_disjoint_complete_and_stratified(tmp_path: Path) -> None:
    images, labels = numbered(200, classes=5)
    dataset = load_dataset(write_npz(tmp_path, images=images, labels=labels))
    numbers = [pixels(split)[:, 0, 0, 0].tolist() for split in (dataset.train, dataset.validation, dataset.test)]
    assert sorted(number for listed in numbers for number in listed) == list(range(200))
    assert dataset.test.labels.bincount().tolist() == [8] * 5
    assert dataset.validation.labels.bincount().tolist() == [3] * 5
    assert dataset.train.labels.bincount().tolist() == [29] * 5
    for split, listed in zip((dataset.train, dataset.validation, dataset.test), numbers, strict=True):
        assert split.labels.tolist() == [number % 5 for number in listed]  # each image kept its label
    assert numbers[0] != sorted(numbers[0])


def test_the_split_seed_alone_decides_the_split() -> None:
    before = torch.random.get_rng_state(), str(np.random.get_state())  # noqa: NPY002 - it is what must not change
    first, again = load_dataset(DataConfig(source="digits")), load_dataset(DataConfig(source="digits"))
    other = load_dataset(DataConfig(source="digits", split_seed=1))
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert str(np.random.get_state()) == before[1]  # noqa: NPY002
    assert first.checksum == again.checksum
    assert torch.equal(pixels(first.train), pixels(again.train))
    assert other.checksum != first.checksum
    assert rows(pixels(other.test)) != rows(pixels(first.test))


def test_folds_share_the_test_images_and_no_validation_image(tmp_path: Path) -> None:
    images, labels = numbered(200, classes=5)
    config = write_npz(tmp_path, images=images, labels=labels)
    folds = [load_dataset(config.model_copy(update={"validation_fold": fold})) for fold in range(4)]
    assert folds[0].checksum == load_dataset(config).checksum
    held = [set(pixels(fold.validation)[:, 0, 0, 0].tolist()) for fold in folds]
    assert [len(images) for images in held] == [15] * 4
    assert len(set().union(*held)) == 60
    for fold, images in zip(folds, held, strict=True):
        assert torch.equal(pixels(fold.test), pixels(folds[0].test))
        train = set(pixels(fold.train)[:, 0, 0, 0].tolist())
        assert (len(train), train & images) == (145, set())
    with pytest.raises(DataError, match="class '0' has 32 images, too few for validation_fold 10 of 3 each"):
        load_dataset(config.model_copy(update={"validation_fold": 10}))


def test_a_validation_part_of_the_source_is_fold_0_and_unused_in_the_others(tmp_path: Path) -> None:
    images, labels = numbered(100, classes=5)
    path = tmp_path / "parts.npz"
    np.savez(
        path,
        train_images=images[:80],
        train_labels=labels[:80],
        val_images=images[80:],
        val_labels=labels[80:],
        test_images=images[:10],
        test_labels=labels[:10],
    )
    config = DataConfig(source="npz", path=str(path))
    folds = [load_dataset(config.model_copy(update={"validation_fold": fold})) for fold in range(3)]
    held = [set(pixels(fold.validation)[:, 0, 0, 0].tolist()) for fold in folds]
    assert held[0] == set(range(80, 100))
    assert [len(images) for images in held] == [20, 10, 10]
    assert len(set().union(*held)) == 40
    assert [len(fold.train) for fold in folds] == [80, 70, 70]


def test_train_limit_takes_the_first_of_the_same_split() -> None:
    full, part = load_dataset(DataConfig(source="digits")), load_dataset(DataConfig(source="digits", train_limit=300))
    assert torch.equal(pixels(part.train), pixels(full.train)[:300])
    assert torch.equal(part.train.labels, full.train.labels[:300])
    assert torch.equal(pixels(part.test), pixels(full.test))
    assert part.checksum != full.checksum


def test_the_checksum_tells_one_pixel_and_one_label(tmp_path: Path) -> None:
    images, labels = numbered(40)
    checksums = {load_dataset(write_npz(tmp_path, images=images, labels=labels)).checksum}
    changed = images.copy()
    changed[7, 1, 2] += 1
    checksums.add(load_dataset(write_npz(tmp_path, images=changed, labels=labels)).checksum)
    swapped = labels.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    checksums.add(load_dataset(write_npz(tmp_path, images=images, labels=swapped)).checksum)
    assert len(checksums) == 3


# --- errors --------------------------------------------------------------------------------------------------------


def npz_error(**changes: Array | None) -> Callable[[Path], DataConfig]:
    def write(folder: Path) -> DataConfig:
        x, y = numbered(40)
        arrays: dict[str, Array | None] = {"x_train": x, "y_train": y, "x_test": x[:4], "y_test": y[:4], **changes}
        return write_npz(folder, **{key: value for key, value in arrays.items() if value is not None})

    return write


def folder_error(change: Callable[[Path], object]) -> Callable[[Path], DataConfig]:
    def write(folder: Path) -> DataConfig:
        config = write_folder(folder, parts=("train", "test"))
        change(folder)
        return config

    return write


def fashion_error(change: Callable[[Path], object]) -> Callable[[Path], DataConfig]:
    def write(folder: Path) -> DataConfig:
        config = write_fashion(folder, compress=False)
        change(folder)
        return config

    return write


def bytes_error(name: str, source: Any, content: bytes | None) -> Callable[[Path], DataConfig]:
    def write(folder: Path) -> DataConfig:
        if content is not None:
            (folder / name).write_bytes(content)
        return DataConfig(source=source, path=str(folder / name))

    return write


def remove_images(folder: Path) -> None:
    for file in folder.glob("*.png"):
        file.unlink()


def shorten(path: Path, by: int) -> None:
    path.write_bytes(path.read_bytes()[:-by])


IMAGES, LABELS = numbered(40)
TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"

ERRORS: dict[str, tuple[Callable[[Path], DataConfig], str]] = {
    "npz missing": (bytes_error("no.npz", "npz", None), r"no\.npz: no such file"),
    "npz damaged": (bytes_error("x.npz", "npz", b"PK\x03\x04 torn"), r"x\.npz: not a readable .npz file"),
    "npz empty": (bytes_error("x.npz", "npz", b""), r"x\.npz: not a readable .npz file"),
    "npz of objects": (npz_error(y_train=np.array([None] * 40)), r"not a readable .npz file of plain arrays"),
    "npz without train": (npz_error(x_train=None, y_train=None), r"no arrays x_train and y_train"),
    "npz without labels": (npz_error(y_test=None), r"array 'y_test' is missing"),
    "npz unknown array": (npz_error(x_trian=IMAGES), r"unexpected array 'x_trian'"),
    "npz of floats": (npz_error(x_train=IMAGES.astype(np.float32)), r"'x_train': images must be uint8 .* float32"),
    "npz of int64": (npz_error(x_train=IMAGES.astype(np.int64)), r"must be uint8 \(0..255\), found int64; convert"),
    "npz image shape": (npz_error(x_train=IMAGES.reshape(40, 16)), r"'x_train': expected the shape .* \[40, 16\]"),
    "npz channels first": (npz_error(x_train=np.zeros((40, 3, 8, 8), np.uint8)), r"expected the shape .*3, 8, 8"),
    "npz float labels": (npz_error(y_train=LABELS / 2), r"'y_train': labels must be integers"),
    "npz one-hot labels": (
        npz_error(y_train=np.eye(2, dtype=np.int64)[LABELS]),
        r"'y_train': expected the shape \[N\]",
    ),
    "npz negative label": (npz_error(y_train=LABELS - 1), r"'y_train': label -1 is negative"),
    "npz counts": (npz_error(y_train=LABELS[:39]), r"40 images but 39 labels"),
    "npz no images": (npz_error(x_train=IMAGES[:0], y_train=LABELS[:0]), r"no images"),
    "npz one class": (npz_error(y_train=LABELS * 0), r"only one class"),
    "npz class missing": (npz_error(y_train=LABELS * 2), r"class '1' has no image in the training split"),
    "npz test label": (npz_error(y_test=np.array([0, 1, 2, 0])), r"'y_test': label 2 is outside 0..1"),
    "npz test size": (npz_error(x_test=np.zeros((4, 5, 5), np.uint8)), r"\[5, 5, 1\], but those to train on have \[4"),
    "npz too small": (npz_error(x_train=IMAGES[:3], y_train=LABELS[:3]), r"class '1' has 1 image\(s\), too few"),
    "folder missing": (bytes_error("no", "folder", None), r"no: no such directory; set data.path"),
    "folder is a file": (bytes_error("a.png", "folder", b"x"), r"a\.png: no such directory"),
    "folder empty": (lambda path: DataConfig(source="folder", path=str(path)), r"no folder 'train'"),
    "folder no classes": (
        folder_error(lambda path: [entry.rename(path / entry.name) for entry in list((path / "train").iterdir())]),
        r"train: no class folders",
    ),
    "folder no images": (
        folder_error(lambda path: [remove_images(path / "train" / name) for name in ("cat", "dog")]),
        r"train: no image files",
    ),
    "folder class empty": (
        folder_error(lambda path: remove_images(path / "train" / "dog")),
        r"class 'dog' has no image in the training split",
    ),
    "folder one class": (
        folder_error(lambda path: [(path / part / "dog").rename(path / f"{part}-dog") for part in ("train", "test")]),
        r"only one class",
    ),
    "folder unknown class": (
        folder_error(lambda path: write_image(path / "test" / "emu" / "0.png", np.zeros((5, 4), np.uint8))),
        r"class 'emu' has no folder in train/",
    ),
    "folder two validations": (
        folder_error(lambda path: [(path / name).mkdir() for name in ("val", "validation")]),
        r"both 'validation' and 'val'",
    ),
    "folder no image": (
        folder_error(lambda path: (path / "train" / "cat" / "3.png").write_bytes(b"not an image")),
        r"cat/3\.png: not a readable image",
    ),
    "folder truncated image": (
        folder_error(lambda path: shorten(path / "test" / "dog" / "2.png", 30)),
        r"dog/2\.png: not a readable image",
    ),
    "folder sizes": (
        folder_error(lambda path: write_image(path / "train" / "dog" / "1.png", np.zeros((4, 5), np.uint8))),
        r"dog/1\.png: 5x4 pixels, but .*0\.png has 4x5; set data.image_size",
    ),
    "folder too small": (lambda path: write_folder(path, per_class=1), r"class 'cat' has 1 image\(s\), too few"),
    "fashion missing": (bytes_error("no", "fashion-mnist", None), r"no: no such directory for Fashion-MNIST; install"),
    "fashion file missing": (
        fashion_error(lambda path: (path / TRAIN_LABELS).unlink()),
        r"neither train-labels-idx1-ubyte\.gz nor train-labels-idx1-ubyte",
    ),
    "fashion magic": (
        fashion_error(lambda path: (path / TRAIN_IMAGES).write_bytes(b"\0\0\x0d\x03" + b"\0" * 12)),
        r"train-images-idx3-ubyte: not an IDX file of 3 dimensions \(magic 00000803, found 00000d03\)",
    ),
    "fashion empty": (fashion_error(lambda path: (path / TRAIN_IMAGES).write_bytes(b"")), r"found nothing"),
    "fashion header": (
        fashion_error(lambda path: (path / TRAIN_IMAGES).write_bytes(b"\0\0\x08\x03\0\0")),
        r"truncated inside its header",
    ),
    "fashion truncated": (
        fashion_error(lambda path: shorten(path / TRAIN_IMAGES, 5)),
        r"truncated: 47035 values where the header says 47040",
    ),
    "fashion too long": (
        fashion_error(lambda path: (path / TRAIN_LABELS).write_bytes((path / TRAIN_LABELS).read_bytes() + b"\0")),
        r"longer than its header says: 61 values where the header says 60",
    ),
    "fashion label": (
        fashion_error(lambda path: (path / TRAIN_LABELS).write_bytes(idx_bytes(np.full(60, 10)))),
        r"train-labels-idx1-ubyte: label 10 is outside 0..9",
    ),
    "fashion counts": (
        fashion_error(lambda path: (path / TRAIN_LABELS).write_bytes(idx_bytes(np.zeros(59)))),
        r"60 images but 59 labels",
    ),
    "fashion gzip": (
        fashion_error(lambda path: (path / f"{TRAIN_IMAGES}.gz").write_bytes(gzip.compress(b"abc" * 999)[:-9])),
        r"train-images-idx3-ubyte\.gz: damaged or truncated gzip file",
    ),
    "limit": (lambda _: DataConfig(source="digits", train_limit=5), r"has no image in the training split"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_data_is_one_line_that_says_what_and_where(case: str, tmp_path: Path) -> None:
    write, message = ERRORS[case]
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(write(tmp_path))
    assert "\n" not in str(caught.value)
