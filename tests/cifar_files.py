"""CIFAR's batches in miniature, written as Python 2 wrote the real ones."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # [N, 3072]


_Pickler: Any = vars(pickle)["_Pickler"]  # the one written in Python, whose parts can be replaced; typeshed hides it


class _Python2Pickler(_Pickler):
    """Protocol 2 with Python 2's strings, and the names that NumPy's functions had."""

    dispatch: ClassVar[dict[type, Any]] = dict(_Pickler.dispatch)

    def _save_string(self, text: bytes | str) -> None:
        content = text.encode("latin1") if isinstance(text, str) else text
        head = b"U" + bytes([len(content)]) if len(content) < 256 else b"T" + struct.pack("<i", len(content))
        self.write(head + content)
        self.memoize(text)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = obj.__module__.replace("numpy._core", "numpy.core")
        self.write(f"c{module}\n{obj.__qualname__}\n".encode())
        self.memoize(obj)

    dispatch[bytes] = _save_string
    dispatch[str] = _save_string
    dispatch[type] = save_global
    dispatch[type(len)] = save_global
    dispatch[type(_save_string)] = save_global


def python2(value: Any) -> bytes:
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def random_batch(count: int, classes: int, seed: int) -> tuple[Pixels, list[int]]:
    """Rows of 1,024 red, then green, then blue values; labels that go round."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)
    return pixels, [number % classes for number in range(count)]


def cifar10_batches(per_batch: int = 30) -> dict[str, tuple[Pixels, list[int]]]:
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    return {name: random_batch(per_batch, 10, seed) for seed, name in enumerate(names)}


CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write_cifar10_python(folder: Path) -> dict[str, tuple[Pixels, list[int]]]:
    folder.mkdir(parents=True)
    batches = cifar10_batches()
    for name, (pixels, labels) in batches.items():
        values = {"batch_label": "a batch", "labels": labels, "data": pixels, "filenames": ["x.png"] * len(labels)}
        (folder / name).write_bytes(python2(values))
    meta = {"num_cases_per_batch": 30, "label_names": list(CIFAR10_NAMES), "num_vis": 3072}
    (folder / "batches.meta").write_bytes(python2(meta))
    return batches


def write_cifar10_binary(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, (pixels, labels) in cifar10_batches().items():
        (folder / f"{name}.bin").write_bytes(np.column_stack([np.array(labels, np.uint8), pixels]).tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR10_NAMES) + "\n\n")


def cifar100_batches() -> dict[str, tuple[Pixels, list[int]]]:
    return {"train": random_batch(1100, 100, 7), "test": random_batch(200, 100, 8)}


def write_cifar100_python(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, (pixels, labels) in cifar100_batches().items():
        coarse = [label // 5 for label in labels]
        (folder / name).write_bytes(python2({"fine_labels": labels, "coarse_labels": coarse, "data": pixels}))
    names = {"fine_label_names": [f"fine {n}" for n in range(100)], "coarse_label_names": ["coarse"] * 20}
    (folder / "meta").write_bytes(python2(names))


def write_cifar100_binary(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, (pixels, labels) in cifar100_batches().items():
        both = np.array([[label // 5, label] for label in labels], np.uint8)
        (folder / f"{name}.bin").write_bytes(np.column_stack([both, pixels]).tobytes())
    (folder / "fine_label_names.txt").write_text("".join(f"fine {n}\n" for n in range(100)))


def pack(folder: Path, archive: Path) -> None:
    """The folder as a .tar.gz, the last file first, as no reader should care."""
    with tarfile.open(archive, "w:gz") as packed:
        for file in sorted(folder.iterdir(), reverse=True):
            packed.add(file, f"{folder.name}/{file.name}")
