"""CIFAR in each of its forms, and pickles that are no plain data."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cifar_files import (
    CIFAR10_NAMES,
    cifar10_batches,
    cifar100_batches,
    pack,
    python2,
    write_cifar10_binary,
    write_cifar10_python,
    write_cifar100_binary,
    write_cifar100_python,
)
from data_files import pixels, rows
from lossmith.errors import DataError
from lossmith.train.data import Dataset, load_dataset
from lossmith.train.data.plain_pickle import read_plain_dict
from lossmith.train.task import DataConfig


def load(source: Any, path: Path) -> Dataset:
    return load_dataset(DataConfig(source=source, path=str(path)))


def assert_cifar10(dataset: Dataset, names: tuple[str, ...] = CIFAR10_NAMES) -> None:
    assert (dataset.name, dataset.classes, dataset.image_shape) == ("cifar10", names, (3, 32, 32))
    batches = cifar10_batches()
    test_pixels, test_labels = batches.pop("test_batch")
    assert np.array_equal(pixels(dataset.test).numpy(), test_pixels.reshape(-1, 3, 32, 32))
    assert dataset.test.labels.tolist() == test_labels
    assert [len(dataset.train), len(dataset.validation)] == [130, 20]  # 15 of each class: 2 for validation
    found = rows(pixels(dataset.train)) | rows(pixels(dataset.validation))
    assert found == {row.tobytes() for batch, _ in batches.values() for row in batch}


def test_cifar10_for_python_as_folder_parent_archive_and_beside_others(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar10_python(folder)
    assert b"numpy.core.multiarray" in (folder / "test_batch").read_bytes()  # as in the real ones
    pack(folder, tmp_path / "any-name.tar.gz")
    (tmp_path / "alone").mkdir()
    pack(folder, tmp_path / "alone" / "cifar-10-python.tar.gz")
    places = (folder, tmp_path, tmp_path / "any-name.tar.gz", tmp_path / "alone")
    datasets = [load("cifar10", place) for place in places]
    for dataset in datasets:
        assert_cifar10(dataset)
    assert len({dataset.checksum for dataset in datasets}) == 1


def test_cifar10_in_binary_equals_the_one_for_python(tmp_path: Path) -> None:
    write_cifar10_binary(tmp_path / "cifar-10-batches-bin")
    write_cifar10_python(tmp_path / "p" / "cifar-10-batches-py")
    pack(tmp_path / "cifar-10-batches-bin", tmp_path / "cifar-10-binary.tar.gz")
    dataset = load("cifar10", tmp_path)
    assert_cifar10(dataset)
    for other in (tmp_path / "p", tmp_path / "cifar-10-binary.tar.gz"):
        assert load("cifar10", other).checksum == dataset.checksum


def test_classes_are_numbers_where_no_file_names_them(tmp_path: Path) -> None:
    write_cifar10_python(tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / "batches.meta").unlink()
    assert_cifar10(load("cifar10", tmp_path), tuple("0123456789"))


@pytest.mark.parametrize(
    ("write", "folder"),
    [(write_cifar100_python, "cifar-100-python"), (write_cifar100_binary, "cifar-100-binary")],
)
def test_cifar100_has_its_fine_labels(tmp_path: Path, write: Callable[[Path], None], folder: str) -> None:
    write(tmp_path / folder)
    pack(tmp_path / folder, tmp_path / f"{folder}.tar.gz")
    for place in (tmp_path / folder, tmp_path / f"{folder}.tar.gz"):
        dataset = load("cifar100", place)
        assert dataset.num_classes == 100
        assert dataset.classes[41] == "fine 41"
        test_pixels, test_labels = cifar100_batches()["test"]
        assert dataset.test.labels.tolist() == test_labels
        assert np.array_equal(pixels(dataset.test).numpy().reshape(-1, 3072), test_pixels)
        assert sorted(dataset.train.labels.tolist() + dataset.validation.labels.tolist()) == sorted(
            list(range(100)) * 11
        )


def test_cifar10_as_image_folder(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for part, count in (("train", 4), ("test", 2)):
        for name in CIFAR10_NAMES:
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                array = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(array).save(tmp_path / part / name / f"{number}.png")
    dataset = load("cifar10", tmp_path)
    assert (dataset.name, dataset.classes, dataset.image_shape) == ("cifar10", CIFAR10_NAMES, (3, 32, 32))
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [30, 10, 20]
    with pytest.raises(DataError, match=r"10 class folders, but CIFAR-100 has 100 classes; complete them, or set"):
        load("cifar100", tmp_path)


def test_images_can_be_resized(tmp_path: Path) -> None:
    write_cifar10_binary(tmp_path / "cifar-10-batches-bin")
    dataset = load_dataset(DataConfig(source="cifar10", path=str(tmp_path), image_size=16))
    assert dataset.image_shape == (3, 16, 16)
    assert pixels(dataset.test).shape == (30, 3, 16, 16)


# --- hostile and damaged -------------------------------------------------------------------------------------------


class Calls:
    """Pickles as the call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_runs_a_command_is_an_error_and_runs_nothing(tmp_path: Path, protocol: int) -> None:
    folder, mark = tmp_path / "cifar-10-batches-py", tmp_path / "ran"
    write_cifar10_python(folder)
    hostile = pickle.dumps({b"data": Calls(os.system, f"touch {mark}"), b"labels": [0]}, protocol)
    (folder / "data_batch_3").write_bytes(hostile)
    module = os.system.__module__
    with pytest.raises(DataError, match=rf"data_batch_3: not a readable batch \(it names {module}\.system"):
        load("cifar10", tmp_path)
    assert not mark.exists()
    pickle.loads(hostile)  # noqa: S301 - shows that the payload is one
    assert mark.exists()


@pytest.mark.parametrize(
    "payload",
    [
        b"c__builtin__\neval\n(S'1/0'\ntR.",
        b"cbuiltins\ngetattr\n.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
        b"(ios\nsystem\n.",
        b"(cos\nsystem\nS'true'\no.",
        b"\x80\x02cnumpy\ndtype\n)\x81.",  # makes an instance of what stands for a class
        b"cnumpy\ndtype\nN}S'__call__'\nI1\ns\x86b.",  # sets an attribute of what stands for a function
        b"cnumpy\ndtype\n}S'__call__'\nI1\nsb.",
        b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
        b"\x80\x02\x82\x01.",  # the extension registry
        b"Pname\n.",  # a persistent id
        b"]\x94(I1\nI2\ne.",
        b"I1\n.",
        b".",
        b"",
        b"\x80\x09.",
        b"}(]I1\nu.",  # a list as key
        b"I1\nr\xff\xff\xff\x7f.",  # a memo with room for two thousand million entries
        b"(" * 1_000_000 + b".",
    ],
)
def test_other_pickles_that_are_no_plain_data(payload: bytes) -> None:
    with pytest.raises(
        DataError, match=r"^batch: not a readable batch \([^\n]*\); replace the file with an intact copy$"
    ):
        read_plain_dict(payload, "batch")
    assert read_plain_dict(python2({"data": np.arange(6, dtype=np.uint8)}), "batch")["data"].tolist() == list(range(6))


def test_arrays_of_the_present_numpy_and_in_fortran_s_order_are_read() -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for value in (array, np.asfortranarray(array)):
        for protocol in range(pickle.HIGHEST_PROTOCOL):  # the highest has another layout, which CIFAR's cannot have
            found = read_plain_dict(pickle.dumps({"data": value}, protocol), "batch")["data"]
            assert np.array_equal(found, array)


def with_state(shape: Any, kind: Any, content: bytes) -> bytes:
    """The pickle of an array whose state was tampered with."""

    class Array:
        def __reduce__(self) -> Any:
            reconstruct, arguments, _ = np.zeros(1, np.uint8).__reduce__()  # type: ignore[misc] - typeshed allows a text, which arrays never give
            return reconstruct, arguments, (1, shape, kind, False, content)

    return pickle.dumps({"data": Array()}, 2)


@pytest.mark.parametrize(
    ("shape", "kind", "content"),
    [
        ((2, 3), np.dtype(np.uint8), b"12345"),
        ((-2, -3), np.dtype(np.uint8), b"123456"),
        ((6.0,), np.dtype(np.uint8), b"123456"),
        ((6,), np.dtype(np.int8), b"123456"),
        ((3,), np.dtype(np.uint16), b"123456"),
        ((1,), np.dtype(object), b"12345678"),
        ([6], np.dtype(np.uint8), b"123456"),
        ((10**6, 10**6, 10**6), np.dtype(np.uint8), b"1"),
    ],
)
def test_an_array_whose_state_was_tampered_with(shape: Any, kind: Any, content: bytes) -> None:
    with pytest.raises(DataError, match="not a readable batch"):
        read_plain_dict(with_state(shape, kind, content), "batch")


Change = Callable[[Path], object]


def replaced(name: str, values: dict[str, Any]) -> Change:
    return lambda folder: (folder / name).write_bytes(python2(values))


def cut(name: str, at: int) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:at])


ZEROS = np.zeros((10, 3072), np.uint8)

ERRORS: dict[str, tuple[Change, str]] = {
    "missing": (lambda folder: (folder / "data_batch_4").unlink(), r"data_batch_4: no such file, but others .* there"),
    "truncated": (cut("data_batch_2", 20_000), r"data_batch_2: not a readable batch \("),
    "empty": (cut("test_batch", 0), r"test_batch: not a readable batch"),
    "no data": (replaced("data_batch_1", {"labels": [0]}), r"data_batch_1: 'data' is no uint8 array \[N, 3072\]"),
    "other size": (
        replaced("data_batch_1", {"data": ZEROS[:, :1024], "labels": [0] * 10}),
        r"'data' is no uint8 array",
    ),
    "no labels": (replaced("data_batch_1", {"data": ZEROS}), r"'labels' is no list of integers"),
    "float labels": (
        replaced("data_batch_1", {"data": ZEROS, "labels": [0.5] * 10}),
        r"'labels' is no list of integers",
    ),
    "counts": (replaced("data_batch_1", {"data": ZEROS, "labels": [0] * 9}), r"10 images but 9 labels"),
    "label": (replaced("data_batch_1", {"data": ZEROS, "labels": [0] * 9 + [10]}), r"label 10 is outside 0..9"),
    "negative": (replaced("data_batch_1", {"data": ZEROS, "labels": [0] * 9 + [-1]}), r"label -1 is outside 0..9"),
    "names": (replaced("batches.meta", {"label_names": ["a"]}), r"batches\.meta: 1 names of classes, expected 10"),
    "class missing": (
        lambda folder: [
            replaced(f"data_batch_{n}", {"data": ZEROS, "labels": [n % 9 for n in range(10)]})(folder)
            for n in range(1, 6)
        ],
        r"class 'truck' has no image in the training split",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_a_damaged_batch_is_named(tmp_path: Path, case: str) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar10_python(folder)
    change, message = ERRORS[case]
    change(folder)
    with pytest.raises(DataError, match=message) as caught:
        load("cifar10", tmp_path)
    assert "\n" not in str(caught.value)


def test_binary_batches_that_are_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    write_cifar10_binary(folder)
    whole = (folder / "data_batch_5.bin").read_bytes()
    (folder / "data_batch_5.bin").write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"data_batch_5\.bin: truncated or no batch \(.* not a multiple of 3073\)"):
        load("cifar10", tmp_path)
    (folder / "data_batch_5.bin").write_bytes(b"\x0a" + whole[1:])
    with pytest.raises(DataError, match=r"data_batch_5\.bin: label 10 is outside 0..9"):
        load("cifar10", tmp_path)


def test_archives_that_are_damaged_or_of_something_else(tmp_path: Path) -> None:
    folder, archive = tmp_path / "cifar-10-batches-py", tmp_path / "a.tar.gz"
    write_cifar10_python(folder)
    pack(folder, archive)
    with pytest.raises(
        DataError, match=r"a\.tar\.gz: holds neither cifar-100-python nor cifar-100-binary; set data\.path"
    ):
        load("cifar100", archive)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.tar\.gz: damaged or no archive \("):
        load("cifar10", archive)
    archive.write_bytes(b"no archive at all")
    with pytest.raises(DataError, match=r"a\.tar\.gz: damaged or no archive \("):
        load("cifar10", archive)
    (folder / "test_batch").unlink()
    pack(folder, archive)
    with pytest.raises(DataError, match=r"a\.tar\.gz: has no cifar-10-batches-py/test_batch"):
        load("cifar10", archive)


def test_a_place_without_cifar_says_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"holds no CIFAR-10 \(cifar-10-batches-py, cifar-10-python\.tar\.gz, .*\); set"
    ):
        load("cifar10", tmp_path)
    with pytest.raises(DataError, match=r"nowhere: no such file or directory for CIFAR-100 \("):
        load("cifar100", tmp_path / "nowhere")
