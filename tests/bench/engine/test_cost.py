"""What a step costs, against numbers worked out by hand."""

from __future__ import annotations

from lossmith.bench.engine.cost import bytes_per_step, flops_per_step
from lossmith.bench.engine.data import random_images
from lossmith.train.task import load_task

BATCH = 64
# the convnet on 8x8: three 3x3 convolutions and a linear layer; (multiply-adds of one image, inputs are images)
LAYERS = {
    "conv 1->12, 8x8": (8 * 8 * 12 * 9 * 1, True),
    "conv 12->24, 4x4": (4 * 4 * 24 * 9 * 12, False),
    "conv 24->48, 2x2": (2 * 2 * 48 * 9 * 24, False),
    "linear 48->10": (48 * 10, False),
}


def test_operations_of_the_convnet() -> None:
    task = load_task("digits", "test")
    forward = sum(count for count, _ in LAYERS.values())
    # backwards: the gradients of weights and inputs, each as much as forwards, but none of the images'
    backward = sum(count * (1 if first else 2) for count, first in LAYERS.values())
    assert flops_per_step(task, random_images(task.data)) == 2 * BATCH * (forward + backward)


def test_bytes_of_the_convnet() -> None:
    task = load_task("digits", "test")
    outputs = {
        "conv, batch norm, swish": 3 * 12 * 8 * 8,
        "conv, batch norm, swish, half the size": 3 * 24 * 4 * 4,
        "conv": 48 * 2 * 2,
        "pool": 48,
        "dropout": 48,
        "linear": 10,
    }
    parameters = (9 * 12 + 12) + (9 * 12 * 24 + 24) + (9 * 24 * 48 + 48) + (48 * 10 + 10) + 2 * (12 + 24)
    images = 2 * 8 * 8
    expected = 4 * (BATCH * (images + 5 * sum(outputs.values())) + 10 * parameters)
    assert bytes_per_step(task, random_images(task.data)) == expected
