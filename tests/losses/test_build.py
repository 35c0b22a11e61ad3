"""`lossmith.loss`: what it takes, what it refuses, which way round."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lossmith import Expression, loss
from lossmith.errors import FormulaError, GraphError, InvalidLossError, LossmithError
from lossmith.losses.zoo import ZOO

LOGITS = torch.randn(5, 3)
TARGET = torch.tensor([0, 1, 2, 0, 1])


def test_orientation() -> None:
    """The sign of a formula is a property of its own curve."""
    plain, negated = loss("-y*log(yhat)"), loss("y*log(yhat)")
    assert (plain.flip, negated.flip) == (False, True)
    assert torch.equal(plain(LOGITS, TARGET), negated(LOGITS, TARGET))
    for mine, theirs in zip(
        plain.curves(torch.tensor([0.2, 0.7])), negated.curves(torch.tensor([0.2, 0.7])), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_explicit_flip_skips_the_check() -> None:
    assert torch.equal(loss("y*log(yhat)", flip=False)(LOGITS, TARGET), -loss("y*log(yhat)")(LOGITS, TARGET))
    assert loss("yhat", flip=True)(LOGITS, TARGET).isclose(torch.tensor(-1.0))


def test_every_form_of_one_loss(tmp_path: Path) -> None:
    expression = Expression.from_text("-y * log(yhat)")
    path = tmp_path / "found.json"
    path.write_text(expression.to_json())
    forms: list[Any] = [expression, path, str(path), f" {path} ", "  -y * ln(yhat) "]
    for form in forms:
        module = loss(form)
        assert module.expression == expression
        assert torch.equal(module(LOGITS, TARGET), loss("-y*log(yhat)")(LOGITS, TARGET))
    assert loss(" baikal ").name == "baikal"


def test_descriptions() -> None:
    module = loss("y * log(yhat)", reduction="sum", label_smoothing=0.1, weight=torch.ones(3), ignore_index=7)
    assert module.name == module.formula == "-(y * log(yhat))"
    assert Expression.from_text(module.formula)
    assert module.to_latex() == r"-\left(y \cdot \ln\left(\hat{y}\right)\right)"
    assert module._repr_latex_() == f"${module.to_latex()}$"
    assert repr(module) == (
        "ExpressionLoss(-(y * log(yhat)), ignore_index=7, reduction='sum', label_smoothing=0.1, weight=[3])"
    )
    focal = loss("focal", gamma=1.5)
    assert (focal.name, focal.flip) == ("focal", False)
    assert repr(focal) == "ExpressionLoss(focal: -y * (1 - yhat)^gamma * log(yhat), gamma = 1.5)"
    assert repr(loss("cross_entropy")) == "CrossEntropyLoss(cross_entropy: -y * log(yhat))"
    for name in ZOO:
        assert loss(name).to_latex() == ZOO[name].latex


@pytest.mark.parametrize(
    ("x", "arguments", "kind", "message"),
    [
        ("bakal", {}, InvalidLossError, "unknown loss 'bakal' (did you mean 'baikal'?); the zoo has cross_entropy, "),
        ("cross-entropy", {}, InvalidLossError, "unknown loss 'cross-entropy' (did you mean 'cross_entropy'?)"),
        ("log(yhat", {}, FormulaError, "formula, character 9: expected ')'"),
        ("", {}, FormulaError, "formula, character 1: "),
        ("yhat", {}, InvalidLossError, "'yhat' is not a loss: the loss does not read y"),
        ("y", {}, InvalidLossError, "'y' is not a loss: the loss does not read yhat"),
        ("square(y - yhat) * 0", {}, InvalidLossError, "' is not a loss: "),
        ("missing.json", {}, GraphError, "missing.json: cannot read the loss: No such file or directory"),
        (Path("missing"), {}, GraphError, "missing: cannot read the loss: No such file or directory"),
        (3, {}, LossmithError, "expected a zoo name, a formula, a path or an Expression, found int"),
        ("baikal", {"flip": True}, LossmithError, "zoo loss 'baikal': a published loss has its orientation"),
        ("-y*log(yhat)", {"gamma": 1}, LossmithError, "unknown argument 'gamma'; only zoo losses take parameters"),
        ("-y*log(yhat)", {"wieght": 1}, LossmithError, "unknown argument 'wieght' (did you mean 'weight'?)"),
        ("baikal", {"reduction": "avg"}, LossmithError, "unknown reduction 'avg'; use none, mean, sum"),
        ("baikal", {"reduction": "means"}, LossmithError, "unknown reduction 'means' (did you mean 'mean'?)"),
        ("baikal", {"reduction": None}, LossmithError, "unknown reduction None"),
        ("baikal", {"label_smoothing": 1.5}, LossmithError, "label_smoothing must be in [0, 1], found 1.5"),
        ("cross_entropy", {"label_smoothing": -0.1}, LossmithError, "label_smoothing must be in [0, 1], found -0.1"),
    ],
)
def test_refusals(x: Any, arguments: dict[str, Any], kind: type[LossmithError], message: str) -> None:
    with pytest.raises(kind) as caught:
        loss(x, **arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_long_formulas_are_cut_in_messages() -> None:
    text = " + ".join(["yhat"] + [f"sin(yhat * {i})" for i in range(2, 40)])
    with pytest.raises(InvalidLossError) as caught:
        loss(text)
    assert len(str(caught.value)) < 200


def test_a_damaged_file_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text(json.dumps({"root": ["nothing", "y"]}))
    with pytest.raises(GraphError, match=r"broken\.json: node 'root': unknown operator 'nothing'"):
        loss(str(path))
