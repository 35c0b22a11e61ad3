"""Every argument combination against `F.cross_entropy`: values, gradients, dtypes."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lossmith import loss

LOSSES = ("-y * log(yhat)", "y * log(yhat)", "cross_entropy", "focal0", "poly0")
SHAPES = ((5,), (4, 5), (3, 5, 2), (2, 5, 2, 3), (2, 5, 2, 1, 2), (1, 1), (4, 1), (0, 5), (2, 5, 0))
REDUCTIONS = ("none", "mean", "sum")
TOLERANCES = {
    torch.float64: 1e-12,
    torch.float32: 2e-6,
    torch.float16: 4e-3,
    torch.bfloat16: 3e-2,
}


def build(name: str, **arguments: Any) -> torch.nn.Module:
    if name == "focal0":
        return loss("focal", gamma=0, **arguments)
    if name == "poly0":
        return loss("poly1", epsilon=0, **arguments)
    return loss(name, **arguments)


def indices(shape: tuple[int, ...], ignore_index: int, generator: torch.Generator) -> Tensor:
    dim = 1 if len(shape) > 1 else 0
    target = torch.randint(shape[dim], shape[:dim] + shape[dim + 1 :], generator=generator)
    if ignore_index < 0 and target.numel() > 1:
        target.view(-1)[0] = ignore_index
    return target


def both(module: torch.nn.Module, reference: torch.nn.Module, logits: Tensor, target: Tensor) -> None:
    """Compares values, dtypes, shapes, and gradients with respect to everything that has one."""
    tolerance = TOLERANCES[logits.dtype]
    outcomes = []
    for candidate in (module, reference):
        leaves = [logits.detach().clone().requires_grad_()]
        goal = target
        if target.is_floating_point():
            goal = target.detach().clone().requires_grad_()
            leaves.append(goal)
        value = candidate(leaves[0], goal)
        seed = torch.linspace(0.5, 1.5, max(value.numel(), 1))[: value.numel()].reshape(value.shape).to(value.dtype)
        outcomes.append((value.detach(), *torch.autograd.grad(value, leaves, seed)))
    for ours, theirs in zip(*outcomes, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_cross_entropy(shape: tuple[int, ...], name: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(sum(shape))
    logits = (2 * torch.randn(shape, generator=generator)).to(dtype)
    classes = shape[:2][-1]
    weights = (None, (torch.rand(classes, generator=generator) + 0.5).to(dtype))
    soft = torch.softmax(torch.randn(shape, generator=generator), 1 if len(shape) > 1 else 0).to(dtype)
    for weight, reduction, smoothing in itertools.product(weights, REDUCTIONS, (0.0, 0.1, 1.0)):
        arguments: dict[str, Any] = {"weight": weight, "reduction": reduction, "label_smoothing": smoothing}
        both(build(name, **arguments), torch.nn.CrossEntropyLoss(**arguments), logits, soft)
        for ignore_index in (-100, -1, 0, classes + 3):
            arguments["ignore_index"] = ignore_index
            target = indices(shape, ignore_index, generator)
            if target.shape == logits.shape:
                continue
            both(build(name, **arguments), torch.nn.CrossEntropyLoss(**arguments), logits, target)


@pytest.mark.parametrize("name", LOSSES)
def test_all_labels_ignored(name: str) -> None:
    logits = torch.randn(3, 4)
    for target, reduction, smoothing in itertools.product((-100, 2), REDUCTIONS, (0.0, 0.2)):
        arguments: dict[str, Any] = {"ignore_index": target, "reduction": reduction, "label_smoothing": smoothing}
        labels = torch.full((3,), target)
        value = build(name, **arguments)(logits, labels)
        torch.testing.assert_close(value, torch.nn.CrossEntropyLoss(**arguments)(logits, labels), equal_nan=True)
        assert math.isnan(value) if reduction == "mean" else (value == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_uint8_labels_and_one_label_in_brackets(name: str) -> None:
    logits = torch.randn(4, 5)
    both(build(name), torch.nn.CrossEntropyLoss(), logits, torch.tensor([0, 4, 2, 2], dtype=torch.uint8))
    weighted: dict[str, Any] = {"weight": torch.rand(5), "ignore_index": 2}
    both(build(name, **weighted), torch.nn.CrossEntropyLoss(**weighted), logits, torch.tensor([0, 4, 2, 2]).byte())
    many = torch.tensor([156, 3, 3, 5], dtype=torch.uint8)  # 156 is -100 modulo 256, and no ignored label
    both(build(name, ignore_index=3), torch.nn.CrossEntropyLoss(ignore_index=3), torch.randn(4, 200), many)
    both(build(name), torch.nn.CrossEntropyLoss(), torch.randn(4, 200), many)
    one = torch.tensor([3])  # values only: torch's own backward fails on this shape
    torch.testing.assert_close(build(name)(logits[0], one), F.cross_entropy(logits[0], one))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16], ids=str)
def test_dtype_of_the_result(name: str, autocast: torch.dtype | None) -> None:
    dtypes = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    logits, soft, weight = torch.randn(4, 5), torch.softmax(torch.randn(4, 5), 1), torch.rand(5)
    with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
        for a, b, c in itertools.product(dtypes, dtypes, (None, *dtypes, torch.int64)):
            arguments: dict[str, Any] = {"weight": None if c is None else weight.to(c)}
            value = build(name, **arguments)(logits.to(a), soft.to(b))
            reference = torch.nn.CrossEntropyLoss(**arguments)(logits.to(a), soft.to(b))
            assert value.dtype == reference.dtype
            torch.testing.assert_close(value, reference, rtol=3e-2, atol=3e-2)
        for a, c in itertools.product(dtypes, (None, *dtypes)):
            arguments = {"weight": None if c is None else weight.to(c)}
            target = torch.tensor([0, 1, 2, 3])
            inputs = logits.to(a), target
            ours, theirs = build(name, **arguments), torch.nn.CrossEntropyLoss(**arguments)
            same_outcome(functools.partial(ours, *inputs), functools.partial(theirs, *inputs))


def same_outcome(ours: Callable[[], Tensor], theirs: Callable[[], Tensor]) -> None:
    """Equal values of equal dtype, or equal errors."""
    failure: RuntimeError | None = None
    try:
        reference = theirs()
    except RuntimeError as error:
        failure, reference = error, torch.tensor(0)
    if failure is not None:
        with pytest.raises(RuntimeError, match=re.escape(str(failure))):
            ours()
        return
    value = ours()
    assert value.dtype == reference.dtype
    torch.testing.assert_close(value, reference, rtol=3e-2, atol=3e-2)


def test_halves_are_computed_in_float32() -> None:
    logits = (8 * torch.randn(64, 10)).bfloat16()
    target = torch.randint(10, (64,))
    for name in ("-y * log(yhat)", "focal", "baikal", "poly1"):
        wide = loss(name)(logits.float(), target)
        assert loss(name)(logits, target) == wide.bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            assert loss(name)(logits, target) == wide


def test_formula_of_smoothing_and_weights() -> None:
    """The semantics that cross-entropy cannot show, on a loss that is not linear in y: baikal."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    target = torch.tensor([0, 1, 2, 3, 1, -100])
    weight = torch.rand(4, generator=generator, dtype=torch.float64)
    p = torch.softmax(logits, 1)
    y = 0.8 * F.one_hot(target.clamp(min=0), 4) + 0.2 / 4
    each = (weight * (y / (p + 1e-7) - torch.log(p + 1e-7))).sum(1) * (target >= 0)
    arguments: dict[str, Any] = {"weight": weight, "label_smoothing": 0.2}
    torch.testing.assert_close(loss("baikal", reduction="none", **arguments)(logits, target), each)
    torch.testing.assert_close(loss("baikal", reduction="sum", **arguments)(logits, target), each.sum())
    mean = each.sum() / weight[target[:5]].sum()
    torch.testing.assert_close(loss("baikal", **arguments)(logits, target), mean)
    torch.testing.assert_close(loss("baikal", **arguments)(logits[:5], target[:5]), mean)
    soft = torch.softmax(torch.randn(6, 4, generator=generator, dtype=torch.float64), 1)
    mixed = 0.8 * soft + 0.2 / 4
    expected = (weight * (mixed / (p + 1e-7) - torch.log(p + 1e-7))).sum() / 6
    torch.testing.assert_close(loss("baikal", **arguments)(logits, soft), expected)


@pytest.mark.parametrize("name", ["-y * log(yhat)", "baikal", "focal", "1 / (yhat - y)"])
def test_ignored_examples_cannot_spoil_the_rest(name: str) -> None:
    """An ignored row at a pole of the loss: the others' values and gradients are as without it."""
    flip = False if "/" in name else None
    logits = torch.tensor([[0.3, -0.2, 0.1], [1e4, 0.0, -1e4], [0.0, 0.5, -0.5]], requires_grad=True)
    module = loss(name, flip=flip)
    value = module(logits, torch.tensor([0, -100, 2]))
    (gradient,) = torch.autograd.grad(value, logits)
    kept = logits.detach()[[0, 2]].requires_grad_()
    reference = module(kept, torch.tensor([0, 2]))
    torch.testing.assert_close(value, reference)
    torch.testing.assert_close(gradient[[0, 2]], torch.autograd.grad(reference, kept)[0])
    assert (gradient[1] == 0).all()


@pytest.mark.parametrize("name", ["-y * log(yhat)", "focal", "poly1", "cross_entropy"])
def test_classes_masked_by_minus_infinity(name: str) -> None:
    """As in F.cross_entropy: a masked class that is not the target takes no part."""
    logits = torch.tensor([[1.0, 2.0, -torch.inf], [0.5, -torch.inf, 0.0]], requires_grad=True)
    shown = logits.detach().clone()
    target = torch.tensor([0, 2])
    value = loss(name, gamma=0.0)(logits, target) if name == "focal" else loss(name)(logits, target)
    value.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    if name != "poly1":
        torch.testing.assert_close(value, torch.nn.functional.cross_entropy(shown, target))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_losses_of_the_whole_example(shape: tuple[int, ...]) -> None:
    """Bi-tempered with t1 = t2 = 1 is cross-entropy less the entropy of the target, whatever the contract's arguments.

    Class weights weigh the example: as in cross-entropy where the label is hard, by sum(y * weight) else.
    """
    dim = 1 if len(shape) > 1 else 0
    generator = torch.Generator().manual_seed(sum(shape))
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    soft = torch.softmax(torch.randn(shape, generator=generator, dtype=torch.float64), dim)
    weight = torch.rand(shape[dim], generator=generator, dtype=torch.float64) + 0.5

    def ours(target: Tensor, **arguments: Any) -> Tensor:
        return loss("bi_tempered", t1=1, t2=1, **arguments)(logits, target)

    for reduction, ignore_index in itertools.product(REDUCTIONS, (-100, -1, 0)):
        arguments: dict[str, Any] = {"reduction": reduction, "ignore_index": ignore_index}
        target = indices(shape, ignore_index, generator)
        if target.shape == logits.shape:
            continue
        for given in (arguments, {**arguments, "weight": weight}):
            torch.testing.assert_close(
                ours(target, **given), F.cross_entropy(logits, target, **given), equal_nan=True, rtol=1e-9, atol=1e-12
            )
    for smoothing in (0.0, 0.1, 1.0):
        y = (1 - smoothing) * soft + smoothing / shape[dim]
        each = F.cross_entropy(logits, soft, reduction="none", label_smoothing=smoothing)
        each = each - torch.special.entr(y).sum(dim)
        arguments = {"reduction": "none", "label_smoothing": smoothing}
        torch.testing.assert_close(ours(soft, **arguments), each, rtol=1e-9, atol=1e-12)
        along = [-1 if axis == dim else 1 for axis in range(len(shape))]
        weighted = each * (y * weight.view(along)).sum(dim)
        torch.testing.assert_close(ours(soft, weight=weight, **arguments), weighted, rtol=1e-9, atol=1e-12)
        mean = ours(soft, weight=weight, label_smoothing=smoothing)
        torch.testing.assert_close(mean, weighted.sum() / each.numel(), equal_nan=True, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["normalised_cross_entropy", "nce_rce", "nce_mae", "bi_tempered"])
def test_masked_classes_and_ignored_labels_of_the_whole_example(name: str) -> None:
    """A class masked by -inf takes no part: the loss is that of the others. An ignored row has no value nor slope."""
    full = torch.tensor([[1.0, 2.0, -torch.inf], [torch.nan, 0.0, 1.0], [0.5, -torch.inf, 0.0]], requires_grad=True)
    labels = torch.tensor([0, -100, 2])
    value = loss(name, reduction="none")(full, labels)
    (gradient,) = torch.autograd.grad(value.sum(), full)
    few = torch.tensor([[1.0, 2.0], [0.5, 0.0]], requires_grad=True)
    expected = loss(name, reduction="none")(few, torch.tensor([0, 1]))
    (expected_gradient,) = torch.autograd.grad(expected.sum(), few)
    torch.testing.assert_close(value[[0, 2]], expected)
    assert value[1] == 0
    torch.testing.assert_close(gradient[0, :2], expected_gradient[0])
    torch.testing.assert_close(gradient[2, ::2], expected_gradient[1])
    assert (gradient[1] == 0).all()
    assert gradient[0, 2] == gradient[2, 1] == 0
