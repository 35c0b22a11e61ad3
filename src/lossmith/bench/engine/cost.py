"""What one step of one candidate costs, counted: arithmetic, and traffic of memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from lossmith.bench.engine.data import timed
from lossmith.train.batches import Seeds
from lossmith.train.data import Dataset
from lossmith.train.inputs import largest_size
from lossmith.train.single import new_model
from lossmith.train.task import TaskConfig

_CPU = torch.device("cpu")
# A layer's output is written and read by the next one; on the way back it is read again, and its gradient is written
# and read.
_PASSES = 5
# A parameter is read forwards and backwards, and its gradient written; Adam reads it, its gradient and two means, and
# writes all but the gradient.
_PARAMETER_PASSES = 10


def flops_per_step(task: TaskConfig, dataset: Dataset) -> int:
    """Floating-point operations of forward and backward of one batch, two for each multiply-add.

    Convolutions and matrix products alone, as `torch.utils.flop_counter` counts them; the gradient with respect to the
    images is not computed and not counted.
    """
    model, images_BCHW, labels_B = _network(task, dataset)
    with FlopCounterMode(display=False) as counter:
        functional.cross_entropy(model(images_BCHW), labels_B).backward()
    return counter.get_total_flops()


def bytes_per_step(task: TaskConfig, dataset: Dataset) -> int:
    """An estimate of the bytes that one step moves in float32 if every layer works by itself and no cache helps.

    The outputs of all layers, seen by forward hooks: written and read forwards, read backwards, their gradients written
    and read. Then the parameters, their gradients and the optimizer's means. What a network does outside of layers is
    not seen. Networks that fit in a cache move less between it and the memory.
    """
    model, images_BCHW, _ = _network(task, dataset)
    moved = 2 * images_BCHW.nbytes  # written as they are scaled, and read

    def count(layer: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal moved
        if not isinstance(output, Tensor) or any(isinstance(x, Tensor) and _same_memory(x, output) for x in inputs):
            return  # a layer that changes the shape alone moves nothing
        moved += _PASSES * output.nbytes

    hooks = [layer.register_forward_hook(count) for layer in model.modules() if not list(layer.children())]
    model(images_BCHW)
    for hook in hooks:
        hook.remove()
    return moved + _PARAMETER_PASSES * sum(parameter.nbytes for parameter in model.parameters())


def _network(task: TaskConfig, dataset: Dataset) -> tuple[nn.Module, Tensor, Tensor]:
    first = timed(task)
    channels, _, _ = dataset.image_shape
    height, width = largest_size(first, dataset.image_shape)
    images_BCHW = torch.rand(first.batch_size, channels, height, width, generator=torch.Generator().manual_seed(0))
    return new_model(first, dataset, Seeds.of(0), _CPU), images_BCHW, torch.zeros(first.batch_size, dtype=torch.int64)


def _same_memory(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
