"""Weights from a file into a network: tensors by name, nothing else is read from it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lossmith.errors import ConfigError

_WRAPPERS = ("state_dict", "model")  # under which programs put the weights beside other things


@torch.no_grad()
def load_weights(model: nn.Module, path: str) -> None:
    """Copies the tensors of a file into `model`, each to the parameter or buffer of its name.

    Args:
        model: on the CPU. Where the file's last linear layer is for another number of classes, the model's own stays
            as it was drawn.
        path: of a .safetensors file, or of a .pt or .pth file that holds a state_dict, bare or under 'state_dict' or
            'model'; the latter two are read with weights_only, so nothing in them is executed.

    Raises:
        ConfigError: one line: the file cannot be read, or the first tensor that is missing, unknown, of another shape
            or kind. The model is then unchanged.
    """
    where = f"weights '{path}'"
    tensors, own = _read(Path(path).expanduser(), where), model.state_dict()
    _check_names(tensors, own, where)
    used = tensors.keys() - _head_for_others(model, tensors)
    for name in own:
        if name in used:
            _check_fit(name, tensors[name], own[name], where)
    for name in used:
        own[name].copy_(tensors[name])


def unused_weights(model: nn.Module, path: str) -> str | None:
    """One line for the user where `load_weights` leaves the last layer alone; otherwise None. Same errors."""
    where = f"weights '{path}'"
    tensors = _read(Path(path).expanduser(), where)
    _check_names(tensors, model.state_dict(), where)
    prefix, head = _head(model)
    if head is None or not _head_for_others(model, tensors):
        return None
    classes = tensors[_joined(prefix, "weight")].shape[0]
    return f"{where}: its last layer '{prefix}' is for {classes} classes; one for {head.out_features} is drawn anew"


def _head_for_others(model: nn.Module, tensors: Mapping[str, Tensor]) -> set[str]:
    """The names of the last linear layer's tensors where the file has them for another number of classes."""
    prefix, head = _head(model)
    if head is None:
        return set()
    weight = tensors[_joined(prefix, "weight")]
    if weight.ndim != 2 or weight.shape[1] != head.in_features or weight.shape[0] == head.out_features:
        return set()
    return {_joined(prefix, name) for name in head.state_dict()}


def _head(model: nn.Module) -> tuple[str, nn.Linear | None]:
    """The name of the last linear layer and the layer; '' and None where there is none."""
    found = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return found[-1] if found else ("", None)


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _check_fit(name: str, tensor: Tensor, own: Tensor, where: str) -> None:
    if tensor.shape != own.shape:
        shapes = f"is {_dimensions(tensor)}, the model's is {_dimensions(own)}"
        raise ConfigError(f"{where}: tensor '{name}' {shapes}: another model's file?")
    if tensor.is_floating_point() != own.is_floating_point():
        raise ConfigError(f"{where}: tensor '{name}' holds {tensor.dtype}, the model's {own.dtype}")


def _check_names(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], where: str) -> None:
    for names, problem in (
        ([name for name in own if name not in tensors], "the file has no tensor"),
        ([name for name in tensors if name not in own], "the model has no tensor"),
    ):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise ConfigError(f"{where}: {problem} '{names[0]}'{more}: another model's file?")


def _read(path: Path, where: str) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        content = _read_safetensors(path, where)
    elif path.suffix in {".pt", ".pth"}:
        content = _read_torch(path, where)
    else:
        raise ConfigError(f"{where}: give 'imagenet' or a file whose name ends in .safetensors, .pt or .pth")
    if isinstance(content, Mapping):
        content = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not content:
        raise ConfigError(f"{where}: expected tensors by name, found {type(content).__name__}")
    tensors: dict[str, Tensor] = {}
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ConfigError(f"{where}: expected tensors by name, found {type(tensor).__name__} under {name!r:.80}")
        tensors[name] = tensor
    return tensors


def _read_safetensors(path: Path, where: str) -> dict[str, Tensor]:
    try:
        reader: Any = importlib.import_module("safetensors.torch")
    except ModuleNotFoundError as error:
        problem = "reading it needs the package safetensors: pip install 'lossmith[timm]'"
        raise ConfigError(f"{where}: {problem}") from error
    _check_readable(path, where)
    try:
        return reader.load_file(path)
    except Exception as error:  # SafetensorError, and what damaged lengths and dtypes lead to
        raise ConfigError(f"{where}: not a whole .safetensors file: {_first_line(error)}") from error


def _read_torch(path: Path, where: str) -> Any:
    _check_readable(path, where)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch documents none; a damaged file gives at least five kinds
        reason = f"damaged, or it holds more than tensors, which are all that is read: {_first_line(error)}"
        raise ConfigError(f"{where}: {reason}") from error


def _check_readable(path: Path, where: str) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{where}: cannot read it: {error.strerror or error}") from error


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{lines[0]:.200}" if lines else type(error).__name__


def _dimensions(tensor: Tensor) -> str:
    return "[" + ", ".join(str(size) for size in tensor.shape) + "]"
