"""Which images of one split are in another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from lossmith.train.data import Split, load_dataset
from lossmith.train.data.overlap import among, at_one_size, image_digests
from lossmith.train.task import DataConfig


def split(*values: int, index: list[int] | None = None, shape: tuple[int, int, int] = (1, 2, 2)) -> Split:
    """Images that are filled with a value each."""
    images = torch.stack([torch.full(shape, value, dtype=torch.uint8) for value in values])
    rows = None if index is None else torch.tensor(index)
    return Split(images, torch.zeros(len(values if index is None else index), dtype=torch.int64), rows)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=20), st.lists(st.integers(0, 255), min_size=1, max_size=20))
def test_it_finds_the_equal_images_wherever_they_are(ours: list[int], theirs: list[int]) -> None:
    found = among(image_digests(split(*ours)), [image_digests(split(*theirs))])
    assert found.tolist() == [value in theirs for value in ours]


def test_only_the_images_of_the_split_count() -> None:
    assert among(image_digests(split(1, 2, 3)), [image_digests(split(1, 2, 3, index=[2]))]).tolist() == [
        False,
        False,
        True,
    ]
    assert image_digests(split(1, 2, index=[1, 0, 1])).tolist() == image_digests(split(2, 1, 2)).tolist()


def test_the_same_bytes_in_another_shape_are_another_image() -> None:
    assert not among(image_digests(split(7)), [image_digests(split(7, shape=(4, 1, 1)))]).any()


def test_several_others_and_none() -> None:
    ours = image_digests(split(1, 2, 3))
    assert among(ours, [image_digests(split(1)), image_digests(split(3))]).tolist() == [True, False, True]
    assert not among(ours, []).any()


def test_another_split_seed_hides_nothing() -> None:
    one, other = (load_dataset(DataConfig(source="digits", split_seed=seed)) for seed in (0, 1))
    test = image_digests(one.test)
    same_split = [image_digests(one.train), image_digests(one.validation)]
    assert among(test, same_split).sum() == 0  # digits has no image twice
    seen = among(test, [image_digests(other.train), image_digests(other.validation)]).mean()
    assert 0.7 < seen < 0.9  # all but the fifth that is the other's test split


def test_a_resized_and_a_plain_data_set_are_compared_at_one_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (20, 12, 12), dtype=np.uint8), np.arange(20) % 2
    np.savez(tmp_path / "data.npz", allow_pickle=True, images=images, labels=labels)
    plain = DataConfig(source="npz", path=str(tmp_path / "data.npz"))
    small = plain.model_copy(update={"image_size": 6})
    assert not among(image_digests(load_dataset(plain).test), [image_digests(load_dataset(small).test)]).any()
    for pair in (at_one_size(plain, small), at_one_size(small, plain)):
        ours, theirs = map(load_dataset, pair)
        assert among(image_digests(ours.test), [image_digests(theirs.test)]).all()
    assert at_one_size(small, plain.model_copy(update={"image_size": 8}))[1].image_size == 6
