"""The published losses: formulas, optima, parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lossmith import loss
from lossmith.errors import LossmithError
from lossmith.losses.zoo import ZOO

# K = 2, 10, 100, 1000: the probability at which the loss is least, other classes sharing the rest evenly
OPTIMA = {
    "cross_entropy": (1.0, 1.0, 1.0, 1.0),
    "label_smoothing": (0.95, 0.91, 0.90, 0.90),
    "baikal": (0.71, 0.32, 0.10, 0.03),
}
CLASSES = (2, 10, 100, 1000)


def data() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(11)
    logits = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    return logits, torch.softmax(logits, 1), torch.tensor([0, 1, 2, 3, 0, 1])


def optimum(name: str, classes: int) -> float:
    p = torch.linspace(1e-6, 1 - 1e-9, 100_001, dtype=torch.float64)
    module = loss(name)
    at_target, _ = module.curves(p, classes=classes)
    _, elsewhere = module.curves((1 - p) / (classes - 1), classes=classes)
    return p[(at_target + (classes - 1) * elsewhere).argmin()].item()


@pytest.mark.parametrize("name", OPTIMA)
def test_optima(name: str) -> None:
    assert [round(optimum(name, classes), 2) for classes in CLASSES] == list(OPTIMA[name])


def test_formulas_for_hard_labels() -> None:
    logits, p, target = data()
    p_t = p.gather(1, target[:, None])[:, 0]
    expected = {
        "cross_entropy": -p_t.log(),
        "label_smoothing": -0.9 * p_t.log() - 0.1 * p.log().mean(1),
        "focal": -((1 - p_t) ** 2) * p_t.log(),
        "poly1": -p_t.log() + 2 * (1 - p_t),
        "baikal": 1 / (p_t + 1e-7) - torch.log(p + 1e-7).sum(1),
    }
    assert set(expected) == set(ZOO)
    for name, value in expected.items():
        torch.testing.assert_close(loss(name, reduction="none")(logits, target), value)


@pytest.mark.parametrize("name", ZOO)
def test_module_curve_function_and_expression_agree(name: str) -> None:
    entry = ZOO[name]
    logits, p, _ = data()
    y = torch.softmax(logits.flip(0), 1)
    parameters = entry.settle({})
    extra = {"classes": 4} if name == "label_smoothing" else {}
    direct = entry.function(y, torch.log_softmax(logits, 1), **parameters, **extra).sum(1)
    module = loss(name, reduction="none")
    torch.testing.assert_close(module(logits, y), direct)
    if module.expression is not None:
        torch.testing.assert_close(module.expression.evaluate(y, p, torch.log_softmax(logits, 1)).sum(1), direct)
    at_target, elsewhere = module.curves(p, classes=4)
    one, zero = torch.ones_like(p), torch.zeros_like(p)
    torch.testing.assert_close(at_target, entry.function(one, p.log(), **parameters, **extra))
    torch.testing.assert_close(elsewhere, entry.function(zero, p.log(), **parameters, **extra))


@pytest.mark.parametrize("name", [*ZOO, "-y * log(yhat)", "y * log(yhat)"])
def test_curves_make_up_the_loss(name: str) -> None:
    """For hard labels the loss is f1 at the target and f0 elsewhere, smoothed labels included."""
    logits, p, target = data()
    for smoothing in (0.0, 0.3):
        module = loss(name, reduction="none", label_smoothing=smoothing)
        at_target, elsewhere = module.curves(p, classes=4)
        hit = torch.nn.functional.one_hot(target, 4).bool()
        torch.testing.assert_close(module(logits, target), torch.where(hit, at_target, elsewhere).sum(1))


def test_curves_refuse_what_they_cannot_draw() -> None:
    module = loss("focal")
    with pytest.raises(LossmithError, match="float32 or float64"):
        module.curves(torch.tensor([0, 1]))
    with pytest.raises(LossmithError, match="at least 2 classes, found 1"):
        module.curves(torch.tensor([0.5]), classes=1)


def test_smoothing_twice_is_one_smoothing() -> None:
    logits, _, target = data()
    twice = loss("label_smoothing", smoothing=0.2, label_smoothing=0.1)(logits, target)
    torch.testing.assert_close(twice, loss("cross_entropy", label_smoothing=0.28)(logits, target))


def test_cross_entropy_is_torchs_own() -> None:
    logits, _, target = data()
    logits = logits.float()
    assert torch.equal(loss("cross_entropy")(logits, target), torch.nn.functional.cross_entropy(logits, target))


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("focal", {"gama": 2}, "zoo loss 'focal': unknown parameter 'gama' (did you mean 'gamma'?); it takes gamma"),
        ("baikal", {"gamma": 2}, "zoo loss 'baikal': unknown parameter 'gamma'; it takes none"),
        ("focal", {"gamma": -0.1}, "zoo loss 'focal': gamma must be at least 0, found -0.1"),
        ("focal", {"gamma": float("nan")}, "zoo loss 'focal': gamma must be at least 0, found nan"),
        ("focal", {"gamma": float("inf")}, "zoo loss 'focal': gamma must be at least 0, found inf"),
        ("focal", {"gamma": "2"}, "zoo loss 'focal': gamma must be a number, found '2'"),
        ("focal", {"gamma": True}, "zoo loss 'focal': gamma must be a number, found True"),
        ("poly1", {"epsilon": -1.5}, "zoo loss 'poly1': epsilon must be at least -1, found -1.5"),
        ("label_smoothing", {"smoothing": 1}, "zoo loss 'label_smoothing': smoothing must be [0, 1), found 1"),
    ],
)
def test_parameters_are_checked(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(LossmithError) as caught:
        loss(name, **parameters)
    assert str(caught.value) == message


@pytest.mark.parametrize("epsilon", [-1.0, -0.5, 0.0, 1e-9, 3.25])
def test_poly1_takes_any_epsilon(epsilon: float) -> None:
    logits, p, target = data()
    p_t = p.gather(1, target[:, None])[:, 0]
    expected = (-p_t.log() + epsilon * (1 - p_t)).mean()
    torch.testing.assert_close(loss("poly1", epsilon=epsilon)(logits, target), expected)


def test_what_the_command_prints() -> None:
    for name, entry in ZOO.items():
        assert entry.name == name
        assert entry.formula
        assert entry.latex
        assert entry.reference
        for parameter in entry.parameters:
            assert parameter.low <= parameter.default < parameter.high
            assert parameter.range_text
            assert parameter.name in entry.formula
