"""What `F.cross_entropy` refuses is refused with its own error."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lossmith import loss

Z = torch.randn(4, 5)
Y = torch.tensor([0, 1, 2, 3])
Q = torch.softmax(torch.randn(4, 5), 1)

CASES: dict[str, tuple[Tensor, Tensor, dict[str, Any]]] = {
    "int32 labels": (Z, Y.int(), {}),
    "int16 labels": (Z, Y.short(), {}),
    "bool labels": (Z, Y.bool(), {}),
    "float labels": (Z, Y.float(), {}),
    "label too large": (Z, torch.tensor([0, 1, 2, 9]), {}),
    "label too large, ignored class": (Z, torch.tensor([0, 1, 2, 9]), {"ignore_index": 1}),
    "label too large, uint8": (Z, torch.tensor([0, 1, 2, 9]).byte(), {}),
    "label negative": (Z, torch.tensor([0, 1, 2, -1]), {}),
    "label negative beside an ignored one": (Z, torch.tensor([0, -100, 2, -1]), {}),
    "label too large, smoothed": (Z, torch.tensor([0, 1, 2, 9]), {"label_smoothing": 0.1}),
    "label too large, spatial": (torch.randn(2, 5, 3), torch.tensor([[0, 9, 1], [0, 0, 0]]), {}),
    "label too large, one example": (Z[0], torch.tensor(7), {}),
    "scalar label for a batch": (Z, torch.tensor(1), {}),
    "one label in brackets, smoothed": (Z[0], torch.tensor([1]), {"label_smoothing": 0.1}),
    "several labels for one example": (Z[0], torch.tensor([1, 2]), {}),
    "batch sizes differ": (Z, torch.tensor([1, 2]), {}),
    "labels as a column": (Z, Y[:, None], {}),
    "no dimension": (torch.tensor(1.0), torch.tensor(0), {}),
    "no dimension, probabilities": (torch.tensor(1.0), torch.tensor(1.0), {}),
    "integer logits": (Z.long(), Y, {}),
    "integer logits, probabilities": (Z.long(), Q, {}),
    "complex logits": (Z.to(torch.complex64), Y, {}),
    "spatial shapes differ": (torch.randn(2, 5, 3), torch.zeros(2, 4, dtype=torch.int64), {}),
    "spatial labels flattened": (torch.randn(2, 5, 3), torch.zeros(6, dtype=torch.int64), {}),
    "spatial labels missing": (torch.randn(2, 5, 3), torch.zeros(2, dtype=torch.int64), {}),
    "4d labels of wrong shape": (torch.randn(2, 5, 3, 2), torch.zeros(2, 3, 2, 1, dtype=torch.int64), {}),
    "5d labels of wrong shape": (torch.randn(2, 5, 3, 2, 2), torch.zeros(2, 12, dtype=torch.int64), {}),
    "integer probabilities": (Z, Q.long(), {}),
    "bool probabilities": (Z, Q > 0.5, {}),
    "complex probabilities": (Z, Q.to(torch.complex64), {}),
    "probabilities and an ignored class": (Z, Q, {"ignore_index": 2}),
    "one class, one label": (torch.randn(1), torch.tensor([0]), {}),
    "no classes": (torch.randn(3, 0), torch.zeros(3, dtype=torch.int64), {}),
    "weight too short": (Z, Y, {"weight": torch.rand(3)}),
    "weight too short, probabilities": (Z, Q, {"weight": torch.rand(3)}),
    "weight as a column": (Z, Y, {"weight": torch.rand(5, 1)}),
    "weight float64": (Z, Y, {"weight": torch.rand(5, dtype=torch.float64)}),
    "weight float64, smoothed": (Z, Y, {"weight": torch.rand(5, dtype=torch.float64), "label_smoothing": 0.1}),
}


@pytest.mark.parametrize("name", ["-y * log(yhat)", "cross_entropy", "focal", "nce_mae"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_same_error(case: str, name: str, reduction: str) -> None:
    logits, target, arguments = CASES[case]
    with pytest.raises(Exception) as expected:  # noqa: PT011 - whatever torch raises
        F.cross_entropy(logits, target, reduction=reduction, **arguments)
    with pytest.raises(expected.type) as found:
        loss(name, reduction=reduction, **arguments)(logits, target)
    assert str(found.value) == str(expected.value)


def test_shapes_are_accepted_exactly_where_torch_accepts_them() -> None:
    """Every pair of small shapes, as labels and as probabilities."""
    shapes = [(), (1,), (2,), (3,), (1, 1), (2, 1), (2, 3), (2, 3, 1), (2, 3, 2), (2, 2, 2), (2, 3, 2, 1), (2, 1, 2)]
    module = loss("-y * log(yhat)")
    for logits_shape in shapes:
        for target_shape in shapes:
            for dtype in (torch.int64, torch.float32):
                logits, target = torch.randn(logits_shape), torch.zeros(target_shape, dtype=dtype)
                try:
                    reference = F.cross_entropy(logits, target)
                except (RuntimeError, ValueError, IndexError) as error:
                    with pytest.raises(type(error), match=re.escape(str(error))):
                        module(logits, target)
                else:
                    torch.testing.assert_close(module(logits, target), reference)
