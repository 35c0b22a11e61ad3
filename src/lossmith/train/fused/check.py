"""Whether a user's network computes for each slot what it computes by itself.

Slots are channels to the modules that are not replaced. That is right for functions of each channel or each number,
and wrong, without any error, for a forward pass that joins tensors along the channels, reads a fixed number of them, or
draws from torch's global generator. So networks with different weights are compared, alone and fused.

Legend: K slots, B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from lossmith.train.batches import Seeds, generator
from lossmith.train.data import Dataset
from lossmith.train.fused.network import REMEDY, FusedNetwork, FusionError, described
from lossmith.train.inputs import smallest_size
from lossmith.train.models.custom import one_line
from lossmith.train.randomness import kept
from lossmith.train.single import new_model
from lossmith.train.task import TaskConfig

_SLOTS = 3
_BATCH = 4
_NOISE = 0.05  # added to the weights, so that none are alike, or 0
_TOLERANCE = 1e-6  # of the largest number; errors of float64 are smaller, mistakes larger
_ADVICE = f"{REMEDY}, or let it treat every channel alike"


@dataclass(frozen=True, slots=True)
class _Event:
    """A module was given something, or gave something."""

    path: str
    caller: str  # the module whose forward pass called it
    entered: bool
    tensors: tuple[Tensor, ...]
    randomness: tuple[Tensor, ...]  # the state of torch's global generators


def check_fused(task: TaskConfig, dataset: Dataset, device: torch.device) -> None:
    """Compare the task's network, fused, with the same networks alone: one training step in float64 on random images.

    Args:
        task: its model is checked.
        dataset: tells the shape of the images and the number of classes.
        device: where it will be trained.

    Raises:
        FusionError: a layer cannot be fused, or the logits, the gradients or the statistics differ. The message names
            the innermost module from which on they do.
    """
    template = _network(task, dataset, 0, device)
    kinds = {path: described(path, module) for path, module in template.named_modules()}
    fused = FusedNetwork(template, _SLOTS, num_classes=dataset.num_classes, device=device, dtype=torch.float64)
    source = torch.Generator().manual_seed(0)
    height, width = smallest_size(task, dataset.image_shape)
    shape = (_SLOTS, _BATCH, dataset.image_shape[0], height, width)
    images_KBCHW = torch.rand(shape, generator=source, dtype=torch.float64).to(device)
    on_logits = torch.randn(_SLOTS, _BATCH, dataset.num_classes, generator=source, dtype=torch.float64).to(device)

    with kept(device):
        alone = [_network(task, dataset, seed, device) for seed in range(_SLOTS)]
        for slot, model in enumerate(alone):
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn(parameter.shape, generator=source).to(parameter), alpha=_NOISE)
            fused.load(slot, model.state_dict(), generator(Seeds.of(slot).dropout, device))
        fused.activate(_SLOTS)
        events: list[_Event] = []
        logits_KBC, error = None, None
        with _recorded(fused.module, events, device):
            try:
                logits_KBC = fused.forward(images_KBCHW.transpose(0, 1).flatten(1, 2))
            except Exception as raised:  # a user's forward pass may raise anything where it meets other shapes
                error = raised
        if drawn := _drawn(events):
            what = "draws from torch's global generator, which all losses in training share"
            raise FusionError(f"{kinds[drawn]} {what}: {REMEDY}, or use a layer such as nn.Dropout")
        expected: list[list[_Event]] = []
        outputs: list[Tensor] = []
        for model, images_BCHW in zip(alone, images_KBCHW, strict=True):
            expected.append([])
            with _recorded(model, expected[-1], device):
                try:
                    outputs.append(model(images_BCHW.contiguous(memory_format=torch.channels_last)))
                except Exception as raised:  # of any kind, likewise; here in float64
                    what = f"cannot be compared with itself in float64, {one_line(raised)}"
                    raise FusionError(f"{kinds['']} {what}: {REMEDY}") from raised

    if logits_KBC is None or not _alike(logits_KBC.detach(), torch.stack(outputs).detach()):
        where = kinds[_first_difference(events, expected)]
        what, why = ("does not work", f" ({one_line(error)})") if error else ("computes something else", "")
        raise FusionError(f"{where} {what} where losses are trained as one network{why}: {_ADVICE}")
    gradients = fused.gradients(fused.gradient(logits_KBC, on_logits))
    for output, on_output in zip(outputs, on_logits, strict=True):
        output.backward(on_output)
    path = _wrong_gradient(gradients, alone) or _wrong_state(fused, alone)
    if path is not None:
        where = kinds[path.rpartition(".")[0]]
        raise FusionError(f"{where} is trained otherwise where losses are trained as one network: {_ADVICE}")


def _network(task: TaskConfig, dataset: Dataset, seed: int, device: torch.device) -> nn.Module:
    return new_model(task, dataset, Seeds.of(seed), device).to(device=device, dtype=torch.float64)


@contextmanager
def _recorded(model: nn.Module, events: list[_Event], device: torch.device) -> Iterator[None]:
    """Inside, what the modules of `model` are given and give is appended to `events`."""
    stack = [""]

    def note(path: str, tensors: object, *, entered: bool) -> None:
        both = tensors if isinstance(tensors, tuple) else (tensors,)
        found = tuple(tensor.detach().clone() for tensor in both if isinstance(tensor, Tensor))
        states = [torch.random.get_rng_state()]
        if device.type == "cuda":
            states.append(torch.cuda.get_rng_state(device))
        events.append(_Event(path, stack[-1], entered, found, tuple(states)))

    def before(path: str) -> Any:
        def hook(module: nn.Module, arguments: object) -> None:
            note(path, arguments, entered=True)
            stack.append(path)

        return hook

    def after(path: str) -> Any:
        def hook(module: nn.Module, arguments: object, output: object) -> None:
            stack.pop()
            note(path, output, entered=False)

        return hook

    handles: list[Any] = []
    for path, module in model.named_modules():
        handles += [module.register_forward_pre_hook(before(path)), module.register_forward_hook(after(path))]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _drawn(events: list[_Event]) -> str | None:
    """The module in whose forward pass torch's global generators were first moved."""
    for earlier, later in pairwise(events):
        if not all(map(torch.equal, earlier.randomness, later.randomness)):
            return later.caller if later.entered else later.path
    return None


def _first_difference(events: list[_Event], alone: list[list[_Event]]) -> str:
    """The innermost module in whose forward pass the fused network first differs from those alone."""
    active = [""]  # modules that are entered and not left
    for fused, *single in zip_longest(events, *alone):
        if fused is None:  # it raised
            break
        if any(event is None or (event.path, event.entered) != (fused.path, fused.entered) for event in single):
            return fused.caller
        parts = zip(fused.tensors, *(event.tensors for event in single), strict=False)
        if not all(_side_by_side(whole, pieces) for whole, *pieces in parts):
            return fused.caller if fused.entered else fused.path
        if fused.entered:
            active.append(fused.path)
        else:
            active.pop()
    return active[-1]


def _side_by_side(whole: Tensor, pieces: list[Tensor]) -> bool:
    """Whether [B, K * C, ...] is K times [B, C, ...]."""
    if whole.dim() < 2 or any(piece.dim() != whole.dim() for piece in pieces):
        return False
    both = torch.cat(pieces, 1)
    return both.shape == whole.shape and _alike(whole, both)


def _alike(found: Tensor, expected: Tensor) -> bool:
    return found.shape == expected.shape and _close(found, expected, float(expected.detach().abs().max()))


def _close(found: Tensor, expected: Tensor, scale: float) -> bool:
    return bool(((found - expected).abs() <= _TOLERANCE * scale).all())


def _wrong_gradient(gradients: dict[str, Tensor], alone: list[nn.Module]) -> str | None:
    """The parameter whose gradient differs most clearly, judged by the largest gradient in the network."""
    found = [{name: value.grad for name, value in model.named_parameters()} for model in alone]
    scales = [max((float(grad.abs().max()) for grad in own.values() if grad is not None), default=0.0) for own in found]
    for path, gradient in gradients.items():
        for slot, own in enumerate(found):
            expected = own[path]
            if not _close(gradient[slot], torch.zeros(()).to(gradient) if expected is None else expected, scales[slot]):
                return path
    return None


def _wrong_state(fused: FusedNetwork, alone: list[nn.Module]) -> str | None:
    """The statistic that differs after the step."""
    for slot, model in enumerate(alone):
        expected = model.state_dict()
        for path, value in fused.state(slot).items():
            if value.numel() and not _alike(value, expected[path]):
                return path
    return None
