"""The cache of decoded images: found again, damaged, in use by others, and in places that cannot be written."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data_files import pixels, write_folder, write_image, write_npz
from lossmith.errors import DataError
from lossmith.train.data import Dataset, cache, load_dataset, writing
from lossmith.train.data import fashion as fashion_module
from lossmith.train.data.dataset import content_checksum
from lossmith.train.data.mapped import ImageFile
from lossmith.train.data.stored import MANIFEST
from lossmith.train.task import DataConfig


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of an empty cache."""
    monkeypatch.setenv("LOSSMITH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    return write_folder(tmp_path / "pets", per_class=10, parts=("train", "test"))


def load(config: DataConfig, told: list[str] | None = None) -> tuple[Dataset, bool]:
    """The data set, and whether it was decoded."""
    decoded: list[int] = []
    found = load_dataset(
        config, progress=lambda done, _: decoded.append(done), notice=(told if told is not None else []).append
    )
    return found, bool(decoded)


def entry(root: Path) -> Path:
    (found,) = [folder for folder in root.iterdir() if not folder.name.endswith(".building")]
    return found


def same(one: Dataset, other: Dataset) -> bool:
    return one.checksum == other.checksum and all(
        torch.equal(pixels(a), pixels(b)) and torch.equal(a.labels, b.labels)
        for a, b in zip((one.train, one.validation, one.test), (other.train, other.validation, other.test), strict=True)
    )


def in_memory(dataset: Dataset) -> Dataset:
    """A copy that no file can change."""
    splits = {name: getattr(dataset, name) for name in ("train", "validation", "test")}
    return replace(
        dataset, **{name: replace(split, images=pixels(split), index=None, file=None) for name, split in splits.items()}
    )


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSMITH_CACHE", "/a/b")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache.cache_directory() == Path("/a/b")
    monkeypatch.delenv("LOSSMITH_CACHE")
    assert cache.cache_directory() == Path("/c/lossmith/data")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_directory() == Path.home() / ".cache" / "lossmith" / "data"


def test_the_second_load_decodes_nothing_and_is_the_same(root: Path, config: DataConfig) -> None:
    first, decoded = load(config)
    assert decoded
    again, decoded = load(config)
    assert not decoded
    assert same(first, again)
    assert [folder.name.rpartition("-")[0] for folder in root.iterdir()] == ["pets"]


def test_splits_are_rows_of_the_same_mapped_files(root: Path, config: DataConfig) -> None:
    dataset, _ = load(config)
    assert dataset.train.images.data_ptr() == dataset.validation.images.data_ptr()
    assert (dataset.train.part, dataset.validation.part, dataset.test.part) == ("train", "train", "test")
    assert dataset.train.file is not None
    assert Path(dataset.train.file.path).read_bytes() == dataset.train.images.numpy().tobytes()


def test_other_settings_of_the_splits_share_what_is_decoded(root: Path, config: DataConfig) -> None:
    load(config)
    for change in ({"split_seed": 3}, {"train_limit": 6}, {"validation_fraction": 0.3}):
        _, decoded = load(config.model_copy(update=change))
        assert not decoded
    _, decoded = load(config.model_copy(update={"image_size": 8}))
    assert decoded


@pytest.mark.parametrize("change", ["pixel", "new file", "removed", "class", "moved"])
def test_a_change_of_the_source_is_decoded_anew(root: Path, tmp_path: Path, config: DataConfig, change: str) -> None:
    before, _ = load(config)
    folder = tmp_path / "pets" / "train"
    match change:
        case "pixel":
            write_image(folder / "cat" / "3.png", np.full((5, 4), 250, np.uint8))
        case "new file":
            write_image(folder / "cat" / "new.png", np.full((5, 4), 250, np.uint8))
        case "removed":
            (folder / "cat" / "3.png").unlink()
        case "class":
            (folder / "cat" / "3.png").rename(folder / "dog" / "33.png")
        case "moved":
            (tmp_path / "pets").rename(tmp_path / "moved")
            config = config.model_copy(update={"path": str(tmp_path / "moved")})
    after, decoded = load(config)
    assert decoded
    assert (after.checksum == before.checksum) == (change == "moved")


def test_digits_are_kept_nowhere(root: Path) -> None:
    load_dataset(DataConfig(source="digits"))
    assert not root.exists()


def test_a_wrong_source_leaves_nothing_behind(root: Path, tmp_path: Path) -> None:
    labels = np.zeros(8, np.int64)
    with pytest.raises(DataError, match="only one class"):
        load_dataset(write_npz(tmp_path, images=np.zeros((8, 4, 4), np.uint8), labels=labels))
    config = write_folder(tmp_path / "pets")
    (tmp_path / "pets" / "train" / "cat" / "4.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="not a readable image"):
        load_dataset(config)
    assert list(root.iterdir()) == []


# --- checksums ------------------------------------------------------------------------------------------------------


def test_the_remembered_checksum_is_that_of_the_content(root: Path, config: DataConfig) -> None:
    dataset, _ = load(config)
    splits = (dataset.train, dataset.validation, dataset.test)
    assert dataset.checksum == content_checksum(dataset.classes, splits)
    copy = in_memory(dataset)
    assert dataset.checksum == content_checksum(dataset.classes, (copy.train, copy.validation, copy.test))
    assert load(config)[0].checksum == dataset.checksum
    (remembered,) = entry(root).glob("checksum-*")
    for damaged in (b"0123456789abcdef " + remembered.read_bytes()[17:], b"", b"\xff" * 90):
        remembered.write_bytes(damaged)
        assert load(config)[0].checksum == dataset.checksum
    assert load(config.model_copy(update={"split_seed": 4}))[0].checksum != dataset.checksum


def test_the_checksums_of_the_sources_that_old_ledgers_know() -> None:
    """They are in the ledgers of runs that were begun before there was a cache."""
    assert load_dataset(DataConfig(source="digits")).checksum == "48266715f159e985"
    assert load_dataset(DataConfig(source="digits", image_size=16)).checksum == "ae9a9ad166ebaaa6"
    if not fashion_module.DEBIAN_DIRECTORY.is_dir():
        pytest.skip("Fashion-MNIST is not on this machine")
    assert load_dataset(DataConfig(source="fashion-mnist", train_limit=5000)).checksum == "abe2a8880dce8dfc"


# --- damage ---------------------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("which", ["train-*.images", "test-*.images", "train-*.labels", MANIFEST])
def test_a_damaged_entry_is_found_and_built_anew(root: Path, config: DataConfig, which: str, damage: object) -> None:
    first = in_memory(load(config)[0])
    (victim,) = entry(root).glob(which)
    assert callable(damage)
    damage(victim)
    told: list[str] = []
    again, decoded = load(config, told)
    assert decoded
    assert len(told) == 1
    assert told[0].startswith(f"{entry(root)}: the cache of decoded images is damaged (")
    assert victim.name in told[0] or which == MANIFEST
    assert told[0].endswith("; the images are decoded anew")
    assert same(first, again)
    assert not load(config)[1]


def test_a_manifest_of_another_version_or_of_nonsense_is_built_anew(root: Path, config: DataConfig) -> None:
    first, _ = load(config)
    for content in ("{}", "[]", "null", "{", '{"digest": 1, "format": 2}'):
        (entry(root) / MANIFEST).write_text(content)
        again, decoded = load(config)
        assert decoded
        assert again.checksum == first.checksum


def test_what_a_killed_process_left_is_cleared_away(root: Path, config: DataConfig) -> None:
    load(config)
    left = entry(root).rename(entry(root).with_name(entry(root).name + ".building"))
    (left / "train.images").write_bytes(b"half")
    told: list[str] = []
    _, decoded = load(config, told)
    assert decoded
    assert not told
    assert not left.exists()


# --- several processes ------------------------------------------------------------------------------------------------

LOADER = """
import sys
from lossmith.train.data import load_dataset
from lossmith.train.task import DataConfig
decoded, told = [], []
sys.stdin.readline()
config = DataConfig(source="folder", path=sys.argv[1])
found = load_dataset(config, progress=lambda done, _: decoded.append(done), notice=told.append)
print(found.checksum, bool(decoded), all("another process decodes" in text for text in told))
"""


def test_processes_that_build_at_once_do_not_harm_each_other(root: Path, tmp_path: Path) -> None:
    config = write_folder(tmp_path / "pets", per_class=60)
    command = [sys.executable, "-c", LOADER, str(config.path)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ})
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120)[0].split() for process in processes]
    assert {answer[0] for answer in answers} == {load_dataset(config).checksum}
    assert [answer[1] for answer in answers].count("True") == 1  # the other waited for it, or found it
    assert {answer[2] for answer in answers} == {"True"}
    assert len(list(root.iterdir())) == 1


def test_a_pickle_is_small_and_maps_the_same_file(root: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4000, 16, 16, 3), dtype=np.uint8)
    dataset = load_dataset(write_npz(tmp_path, images=images, labels=np.arange(4000) % 300))
    content = pickle.dumps(dataset)
    assert len(content) < 4000 * 5  # two bytes for each row and two for each label, and little else
    copy = pickle.loads(content)  # noqa: S301 - our own
    assert same(dataset, copy)
    assert copy.train.file == dataset.train.file
    assert copy.train.labels.dtype == copy.train.index.dtype == torch.int64
    code = (
        "import pickle, sys; d = pickle.load(sys.stdin.buffer);"
        "print(d.test.take(__import__('torch').arange(3)).sum().item(),"
        " sum(d.train.file.path in line for line in open('/proc/self/maps')) > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, check=True)
    total = int(dataset.test.take(torch.arange(3)).sum())
    assert done.stdout.decode().split() == [str(total), "True"]


def test_a_pickle_of_replaced_labels_keeps_them(root: Path, config: DataConfig) -> None:
    dataset, _ = load(config)
    noisy = replace(dataset.train, labels=1 - dataset.train.labels)
    copy = pickle.loads(pickle.dumps(noisy))  # noqa: S301 - our own
    assert torch.equal(copy.labels, noisy.labels)
    assert torch.equal(pixels(copy), pixels(dataset.train))


def test_a_cache_that_went_before_a_worker_started_is_one_line(root: Path, config: DataConfig) -> None:
    dataset, _ = load(config)
    content = pickle.dumps(dataset)
    (images,) = entry(root).glob("train-*.images")
    truncate(images)
    with pytest.raises(
        DataError, match=r"train-.*\.images: the cache of decoded images changed \(.* bytes where .*run"
    ):
        pickle.loads(content)  # noqa: S301 - our own
    shutil.rmtree(root)
    with pytest.raises(
        DataError, match=r"cannot map the cache of decoded images: No such file or directory; run again"
    ):
        pickle.loads(content)  # noqa: S301 - our own


# --- memory -----------------------------------------------------------------------------------------------------------


def test_a_file_larger_than_memory_can_be_mapped_and_writing_to_it_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    images = ImageFile(str(path), (1 << 10, 1 << 10, 1 << 10, 1 << 10)).map()
    assert images.shape == (1024, 1024, 1024, 1024)
    assert int(images[1023, 1023].sum()) == 0
    images[0, 0, 0, :3] = 7
    with path.open("rb") as file:
        assert file.read(3) == bytes(3)


MEASURE = """
import sys, torch
from lossmith.train.data import load_dataset
from lossmith.train.task import DataConfig

def anonymous():  # MB that the process alone holds; pages of mapped files can be dropped at any time
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) / 1e3

before, most = anonymous(), 0.0
def measure(done, total):
    global most
    most = max(most, anonymous() - before)

dataset = load_dataset(DataConfig(source=sys.argv[1], path=sys.argv[2]), progress=measure)
measure(0, 0)
for start in range(0, len(dataset.train) - 128, 128):
    dataset.train.take(torch.arange(start, start + 128))
measure(0, 0)
print(most, dataset.train.images.numel() / 1e6)
"""


def write_large_npz(place: Path) -> Path:
    images = np.zeros((16_000, 64, 64, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(16_000) % 251
    place.mkdir()
    np.savez_compressed(place / "large.npz", images=images, labels=np.arange(16_000) % 10)
    return place / "large.npz"


def write_large_folder(place: Path) -> Path:
    for label in ("a", "b"):
        write_image(place / "train" / label / "0.png", np.full((512, 512, 3), 7, np.uint8))
        for number in range(1, 130):
            os.link(place / "train" / label / "0.png", place / "train" / label / f"{number}.png")
    return place


@pytest.mark.parametrize(("source", "write"), [("npz", write_large_npz), ("folder", write_large_folder)])
def test_a_training_set_is_never_held_in_memory(
    root: Path, tmp_path: Path, source: str, write: Callable[[Path], Path]
) -> None:
    """Neither while it is decoded, nor for its checksum, nor while batches are taken from it."""
    command = [sys.executable, "-c", MEASURE, source, str(write(tmp_path / "data"))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    grown, size = map(float, done.stdout.split())
    assert size > 190
    assert grown < size / 3


def test_what_is_loaded_does_not_change_with_its_files(root: Path, tmp_path: Path, config: DataConfig) -> None:
    dataset, _ = load(config)
    before = in_memory(dataset)
    shutil.rmtree(tmp_path / "pets")
    shutil.rmtree(root)
    assert same(before, dataset)


# --- places that cannot be written ------------------------------------------------------------------------------------


def test_without_a_writable_cache_the_images_go_to_a_temporary_folder(tmp_path: Path, config: DataConfig) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "tmp").mkdir()
    code = (
        "import sys, tempfile; from pathlib import Path;"
        "from lossmith.train.data import load_dataset; from lossmith.train.task import DataConfig;"
        "c = DataConfig(source='folder', path=sys.argv[1]); told = [];"
        "a = load_dataset(c, notice=told.append); b = load_dataset(c, notice=told.append);"
        "print(a.checksum, b.train.file.path == a.train.file.path, len(list(Path(sys.argv[2]).iterdir())));"
        "print(*told, sep='\\n')"
    )
    environment = {**os.environ, "LOSSMITH_CACHE": str(tmp_path / "file" / "cache"), "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-c", code, str(config.path), str(tmp_path / "tmp")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    values, told = done.stdout.splitlines()
    assert values.split() == [load_dataset(config).checksum, "True", "1"]
    cannot = f"{tmp_path / 'file' / 'cache'}: cannot write the cache (Not a directory)"
    remedy = "at every start: set LOSSMITH_CACHE to a folder that can be written"
    assert told == f"{cannot}; the images are decoded into {tmp_path / 'tmp'} {remedy}"
    assert list((tmp_path / "tmp").iterdir()) == []  # it goes with the process


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    gc.collect()  # what is mapped keeps it busy
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_says_how_much_is_needed(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSMITH_CACHE", str(disk))
    images = np.zeros((1000, 28, 28), np.uint8)
    config = write_npz(tmp_path, images=images, labels=np.arange(1000) % 2)
    with pytest.raises(
        DataError, match=r"no room for the decoded images \(1 MB are needed, 0 MB are free\); make room"
    ):
        load_dataset(config)
    assert list(disk.iterdir()) == []
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda _: usage)  # another process takes the room meanwhile
    with pytest.raises(
        DataError, match=r"no room for the decoded images \(No space left on device\); make room, or set"
    ):
        load_dataset(config)
    assert list(disk.iterdir()) == []


def test_an_entry_on_a_disk_that_cannot_be_written_is_used(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSSMITH_CACHE", str(disk))
    config = write_folder(tmp_path / "pets")
    first, _ = load(config)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    told: list[str] = []
    again, decoded = load(config.model_copy(update={"split_seed": 5}), told)
    assert not decoded
    assert not told
    assert again.train.file == first.train.file
    (tmp_path / "pets" / "train" / "cat" / "0.png").unlink()
    _, decoded = load(config, told)
    assert decoded
    assert told[0].startswith(f"{disk}: cannot write the cache (Read-only file system); the images are decoded into ")
