"""Test images that were seen before, found by content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from confirmations import config, make_source
from lossmith.errors import DataError
from lossmith.study.confirmation.cells import registered_cell
from lossmith.study.confirmation.overlaps import find_overlaps, sentences
from lossmith.study.confirmation.sources import read_source
from lossmith.train.data import load_dataset
from lossmith.train.data.digits import read_digits
from lossmith.train.task import load_task


def overlaps(run: Path | None = None, **data: Any) -> list[dict[str, Any]]:
    cell = registered_cell(load_task({"base": "digits", "data": data}, "test"))
    sources = [read_source(str(run))] if run else []
    return find_overlaps([cell], sources, config().overlap, load_dataset)


def test_a_source_with_the_same_split_has_seen_nothing(tmp_path: Path) -> None:
    found = overlaps(make_source(tmp_path / "search", kind="search"))
    seen = [{"directory": str(tmp_path / "search"), "shared": 0}]
    assert found == [{"cell": "digits", "test": 450, "train": 0, "validation": 0, "sources": seen}]
    assert sentences(found) == []


def test_a_source_with_another_split_seed_is_refused(tmp_path: Path) -> None:
    source = make_source(tmp_path / "search", kind="search", split_seed=1)
    with pytest.raises(DataError) as caught:
        overlaps(source)
    assert "cell 'digits': 3" in str(caught.value)  # about three quarters of 450
    assert f"were used by {source}, which led to the losses; take other data, or the split_seed" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_source_with_other_fractions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="were used by"):
        overlaps(make_source(tmp_path / "search", kind="search", test_fraction=0.1))


def test_the_same_images_under_another_name_are_found(tmp_path: Path) -> None:
    images, labels = read_digits()
    np.savez(tmp_path / "copy.npz", allow_pickle=True, images=images[::-1], labels=labels[::-1])
    source = make_source(tmp_path / "search", source="npz", path=str(tmp_path / "copy.npz"))
    with pytest.raises(DataError, match="were used by"):
        overlaps(source)


def test_a_source_that_was_scored_on_the_test_images_is_refused(tmp_path: Path) -> None:
    source = make_source(tmp_path / "search", kind="search", split="test")
    with pytest.raises(
        DataError, match=r"450 of its 450 test images \(100\.0%, of which less than 1% may be\) were used"
    ):
        overlaps(source)


def test_a_source_whose_data_is_gone_is_refused(tmp_path: Path) -> None:
    images, labels = read_digits()
    np.savez(tmp_path / "copy.npz", allow_pickle=True, images=images, labels=labels)
    source = make_source(tmp_path / "search", source="npz", path=str(tmp_path / "copy.npz"))
    (tmp_path / "copy.npz").unlink()
    with pytest.raises(DataError, match=r"search: the data of its task 'digits' cannot be read, so it cannot be told"):
        overlaps(source)


def parts(path: Path, validation: slice, shared: int = 0) -> dict[str, Any]:
    """Digits with parts of their own; `shared` test images are among the training images, too."""
    images, labels = read_digits()
    train = [*range(900), *range(1400, 1400 + shared)]
    np.savez(
        path,
        allow_pickle=True,
        x_train=images[train],
        y_train=labels[train],
        x_validation=images[validation],
        y_validation=labels[validation],
        x_test=images[1400:],
        y_test=labels[1400:],
    )
    return {"source": "npz", "path": str(path)}


def test_a_test_set_named_as_validation_is_refused(tmp_path: Path) -> None:
    # of a source: a search that scored on the test images
    searched = make_source(tmp_path / "search", **parts(tmp_path / "searched.npz", slice(1400, None)))
    honest = parts(tmp_path / "honest.npz", slice(900, 1400))
    with pytest.raises(DataError, match=r"397 of its 397 test images .* were used by"):
        overlaps(searched, **honest)
    # of the cell: with fold 2 its own validation part is not used, its training images are what is left to tune on
    mixed = parts(tmp_path / "mixed.npz", slice(900, 1400), shared=300)
    with pytest.raises(DataError, match="are among its "):
        overlaps(**mixed)


def test_some_duplicates_are_natural_and_reported(tmp_path: Path) -> None:
    found = overlaps(**parts(tmp_path / "data.npz", slice(900, 1400), shared=3))  # 3 of 397 is under 1%
    assert found[0]["train"] + found[0]["validation"] == 3
    assert sentences(found)[0].startswith("digits: of 397 test images, ")
    with pytest.raises(DataError, match="are among its"):
        overlaps(**parts(tmp_path / "more.npz", slice(900, 1400), shared=8))
