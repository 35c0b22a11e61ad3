"""How a function finds its module: made once for given parameters, and kept."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from lossmith.losses.build import loss
from lossmith.losses.module import Loss

_MOST = 256  # modules that are kept, of a few kilobytes each
_kept: dict[tuple[Any, ...], Loss] = {}


def call(
    name: str,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    parameters: dict[str, float] | None = None,
) -> Tensor:
    """The zoo loss `name` of a batch."""
    given = {"ignore_index": ignore_index, "reduction": reduction, "label_smoothing": label_smoothing}
    if parameters:
        given.update(parameters)
    weighted = weight is not None and torch.compiler.is_compiling()
    # the types, since True and 1 are equal, and a parameter of True is refused
    key = (name, weighted, *given.values(), *map(type, given.values()))
    try:
        hash(key)
    except TypeError:  # a parameter such as a list: no number, and refused as that
        return loss(name, **given)(logits, target)
    _prepare(key, name, given, weighted)
    module = _kept.get(key) or loss(name, **given)  # another thread may have dropped it
    if weight is None:
        return module(logits, target)
    if weighted:
        return torch.func.functional_call(module, {"weight": weight}, (logits, target))
    shared = copy.copy(module)  # functional_call would change the module for other threads, too
    shared.__dict__["_buffers"] = {**module.__dict__["_buffers"], "weight": weight}
    return shared(logits, target)


def _prepare(key: tuple[Any, ...], name: str, given: dict[str, Any], weighted: bool) -> None:
    """Puts the module under `key`, if it is not there; with a weight to be replaced, if `weighted`."""
    if key in _kept:
        return
    made = loss(name, **given, weight=torch.ones(1) if weighted else None)
    if len(_kept) >= _MOST:
        _kept.pop(next(iter(_kept)))
    _kept[key] = made


# What `torch.compiler.assume_constant_result` sets, which would import the compiler: a module that is missing is made
# while a function is compiled, instead of tracing how it is made.
_prepare._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]
