"""The stream of batches that a loss is trained on: made once, shared by all losses that train in step on one seed.

Legend of the tensor names: N images, B batch, C channels, H rows, W columns, K classes, T steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lossmith.train.augment import augment
from lossmith.train.data import Dataset, Split
from lossmith.train.inputs import at_size
from lossmith.train.stages import Stage
from lossmith.train.task import TaskConfig

_CPU = torch.device("cpu")
_SHARE = 2  # the training images are kept on a device where they take less than 1 / _SHARE of its free memory


@dataclass(frozen=True, slots=True)
class Seeds:
    """The four independent sources of randomness of one training."""

    weights: np.random.SeedSequence
    order: np.random.SeedSequence
    augment: np.random.SeedSequence
    dropout: np.random.SeedSequence

    @classmethod
    def of(cls, seed: int) -> Seeds:
        return cls(*np.random.SeedSequence(seed).spawn(4))


def generator(seed: np.random.SeedSequence, device: torch.device = _CPU) -> torch.Generator:
    return torch.Generator(device).manual_seed(int(seed.generate_state(1, np.uint64)[0]))


class Images:
    """The training images of a data set, where the batches are made."""

    def __init__(self, split: Split, device: torch.device) -> None:
        self._split = split
        self._device = device
        self._labels = split.labels.to(device)
        self._resident: Tensor | None = None
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if len(split) * split.images[0].numel() < free // _SHARE:
                self._resident = torch.cat([chunk.to(device) for chunk in split.chunks(4096)])

    def __len__(self) -> int:
        return len(self._split)

    @property
    def device(self) -> torch.device:
        return self._device

    def take(self, positions_B: Tensor) -> tuple[Tensor, Tensor]:
        """(uint8 [B, C, H, W], int64 [B]) of the images at `positions_B`, int64 [B] on the CPU."""
        if self._device.type == "cpu":
            return self._split.take(positions_B), self._labels.index_select(0, positions_B)
        places = positions_B.to(self._device, non_blocking=True)
        images = self._resident
        taken = images.index_select(0, places) if images is not None else self._split.take(positions_B).to(self._device)
        return taken, self._labels.index_select(0, places)


class Batches:
    """The batches of one training, in order: `next` gives that of the next step."""

    def __init__(self, task: TaskConfig, dataset: Dataset, images: Images, seed: int) -> None:
        seeds = Seeds.of(seed)
        self._augment = task.augment
        self._num_classes = dataset.num_classes
        self._images = images
        self._order_TB = _order(len(images), task.steps, task.batch_size, generator(seeds.order))
        self._generator = generator(seeds.augment, images.device)
        self._step = 0

    def next(self, stage: Stage) -> tuple[Tensor, Tensor]:
        """The batch of the next step, which is in `stage`.

        Returns:
            Images [B, C, H, W] with values in 0..255, uint8, and targets, int64 [B]; where the task mixes images both
            are floating point, the targets [B, K].
        """
        images_BCHW, labels_B = self._images.take(self._order_TB[self._step])
        self._step += 1
        images_BCHW = at_size(images_BCHW, stage.size)
        config = self._augment
        if stage.magnitude is not None and config.randaugment is not None:
            changed = config.randaugment.model_copy(update={"magnitude": stage.magnitude})
            config = config.model_copy(update={"randaugment": changed})
        return augment(images_BCHW, labels_B, config, self._generator, num_classes=self._num_classes)


def _order(count: int, steps: int, batch_size: int, source: torch.Generator) -> Tensor:
    """The images of every step, int64 [T, B]: permutations of 0..count-1, one after the other.

    A batch may span two permutations, so every image is used equally often and any batch size fits any data.
    """
    passes = math.ceil(steps * batch_size / count)
    order = torch.cat([torch.randperm(count, generator=source) for _ in range(passes)])
    return order[: steps * batch_size].view(steps, batch_size)
