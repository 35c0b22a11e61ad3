"""A user's own network, named as 'package.module:function'."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from lossmith.errors import ConfigError
from lossmith.train.dropout import own_dropout
from lossmith.train.models.seeding import seeded

_NAME = r"[A-Za-z_]\w*"
_REFERENCE = re.compile(rf"({_NAME}(?:\.{_NAME})*):({_NAME})")


def custom_model(
    reference: str,
    *,
    in_channels: int,
    num_classes: int,
    generator: torch.Generator,
    dropout_generator: torch.Generator,
) -> nn.Module:
    """The network that the user's function gives, called as `function(in_channels=..., num_classes=...)`.

    The module is looked for on the Python path, then in the working directory. While the function runs, torch's
    global generator is seeded from `generator`, so that the usual initial weights come from the seed. The layers
    nn.Dropout, Dropout1d, 2d and 3d are replaced by ones that draw from `dropout_generator`.

    Raises:
        ConfigError: one line: the name has another form, there is no such module or function, importing or calling it
            raised, or what it gave is not a network that can be trained.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ConfigError(f"model '{reference}': write your own model as 'package.module:function'")
    with _working_directory_importable():
        function = _function(reference, *match.groups())
        with seeded(generator):
            try:
                model = function(in_channels=in_channels, num_classes=num_classes)
            except (Exception, SystemExit) as error:
                call = f"{match[2]}(in_channels={in_channels}, num_classes={num_classes})"
                raise ConfigError(f"model '{reference}': {call} raised {one_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model '{reference}': expected a torch.nn.Module, {match[2]} gave {type(model).__name__}")
    parameters = dict(model.named_parameters())
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise ConfigError(f"model '{reference}': it has no weights to train")
    lazy = next((name for name, parameter in parameters.items() if is_lazy(parameter)), None)
    if lazy is not None:
        raise ConfigError(f"model '{reference}': '{lazy}' has no size yet: use layers that are not lazy")
    try:
        return own_dropout(model, dropout_generator)
    except ValueError as error:
        raise ConfigError(f"model '{reference}': {error}") from error


def one_line(error: BaseException) -> str:
    """The kind and the first line of an error that a user's code raised."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]:.300}" if lines else type(error).__name__


def _function(reference: str, module_name: str, function_name: str) -> Callable[..., Any]:
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):  # missing in the user's module
            raise ConfigError(f"model '{reference}': importing {module_name} raised {one_line(error)}") from error
        where = f"on the Python path or in {Path.cwd()}"
        raise ConfigError(f"model '{reference}': no module '{error.name}' {where}: check its name") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"model '{reference}': importing {module_name} raised {one_line(error)}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        what = "has no" if function is None else "cannot call its"
        raise ConfigError(f"model '{reference}': {module.__file__ or module_name} {what} '{function_name}'")
    return function


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    """The working directory at the end of the path, where it hides nothing that is installed."""
    folder = str(Path.cwd())
    sys.path.append(folder)
    try:
        yield
    finally:
        if folder in sys.path:  # the last one is ours: the user's code may have put the same folder before it
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(folder)]
