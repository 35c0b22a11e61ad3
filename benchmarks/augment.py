"""What augmentation costs a batch, beside a training step of resnet9v2 in the same run.

    python benchmarks/augment.py [--rounds 40]

One thread of the CPU. Every setting is measured in turn, round after round, so that what else the machine does falls on
all alike; medians are printed, with the fastest round in brackets. Images are crops of scikit-learn's photographs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.nn import functional

from lossmith.train.augment import augment, resized
from lossmith.train.augment.randaugment import applied, drawn
from lossmith.train.models import build_model
from lossmith.train.task import AugmentConfig, RandAugmentConfig

SHAPES = ((128, 32), (64, 80), (64, 96))  # images of a batch, pixels of a side
CLASSES = 10
METHODS = RandAugmentConfig(magnitude=5)
STRONG = RandAugmentConfig(magnitude=8)  # at 5, Color, Contrast, Brightness and Sharpness change nothing
SETTINGS = {
    "pad 4, flip": AugmentConfig(pad=4, flip=True),
    "cutout 16": AugmentConfig(cutout=16),
    "mixup": AugmentConfig(mixup=1.0),
    "cutmix": AugmentConfig(cutmix=1.0),
    "mixup or cutmix": AugmentConfig(mixup=1.0, cutmix=1.0),
    "RandAugment 5": AugmentConfig(randaugment=METHODS),
    "RandAugment 8": AugmentConfig(randaugment=STRONG),
    "all of these": AugmentConfig(pad=4, flip=True, randaugment=STRONG, cutout=16, mixup=1.0, cutmix=1.0),
}


def photographs(batch: int, size: int, generator: torch.Generator) -> Tensor:
    """Random crops, uint8 [batch, 3, size, size]."""
    pictures = [torch.from_numpy(picture.copy()).permute(2, 0, 1) for picture in load_sample_images().images]
    crops = []
    for number in range(batch):
        picture = pictures[number % len(pictures)]
        top, left = (int(torch.randint(side - size, (), generator=generator)) for side in picture.shape[1:])
        crops.append(picture[:, top : top + size, left : left + size])
    return torch.stack(crops)


def training_step(images: Tensor, labels: Tensor) -> Callable[[], object]:
    """A step of resnet9v2 in plain eager torch, in the layout that is faster on a CPU."""
    model = build_model(
        "resnet9v2",
        in_channels=3,
        num_classes=CLASSES,
        generator=torch.Generator().manual_seed(0),
        dropout_generator=torch.Generator().manual_seed(1),
    )
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - missing from the stub
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def step() -> None:
        inputs = images.to(torch.float32, memory_format=torch.channels_last).div_(255.0)
        loss = functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def timed(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every round."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            taken[name].append(1e3 * (time.perf_counter() - began))
    return taken


def ways_of(batch: int, size: int) -> dict[str, Callable[[], object]]:
    generator = torch.Generator().manual_seed(0)
    images = photographs(batch, size, generator)
    labels = torch.randint(CLASSES, (batch,), generator=generator)
    ways: dict[str, Callable[[], object]] = {"training step": training_step(images, labels)}
    for name, config in SETTINGS.items():
        ways[name] = lambda config=config: augment(images, labels, config, generator, num_classes=CLASSES)
    # The way for devices that the host must not wait for, on this one.
    ways["RandAugment 8, on all"] = lambda: applied(
        images, drawn(batch, size, size, STRONG.layers, generator), STRONG, select=False
    )
    if size > 32:
        small = photographs(batch, 32, generator)
        ways[f"resized 32 to {size}"] = lambda: resized(small, size)
    return ways


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for batch, size in SHAPES:
        taken = timed(ways_of(batch, size), rounds)
        step = statistics.median(taken["training step"])
        print(f"[{batch}, 3, {size}, {size}]")
        for name, milliseconds in taken.items():
            median = statistics.median(milliseconds)
            print(f"  {name:22}{median:8.2f} ms ({min(milliseconds):6.2f}) {median / step:7.1%} of a step")


if __name__ == "__main__":
    main()
