"""What users get wrong: one line that says what, where, and what to do; exit code 2; nothing lost."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commandline import run_lossmith
from lossmith.ledger import FILE, Ledger

SMOKE = ["search", "--preset=smoke", "--workers=1"]


def one_line(error: str, *parts: str) -> None:
    lines = error.strip().splitlines()
    assert lines[0].startswith("lossmith: ")
    # a formula's error adds the formula and a caret
    assert len(lines) == 1 or (len(lines) == 3 and lines[2].strip() == "^"), error
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize(
    ("formula", "parts"),
    [
        ("-y*logg(yhat)", ["character 4", "unknown name 'logg'", "did you mean 'log'"]),
        ("-y*log(yhat", ["character 12", "expected ')'"]),
        ("y*yhat +", ["character 9", "the formula ends"]),
        ("yhat + 1", ["does not read y"]),
        ("focall", ["focal"]),
    ],
)
def test_a_formula_with_a_mistake(formula: str, parts: list[str]) -> None:
    one_line(run_lossmith("train", "--task=digits-screen", f"--loss={formula}", code=2), *parts)


@pytest.mark.parametrize(
    ("nodes", "parts"),
    [
        ({"h0": ["neg", "h1"], "h1": ["neg", "h0"], "root": ["add", "h0", "y"]}, ["cycle", "h0 -> h1 -> h0"]),
        ({"root": ["ad", "y", "yhat"]}, ["unknown operator 'ad'", "did you mean 'add'"]),
    ],
)
def test_a_json_file_with_a_mistake(tmp_path: Path, nodes: dict[str, list[str]], parts: list[str]) -> None:
    path = tmp_path / "loss.json"
    path.write_text(json.dumps(nodes))
    one_line(run_lossmith("train", "--task=digits-screen", f"--loss={path}", code=2), str(path), *parts)


def test_a_json_file_that_is_missing() -> None:
    one_line(run_lossmith("train", "--task=digits-screen", "--loss=nowhere/loss.json", code=2), "nowhere/loss.json")


def test_a_misspelt_key_in_yaml(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("preset: smoke\nsearch: {iteratons: 4}\n")
    error = run_lossmith("search", f"--config={path}", f"--run={tmp_path / 'run'}", code=2)
    one_line(error, str(path), "'search.iteratons'", "did you mean 'iterations'")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--seeds=0", "--loss=focal"], ["--seeds 0"]),
        (["--seeds=1", "--loss=focal", "--loss=baikal"], ["at least 2 seeds"]),
        (["--seed=-1", "--loss=focal"], ["--seed -1"]),
        (["--workers=0", "--loss=focal"], ["--workers 0"]),
        (["--loss="], ["--loss"]),
        (["--loss=" + "+".join(["sin(yhat)"] * 40)], ["is not a loss"]),  # longer than a file's name may be
    ],
)
def test_arguments_out_of_range(arguments: list[str], parts: list[str]) -> None:
    one_line(run_lossmith("train", "--task=digits-screen", *arguments, code=2), *parts)


def test_a_name_that_leads_elsewhere() -> None:
    one_line(run_lossmith(*SMOKE, "--set=name=../../elsewhere", code=2), "'../../elsewhere'", "--run")


def test_an_unknown_preset_and_task() -> None:
    one_line(run_lossmith("search", "--preset=digitz", code=2), "unknown preset 'digitz'", "did you mean 'digits'")
    one_line(run_lossmith("train", "--task=digitz", "--loss=focal", code=2), "'digitz'", "did you mean 'digits'")


# -- data ----------------------------------------------------------------------------------------------------------


def _folder(root: Path, classes: int = 2, images: int = 12) -> Path:
    for label in range(classes):
        place = root / "train" / f"class{label}"
        place.mkdir(parents=True)
        for i in range(images):
            Image.fromarray(np.full((8, 8), 20 * i + label, np.uint8)).save(place / f"{i}.png")
    return root


def _missing(root: Path) -> Path:
    return root / "nowhere"


def _empty(root: Path) -> Path:
    (root / "train").mkdir(parents=True)
    return root


def _one_class(root: Path) -> Path:
    return _folder(root, classes=1)


def _truncated(root: Path) -> Path:
    path = _folder(root) / "train" / "class1" / "3.png"
    path.write_bytes(path.read_bytes()[:40])
    return root


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (_missing, ["nowhere"]),
        (_empty, ["train"]),
        (_one_class, ["class"]),
        (_truncated, ["3.png"]),
    ],
)
def test_an_image_folder_with_a_fault(tmp_path: Path, make: Callable[[Path], Path], parts: list[str]) -> None:
    root = make(tmp_path / "data")
    data = [f"--set={task}.data={{source: folder, path: {root}}}" for task in ("task", "screening")]
    error = run_lossmith(*SMOKE, *data, f"--run={tmp_path / 'run'}", code=2)
    one_line(error, str(root), *parts)
    assert not (tmp_path / "run").exists()  # nothing is left of a run that could not begin


def _idx(array: np.ndarray) -> bytes:
    return gzip.compress(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


@pytest.mark.parametrize("fault", ["truncated", "labels"])
def test_fashion_mnist_files_with_a_fault(tmp_path: Path, fault: str) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 200), ("t10k", 100)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        if fault == "labels" and part == "train":
            labels[7] = 11
        content = _idx(images)
        if fault == "truncated" and part == "train":
            content = gzip.compress(gzip.decompress(content)[:-1000])
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(content)
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(_idx(labels))
    data = [f"--set={task}.data={{source: fashion-mnist, path: {tmp_path}}}" for task in ("task", "screening")]
    error = run_lossmith(*SMOKE, *data, f"--run={tmp_path / 'run'}", code=2)
    one_line(error, "train-images" if fault == "truncated" else "train-labels")


# -- run directories -----------------------------------------------------------------------------------------------


def test_a_directory_that_is_not_a_run(tmp_path: Path) -> None:
    for command in ("resume", "report", "show"):
        one_line(run_lossmith(command, tmp_path, code=2), str(tmp_path), "is not a run")
    one_line(run_lossmith("resume", tmp_path / "none", code=2), "no such directory")


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    with Ledger.create(tmp_path / "run", {"name": "x"}):
        pass
    return tmp_path / "run"


def test_a_run_that_is_in_use(run_directory: Path) -> None:
    with Ledger.open(run_directory):
        one_line(run_lossmith("resume", run_directory, code=2), "in use", str(os.getpid()))


def test_a_run_of_a_newer_schema(run_directory: Path) -> None:
    connection = sqlite3.connect(run_directory / FILE)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    for command in ("resume", "report", "show"):
        one_line(run_lossmith(command, run_directory, code=2), "newer", "update Lossmith")


def test_a_run_that_exists_is_not_overwritten(run_directory: Path) -> None:
    before = (run_directory / FILE).read_bytes()
    one_line(run_lossmith(*SMOKE, f"--run={run_directory}", code=2), "lossmith resume")
    assert (run_directory / FILE).read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="only root can mount a small disk")
def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        directory = disk / "run"
        one_line(run_lossmith(*SMOKE, f"--run={directory}", code=2), "full", "make room", "lossmith resume")
        subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
        with Ledger.read(directory) as ledger:
            before = list(ledger.evaluations())
        assert before
        run_lossmith("resume", directory)
        with Ledger.read(directory) as ledger:
            after = list(ledger.evaluations())
        assert after[: len(before)] == before
        assert len(after) > len(before)
    finally:
        subprocess.run(["umount", disk], check=True)
