"""The published losses as functions."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

import lossmith
from lossmith import functional as LF  # noqa: N812 - as users write it
from lossmith import loss
from lossmith.errors import LossmithError
from lossmith.functional import call
from lossmith.losses import build
from lossmith.losses.zoo import ZOO

OTHERS: dict[str, dict[str, float]] = {
    "label_smoothing": {"smoothing": 0.3},
    "focal": {"gamma": 0.5},
    "poly1": {"epsilon": -1},
    "taylorglo": {"a0": 1.5, "cy": 0.25},
    "ngl": {"a": 1},
    "sparse_label_smoothing": {"smoothing": 0.25},
    "generalised_cross_entropy": {"q": 0.2},
    "symmetric_cross_entropy": {"alpha": 6.0, "beta": 0.1},
    "nce_rce": {"alpha": 2.0, "beta": 0.5},
    "nce_mae": {"alpha": 2.0, "beta": 0.5},
    "bi_tempered": {"t1": 0.2, "t2": 4.0},
}


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(logits, labels of which one is ignored, soft targets, weights)."""
    generator = torch.Generator().manual_seed(4)
    logits = 2 * torch.randn(5, 3, generator=generator)
    soft = torch.softmax(torch.randn(5, 3, generator=generator), 1)
    return logits, torch.tensor([0, 1, 2, 7, 0]), soft, torch.rand(3, generator=generator) + 0.5


def test_every_loss_has_a_function_of_the_same_parameters() -> None:
    assert set(LF.__all__) == set(ZOO)
    assert lossmith.functional is LF
    common = {"weight": None, "ignore_index": -100, "reduction": "mean", "label_smoothing": 0.0}
    for name, entry in ZOO.items():
        function = getattr(LF, name)
        parameters = list(inspect.signature(function).parameters.values())
        assert [one.name for one in parameters[:2]] == ["logits", "target"]
        assert all(one.kind is one.KEYWORD_ONLY for one in parameters[2:])
        expected = {one.name: one.default for one in entry.parameters} | common
        assert {one.name: one.default for one in parameters[2:]} == expected
        assert "Args:" in (function.__doc__ or "")


@pytest.mark.parametrize("name", ZOO)
def test_equals_the_module_bit_for_bit(name: str) -> None:
    logits, labels, soft, weight = data()
    for parameters in ({}, OTHERS.get(name, {})):
        for arguments in (
            {},
            {"weight": weight},
            {"reduction": "none", "label_smoothing": 0.1},
            {"weight": weight, "reduction": "sum"},
        ):
            for target, more in ((labels, {"ignore_index": 7}), (soft, {})):
                given: dict[str, Any] = {**parameters, **arguments, **more}
                outcomes: list[tuple[Tensor, Tensor]] = []
                for compute in (lambda z, t, g=given: getattr(LF, name)(z, t, **g), loss(name, **given)):
                    leaf = logits.clone().requires_grad_()
                    value = compute(leaf, target)
                    outcomes.append((value.detach(), torch.autograd.grad(value.sum(), leaf)[0]))
                assert torch.equal(outcomes[0][0], outcomes[1][0])
                assert torch.equal(outcomes[0][1], outcomes[1][1])


def test_a_loss_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, _, soft, weight = data()
    made: list[str] = []

    def counted(name: str, **given: Any) -> Any:
        made.append(name)
        return build.loss(name, **given)

    monkeypatch.setattr(call, "loss", counted)
    monkeypatch.setattr(call, "_kept", {})
    for _ in range(5):
        for gamma in (0.5, 1.5):
            LF.focal(logits, soft, gamma=gamma)
            LF.focal(logits, soft, gamma=gamma, weight=weight)
    assert made == ["focal", "focal"]


def test_no_more_than_some_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, _, soft, _ = data()
    monkeypatch.setattr(call, "_kept", kept := {})
    monkeypatch.setattr(call, "_MOST", 3)
    values = [LF.focal(logits, soft, gamma=gamma / 8) for gamma in range(8)]
    assert len(kept) == 3
    assert torch.equal(values[0], LF.focal(logits, soft, gamma=0))


def test_weights_stay_with_their_call() -> None:
    logits, _, soft, weight = data()
    plain = LF.baikal(logits, soft)
    weighted = LF.baikal(logits, soft, weight=weight)
    assert not torch.equal(plain, weighted)
    assert torch.equal(LF.baikal(logits, soft), plain)
    assert torch.equal(LF.baikal(logits, soft, weight=weight), weighted)


@pytest.mark.parametrize(
    ("gamma", "message"),
    [
        (-1, "gamma must be at least 0, found -1"),
        (True, "gamma must be a number, found True"),
        ([1.0], "gamma must be a number, found [1.0]"),
        ("2", "gamma must be a number, found '2'"),
    ],
)
def test_refusals(gamma: Any, message: str) -> None:
    logits, _, soft, _ = data()
    LF.focal(logits, soft, gamma=1)  # kept, and equal to True
    with pytest.raises(LossmithError) as caught:
        LF.focal(logits, soft, gamma=gamma)
    assert str(caught.value) == f"zoo loss 'focal': {message}"
    with pytest.raises(LossmithError, match="did you mean 'mean'"):
        LF.focal(logits, soft, reduction="means")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler warns of its own use of deprecated parts
@pytest.mark.parametrize("name", ["ngl", "bi_tempered"])
def test_compiled(name: str) -> None:
    """Also where the module is not made yet, and with weights."""
    torch.compiler.reset()
    logits, labels, _, weight = data()
    function = getattr(LF, name)
    call._kept.clear()
    for given in ({}, {"weight": weight}):
        compiled = torch.compile(
            lambda z, t, g=given: function(z, t, ignore_index=7, **g), fullgraph=True, backend="aot_eager"
        )
        leaf = logits.clone().requires_grad_()
        value = compiled(leaf, labels)
        expected = function(leaf, labels, ignore_index=7, **given)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(torch.autograd.grad(value, leaf), torch.autograd.grad(expected, leaf))
