"""The stream of batches: what derives from the seed, and what every training on one seed shares."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bars import CPU, make_dataset, make_task
from lossmith.train.batches import Batches, Images, Seeds, generator
from lossmith.train.data import Split
from lossmith.train.stages import stages
from lossmith.train.task import TaskConfig


def stream(task: TaskConfig, seed: int) -> list[tuple[Tensor, Tensor]]:
    dataset = make_dataset()
    source = Batches(task, dataset, Images(dataset.train, CPU), seed)
    (stage,) = stages(task)
    return [source.next(stage) for _ in range(task.steps)]


def test_four_independent_seeds() -> None:
    seeds = Seeds.of(7)
    states = [tuple(part.generate_state(4)) for part in (seeds.weights, seeds.order, seeds.augment, seeds.dropout)]
    assert len(set(states)) == 4
    again = generator(Seeds.of(7).order)
    assert torch.equal(generator(seeds.order).get_state(), again.get_state())
    assert not torch.equal(generator(seeds.order).get_state(), generator(Seeds.of(8).order).get_state())


def test_a_seed_gives_the_same_batches() -> None:
    task = make_task()
    for (images, labels), (same_images, same_labels) in zip(stream(task, 3), stream(task, 3), strict=True):
        assert images.shape == (16, 1, 8, 8)
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        assert torch.equal(images, same_images)
        assert torch.equal(labels, same_labels)
    assert not torch.equal(stream(task, 3)[0][0], stream(task, 4)[0][0])


def test_the_order_does_not_depend_on_the_augmentation() -> None:
    plain, changed = stream(make_task(augment={}), 3), stream(make_task(), 3)
    assert all(torch.equal(one, other) for (_, one), (_, other) in zip(plain, changed, strict=True))


@given(steps=st.integers(1, 20), batch_size=st.integers(2, 70))
def test_every_image_is_used_equally_often(steps: int, batch_size: int) -> None:
    dataset = make_dataset()
    numbered = replace(dataset, train=Split(dataset.train.images, torch.arange(48)))
    task = make_task(steps=steps, batch_size=batch_size, augment={})
    source = Batches(task, numbered, Images(numbered.train, CPU), 0)
    (stage,) = stages(task)
    used = torch.cat([source.next(stage)[1] for _ in range(steps)])
    for first in range(0, len(used), 48):  # each pass is a permutation, the last one cut off
        part = used[first : first + 48]
        assert len(part.unique()) == len(part)


def test_resizing_comes_before_augmentation_and_mixing_makes_probabilities() -> None:
    task = make_task(resize=12, augment={"pad": 2, "mixup": 0.5}, steps=3)
    for images, targets in stream(task, 0):
        assert images.shape == (16, 1, 12, 12)
        assert images.dtype == targets.dtype == torch.float32
        assert targets.shape == (16, 3)
        torch.testing.assert_close(targets.sum(1), torch.ones(16))


def test_a_stages_magnitude_replaces_the_tasks() -> None:
    augment = {"randaugment": {"magnitude": 0.0}}
    task = make_task(augment=augment, steps=2, stages=[{"steps": 1, "magnitude": 0.0}, {"steps": 1, "magnitude": 10.0}])
    dataset = make_dataset()
    weak, strong = (Batches(task, dataset, Images(dataset.train, CPU), 0) for _ in range(2))
    first, second = stages(task)
    assert not torch.equal(weak.next(first)[0], strong.next(second)[0])


def test_rows_of_a_larger_part_are_read_through_the_index() -> None:
    dataset = make_dataset()
    index = torch.arange(47, -1, -1)
    turned = Split(dataset.train.images, dataset.train.labels[index], index)
    positions = torch.tensor([0, 5, 47])
    images, labels = Images(turned, CPU).take(positions)
    assert torch.equal(images, dataset.train.images[47 - positions])
    assert torch.equal(labels, dataset.train.labels[47 - positions])
    assert len(Images(turned, CPU)) == 48


@pytest.mark.gpu
def test_a_gpu_has_the_same_order() -> None:
    dataset, device, task = make_dataset(), torch.device("cuda"), make_task(augment={})
    there = Batches(task, dataset, Images(dataset.train, device), 0)
    (stage,) = stages(task)
    for images, labels in stream(task, 0):
        found = there.next(stage)
        assert found[0].device.type == "cuda"
        assert torch.equal(found[0].cpu(), images)
        assert torch.equal(found[1].cpu(), labels)
