"""Asks of a model, before a run, what would otherwise fail in the middle of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lossmith.errors import ConfigError
from lossmith.train.dropout import ChannelDropout, Dropout
from lossmith.train.models.build import IMAGENET, build_model
from lossmith.train.models.custom import one_line
from lossmith.train.models.weights import unused_weights


def try_model(
    name: str,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    dropout: float | None = None,
    weights: str | None = None,
) -> tuple[str, ...]:
    """Builds the model of a task as a training will, on the CPU, and checks it on a batch of two images.

    Args:
        name: as for `build_model`, and so are the arguments that follow the shape.
        image_shape: channels, height and width as the network will see them, after the task's resizing.
        num_classes: how many logits it must give.
        dropout: of the task, or of one of its stages.
        weights: of the task.

    Returns:
        Lines that a user should read, for instance that the last layer of a file of weights does not fit. Often none.

    Raises:
        ConfigError: one line with the first problem.
    """

    def build() -> nn.Module:
        return build_model(
            name,
            in_channels=image_shape[0],
            num_classes=num_classes,
            generator=torch.Generator().manual_seed(0),
            dropout_generator=torch.Generator().manual_seed(0),
            dropout=dropout,
            weights=weights,
        )

    model = build()
    if ":" in name:
        again = build().state_dict()
        for key, value in model.state_dict().items():
            if not torch.equal(value, again[key]) and not value.isnan().any():
                problem = f"'{key}' differs between two networks made with one seed"
                raise ConfigError(f"model '{name}': {problem}: draw weights from torch's generators only")
    notes = check_model(model, image_shape, num_classes, name=name)
    if weights is None or weights == IMAGENET:
        return notes
    note = unused_weights(model, weights)
    return notes if note is None else (*notes, note)


def check_model(model: nn.Module, image_shape: tuple[int, int, int], num_classes: int, *, name: str) -> tuple[str, ...]:
    """Checks on a batch of two random images that a network on the CPU can be trained as the engine trains.

    It must give logits, float32 [2, num_classes], in training and in evaluation, and a gradient must reach its weights.
    The model is left as it was.

    Args:
        model: the network.
        image_shape: channels, height and width.
        num_classes: how many logits it must give.
        name: of the model, for the messages.

    Returns:
        A line where it draws from torch's global generator in training; often none.

    Raises:
        ConfigError: one line with the first problem.
    """
    images_BCHW = torch.rand(2, *image_shape, generator=torch.Generator().manual_seed(0))
    with _left_as_it_was(model), torch.random.fork_rng(devices=[]):
        model.eval()
        with torch.no_grad():
            _check_logits(model, images_BCHW, num_classes, name)
        model.train()
        before = torch.random.get_rng_state()
        logits_BK = _check_logits(model, images_BCHW, num_classes, name)
        draws = not torch.equal(torch.random.get_rng_state(), before)
        weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(logits_BK.sum(), weights, allow_unused=True) if logits_BK.requires_grad else ()
        if all(gradient is None for gradient in gradients):
            raise ConfigError(f"model '{name}': no gradient reaches its weights: is something in it detached?")
    if not draws:
        return ()
    what = "draws from torch's global generator in training, so candidates trained together would share its draws"
    return (f"model '{name}' {what}: layers such as nn.Dropout get their own",)


def _check_logits(model: nn.Module, images_BCHW: Tensor, num_classes: int, name: str) -> Tensor:
    shape = list(images_BCHW.shape)
    mode = "training" if model.training else "evaluation"
    try:
        logits_BK = model(images_BCHW)
    except Exception as error:  # the model is a user's: it may raise anything
        raise ConfigError(f"model '{name}': on images {shape} in {mode} it raised {one_line(error)}") from error
    expected = [len(images_BCHW), num_classes]
    if not isinstance(logits_BK, Tensor):
        found = type(logits_BK).__name__
    elif list(logits_BK.shape) != expected or logits_BK.dtype != torch.float32:
        found = f"{str(logits_BK.dtype).removeprefix('torch.')} {list(logits_BK.shape)}"
    else:
        return logits_BK
    problem = f"on images {shape} in {mode} it gave {found}"
    raise ConfigError(f"model '{name}': {problem}, not logits, float32 {expected}: images, classes")


@contextmanager
def _left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Afterwards the modes, the buffers (running statistics) and the dropout generators are what they were."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    generators = {module.generator for module in model.modules() if isinstance(module, Dropout | ChannelDropout)}
    states = [(generator, generator.get_state()) for generator in generators]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for buffer, value in buffers:
            buffer.copy_(value)
        for generator, state in states:
            generator.set_state(state)
