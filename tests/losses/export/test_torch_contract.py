"""The exported PyTorch source keeps Lossmith's contract: shapes, dtypes, autocast, refusals, masked classes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from exports import load
from lossmith import loss
from lossmith.losses.export import export
from lossmith.losses.export.words import names

CLASSES = 5


@pytest.fixture(scope="module", params=["focal", "baikal", "nce_mae", "tanh(exp(1 / yhat)) * y - y * yhat"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """A loss by its name, and its exported module class."""
    module = loss(request.param)
    path = tmp_path_factory.mktemp("exported") / "exported_contract.py"
    path.write_text(export(module, to="torch"))
    return request.param, getattr(load(path), names(module).module)


def targets(shape: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    without = shape[:1] + shape[2:] if len(shape) > 1 else ()
    labels = torch.randint(CLASSES, without, generator=generator)
    axis = 1 if len(shape) > 1 else 0
    return [labels, labels.to(torch.uint8), torch.rand(shape, generator=generator).softmax(axis)]


@pytest.mark.parametrize("shape", [(CLASSES,), (6, CLASSES), (2, CLASSES, 3), (2, CLASSES, 2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_shapes_and_dtypes(pair: tuple[str, Any], shape: tuple[int, ...], dtype: torch.dtype) -> None:
    name, module = pair
    logits = (torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 2).to(dtype)
    weight = torch.tensor([0.5, 1.0, 2.0, 0.0, 1.5], dtype=dtype)
    for target, reduction, smoothing, weighted in itertools.product(
        targets(shape), ("none", "mean", "sum"), (0.0, 0.2), (False, True)
    ):
        arguments: dict[str, Any] = {
            "reduction": reduction,
            "label_smoothing": smoothing,
            "weight": weight if weighted else None,
        }
        mine, theirs = (leaf.requires_grad_() for leaf in (logits.clone(), logits.clone()))
        value, wanted = module(**arguments)(mine, target), loss(name, **arguments)(theirs, target)
        assert (value.dtype, value.shape) == (wanted.dtype, wanted.shape)
        tolerance: dict[str, Any] = (
            {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 2e-2, "atol": 1e-3}
        )
        torch.testing.assert_close(value, wanted, equal_nan=True, **tolerance)
        for leaf, result in ((mine, value), (theirs, wanted)):
            result.nan_to_num().sum().backward()
            assert leaf.grad is not None
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad, **tolerance)


def test_autocast(pair: tuple[str, Any]) -> None:
    name, module = pair
    logits = torch.randn(6, CLASSES).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value, wanted = module()(logits, targets((6, CLASSES))[0]), loss(name)(logits, targets((6, CLASSES))[0])
    assert value.dtype == wanted.dtype == torch.float32
    torch.testing.assert_close(value, wanted)


def test_what_is_ignored_counts_for_nothing(pair: tuple[str, Any]) -> None:
    name, module = pair
    logits = torch.randn(4, CLASSES)
    logits[1] = torch.inf
    logits[3] = torch.nan
    labels = torch.tensor([0, -100, 4, -100])
    for reduction in ("none", "mean", "sum"):
        leaf = logits.clone().requires_grad_()
        value = module(reduction=reduction)(leaf, labels)
        torch.testing.assert_close(value, loss(name, reduction=reduction)(logits, labels))
        value.sum().backward()
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert leaf.grad[[1, 3]].abs().max() == 0
    assert module()(logits, torch.full((4,), -100)).isnan()


def test_a_masked_class_is_no_trouble(pair: tuple[str, Any]) -> None:
    name, module = pair
    logits = torch.randn(4, CLASSES)
    logits[:, 2] = -torch.inf
    leaf, labels = logits.clone().requires_grad_(), torch.tensor([0, 1, 3, 4])
    value = module()(leaf, labels)
    torch.testing.assert_close(value, loss(name)(logits, labels))
    value.backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize(
    ("logits", "target", "arguments", "message"),
    [
        ((4, CLASSES), torch.zeros(3, dtype=torch.long), {}, r"target of shape \(3,\) does not fit logits of \(4, 5\)"),
        ((4, CLASSES), torch.zeros(4), {}, "found torch.float32"),
        ((4, CLASSES), torch.zeros(4, CLASSES, dtype=torch.long), {}, "found torch.int64"),
        ((4, CLASSES), torch.rand(4, CLASSES), {"ignore_index": 2}, "cannot be used with probabilities"),
        ((4, CLASSES), torch.zeros(4, dtype=torch.long), {"reduction": "avg"}, "'none', 'mean' or 'sum', found 'avg'"),
        ((4, CLASSES), torch.tensor([0, 1, 5, 0]), {}, "Class values must be smaller than num_classes"),
        ((4, CLASSES), torch.tensor([0, 1, -1, 0]), {}, "Class values must be non-negative"),
    ],
)
def test_refusals(
    pair: tuple[str, Any], logits: tuple[int, ...], target: Tensor, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, RuntimeError), match=message):
        pair[1](**arguments)(torch.randn(logits), target)


def test_files_travel(pair: tuple[str, Any], tmp_path: Path) -> None:
    """A module saves and loads its weight as any other."""
    module = pair[1](weight=torch.rand(CLASSES))
    torch.save(module.state_dict(), tmp_path / "loss.pt")
    other = pair[1](weight=torch.ones(CLASSES))
    other.load_state_dict(torch.load(tmp_path / "loss.pt", weights_only=True))
    assert torch.equal(other.weight, module.weight)
