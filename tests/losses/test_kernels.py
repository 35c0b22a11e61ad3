"""`label_sum` against `class_sum`, long batches in pieces, saturation, and what transforms and modes do to them."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from helpers import accepted_expressions
from lossmith import loss
from lossmith.losses import gradients, kernels
from lossmith.losses.kernels import class_sum, label_sum, one_hot, program
from lossmith.space.expression import Expression

WRITTEN = (
    "-y * log(yhat)",
    "yhat",
    "y * yhat",
    "(1 - y) * yhat",
    "y + 3",
    "y - 2 * log(yhat)",
    "-y * log(1 - yhat) - (1 - y) * log(yhat)",
    "y * log(1 - yhat)",
    "-y * log(yhat) - (1 - y) * log(1 - yhat)",
    "y / (yhat + 0.1) + 2",
    "square(yhat - y)",
    "y * tanh(-exp(-log(yhat)))",
    "y * exp(2 * log(1 - yhat)) * log(yhat)",
)
SHAPES = {(4, 5): 1, (5, 4): 0, (5,): 0, (3, 5, 2): 1, (2, 3, 2, 2): 1, (4, 1): 1, (4, 2): 1, (1, 5): 1}


@functools.cache
def expressions() -> tuple[Expression, ...]:
    return (*map(Expression.from_text, WRITTEN), *accepted_expressions(40, seed=23))


def batch(shape: tuple[int, ...], dim: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """(logits, labels with 1 at `dim`, weight that broadcasts), float64."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    one = [1 if axis == dim else size for axis, size in enumerate(shape)]
    index = torch.randint(shape[dim], one, generator=generator)
    along = [-1 if axis == dim else 1 for axis in range(len(shape))]
    weight = (torch.rand(shape[dim], generator=generator, dtype=torch.float64) + 0.5).view(along)
    return logits, index, weight


def of_labels(logits: Tensor, index: Tensor, run: Any, *, high: float, low: float, **rest: Any) -> list[Tensor]:
    """[value, gradient] of a value weighted per example, so that no example's gradient can stand in for another's."""
    leaf = logits.clone().requires_grad_()
    value = label_sum(leaf, index, high, low, rest.pop("weight", None), run, **rest)
    return outcome(value, leaf)


def of_targets(logits: Tensor, y: Tensor, run: Any, **rest: Any) -> list[Tensor]:
    leaf = logits.clone().requires_grad_()
    return outcome(class_sum(leaf, y, rest.pop("weight", None), run, **rest), leaf)


def outcome(value: Tensor, leaf: Tensor) -> list[Tensor]:
    seed = torch.linspace(0.5, 1.5, max(value.numel(), 1), dtype=value.dtype)[: value.numel()].view(value.shape)
    return [value.detach(), torch.autograd.grad(value, leaf, seed)[0]]


def same(ours: list[Tensor], theirs: list[Tensor], precision: float, expression: Expression) -> None:
    for a, b in zip(ours, theirs, strict=True):
        scale = max([1.0, *b.abs().flatten().tolist()])
        assert torch.allclose(a, b, rtol=precision, atol=precision * scale), expression.text


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("each", [True, False])
def test_labels_equal_one_hot_targets(shape: tuple[int, ...], each: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also through the two curves where they would not be the faster way, with weights, smoothing and divisors."""
    dim = SHAPES[shape]
    logits, index, weight = batch(shape, dim)
    for suited in (None, True):
        if suited:
            monkeypatch.setattr(gradients, "LONG", 0)
        for number, expression in enumerate(expressions()):
            run = program(expression)
            smoothing = (0.0, 0.1, 1.0)[number % 3]
            low = smoothing / shape[dim]
            high = 1 - smoothing + low
            for given in (None, weight):
                arguments = {"weight": given, "dim": dim, "each": each, "divisor": (1, -7)[number % 2]}
                ours = of_labels(logits, index, run, high=high, low=low, **arguments)
                theirs = of_targets(logits, one_hot(logits, index, high, low, dim), run, **arguments)
                same(ours, theirs, 1e-9, expression)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_pieces_equal_the_whole(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients in the logits and the target, of batches that are no multiple of a piece."""
    logits, index, weight = batch((13, 7, 2), 1)
    logits, weight = logits.to(dtype), weight.to(dtype)
    y = torch.softmax(batch((13, 7, 2), 1, seed=1)[0], 1).to(dtype)
    for each in (True, False):
        found = []
        for piece in (10**9, 60, 1):
            monkeypatch.setattr(kernels, "_PIECE", piece)
            monkeypatch.setattr(gradients, "LONG", 0)
            per_size = []
            for expression in expressions():
                arguments = {"weight": weight, "dim": 1, "each": each, "divisor": 3}
                results = of_labels(logits, index, program(expression), high=1.0, low=0.0, **arguments)
                leaf, target = logits.clone().requires_grad_(), y.clone().requires_grad_()
                value = class_sum(leaf, target, weight, program(expression), dim=1, each=each)
                results += [value.detach(), *torch.autograd.grad(value.sum(), (leaf, target))]
                with torch.no_grad():
                    results.append(label_sum(leaf, index, 1.0, 0.0, weight, program(expression), dim=1, each=each))
                per_size.append(results)
            found.append(per_size)
        precision = 1e-12 if dtype == torch.float64 else 2e-5
        for other in found[1:]:
            for expression, whole, pieces in zip(expressions(), found[0], other, strict=True):
                same(pieces, whole, precision, expression)


@pytest.mark.parametrize("long", [0, 10**9])
def test_nothing_is_modified_and_layout_changes_nothing(long: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "LONG", long)
    wide, index, weight = batch((6, 10), 1)
    logits = wide[:, ::2]
    index, weight = index // 2, weight[:, ::2]
    y = torch.softmax(batch((5, 6), 0, seed=2)[0], 0).T
    assert not logits.is_contiguous()
    assert not y.is_contiguous()
    kept = [x.clone() for x in (wide, index, weight, y)]
    for expression in expressions():
        run = program(expression)
        arguments: dict[str, Any] = {"weight": weight, "dim": 1, "each": True}
        found = [of_labels(logits, index, run, high=1.0, low=0.0, **arguments), of_targets(logits, y, run, **arguments)]
        plain = [
            of_labels(logits.contiguous(), index, run, high=1.0, low=0.0, **arguments),
            of_targets(logits.contiguous(), y.contiguous(), run, **arguments),
        ]
        for ours, theirs in zip(found, plain, strict=True):
            same(ours, theirs, 1e-12, expression)
        # without a copy of the leaf in between, with and without gradients
        for needed in (False, True):
            leaf = logits.detach().requires_grad_(needed)
            for value in (
                label_sum(leaf, index, 1.0, 0.0, weight, run, dim=1, each=True),
                class_sum(leaf, y, weight, run, dim=1, each=True),
            ):
                if needed:
                    value.sum().backward()
    for before, after in zip(kept, (wide, index, weight, y), strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("text", ["yhat", "(1 - y) * yhat", "y * yhat", "log(yhat)", "y * log(yhat)", "-yhat + y"])
def test_a_curve_that_is_a_leaf_itself(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its values and slopes are the probabilities' own storage; a long batch takes the two curves."""
    logits, index, _ = batch((64, 1000), 1)
    assert logits.numel() > gradients.LONG
    leaf = logits.clone().requires_grad_()
    value = label_sum(leaf, index, 1.0, 0.0, None, program(Expression.from_text(text)), dim=1, each=False)
    p, log_p = torch.softmax(leaf, 1), torch.log_softmax(leaf, 1)
    y = one_hot(logits, index, 1.0, 0.0, 1)
    reference = Expression.from_text(text).evaluate(y, p, log_p).sum()
    torch.testing.assert_close(value, reference)
    torch.testing.assert_close(torch.autograd.grad(value, leaf), torch.autograd.grad(reference, leaf))


@pytest.mark.parametrize("name", ["-y*log(yhat)", "baikal", "focal", "y*log(1-yhat)", "bi_tempered", "(1-y)*yhat"])
@pytest.mark.parametrize("soft", [False, True], ids=["labels", "soft"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_batches_of_no_example_and_of_one(name: str, soft: bool, smoothing: float) -> None:
    flip = False if "yhat" in name else None
    for size in (0, 1):
        logits = torch.randn((size, 4), generator=torch.Generator().manual_seed(size)).requires_grad_()
        target = torch.softmax(torch.ones(size, 4), 1) if soft else torch.full((size,), 2)
        for reduction, expected in (("none", (size,)), ("sum", ()), ("mean", ())):
            value = loss(name, reduction=reduction, label_smoothing=smoothing, flip=flip)(logits, target)
            assert value.shape == expected
            (gradient,) = torch.autograd.grad(value.sum(), logits)
            assert gradient.shape == logits.shape
            assert bool(value.isnan().all() if size == 0 and reduction == "mean" else value.isfinite().all())


# -- log(1 - yhat) at saturation --------------------------------------------------------------------------------------


def exact_log_rest(logits: Tensor) -> Tensor:
    """log(1 - p) of every class, in float64: the log-sum-exp of the other logits less that of all."""
    z = logits.double()
    others = torch.stack(
        [z.masked_fill(torch.arange(z.shape[1]) == c, -torch.inf).logsumexp(1) for c in range(z.shape[1])], 1
    )
    return others - z.logsumexp(1, keepdim=True)


SATURATED = torch.tensor(
    [
        [1e4, -1e4, 0.0, 5e3],
        [-1e4, 1e4, 1e4, -1e4],
        [1e4, -1e4, -1e4, -1e4],
        [0.0, 0.0, -1e4, -1e4],
        [17.0, 0.0, -1.0, -40.0],
        [90.0, 0.0, 3.0, -5.0],
        [120.0, 1.0, 2.0, 3.0],
        [0.5, 0.25, -1.0, 0.0],
    ]
)


@pytest.mark.parametrize("plain", [True, False], ids=["alone", "beside saturated ones"])
def test_log_of_one_minus_p_is_exact(plain: bool) -> None:
    """Value and gradient in float32, of hard labels of every class and of soft targets, against float64."""
    rows = SATURATED[4:5] if plain else SATURATED
    logits = rows.repeat_interleave(4, 0)
    labels = torch.arange(4).repeat(len(rows))
    for weighted in (False, True):
        weight = torch.tensor([0.5, 1.0, 2.0, 3.0]) if weighted else None
        module = loss("-y * log(1 - yhat)", flip=False, reduction="none", weight=weight)
        soft = 0.7 * F.one_hot(labels, 4) + 0.075
        for target, y in ((labels, F.one_hot(labels, 4)), (soft, soft)):
            leaf, precise = logits.clone().requires_grad_(), logits.double().requires_grad_()
            value = module(leaf, target)
            expected = -(y.double() * exact_log_rest(precise) * (1.0 if weight is None else weight.double())).sum(1)
            torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-6)
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
            (expected_gradient,) = torch.autograd.grad(expected.sum(), precise)
            torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-5, atol=1e-6)


def test_binary_cross_entropy_of_two_classes_is_twice_cross_entropy() -> None:
    """With two classes 1 - p is the other's p, so this holds exactly, at any logits."""
    logits = torch.tensor([[1e4, -1e4], [30.0, -30.0], [0.3, 0.1], [-2.0, 15.0]], requires_grad=True)
    labels = torch.tensor([1, 1, 0, 0])
    value = loss("-y * log(yhat) - (1 - y) * log(1 - yhat)", reduction="none")(logits, labels)
    expected = 2 * F.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(value, expected)
    for ours, theirs in zip(
        torch.autograd.grad(value.sum(), logits), torch.autograd.grad(expected.sum(), logits), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("classes", [1, 2])
def test_few_classes(classes: int) -> None:
    logits = torch.tensor([[3.0], [-5.0]]).expand(2, classes).clone().requires_grad_()
    for text in (
        "-y * log(yhat)",
        "y / (yhat + 0.5)",
        "y * exp(log(1 - yhat)) * log(yhat)",
        "y * yhat * log(1 - yhat)",
    ):
        value = loss(text, flip=False, reduction="none")(logits, torch.zeros(2, dtype=torch.int64))
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        assert not value.isnan().any()
        assert not gradient.isnan().any()
        if classes == 1 and "1 - yhat" not in text:  # p is 1 whatever the logit is, and log(1 - p) infinite
            assert (gradient == 0).all()


# -- overflow, modes and transforms -----------------------------------------------------------------------------------


@pytest.mark.parametrize("soft", [False, True], ids=["labels", "soft"])
def test_products_that_overflow_float32_on_the_way(soft: bool) -> None:
    """The slope is p * 1e21 / sqrt(p): within float32 for every p, but its factors are not."""
    logits = SATURATED.clone().requires_grad_()
    labels = torch.tensor([0, 0, 3, 2, 1, 0, 1, 3])
    target = F.one_hot(labels, 4).float() if soft else labels
    module = loss("reciprocal(y) / sqrt_abs(yhat)", flip=False, reduction="none")
    (gradient,) = torch.autograd.grad(module(logits, target).sum(), logits)
    precise = logits.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(module(precise, target.double() if soft else labels).sum(), precise)
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(gradient, expected.float())


@pytest.mark.parametrize("text", ["baikal", "focal", "y * exp(2 * yhat) * 0.3", "y * tanh(exp(1 / yhat))"])
def test_an_evaluation_in_inference_mode_leaves_no_trace(text: str) -> None:
    """Constants that were made there can be used in training, with second derivatives, too."""
    module = loss(text) if text.isalpha() else loss(text, flip=False)
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn((17, 3), generator=generator)  # a batch size that no other test here divides by
    labels = torch.randint(3, (17,), generator=generator)
    with torch.inference_mode():
        module(logits, labels)
        module(logits, F.one_hot(labels, 3).float())
    leaf = logits.clone().requires_grad_()
    for target in (labels, F.one_hot(labels, 3).float()):
        (first,) = torch.autograd.grad(module(leaf, target).square(), leaf, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), leaf)
        assert second.isfinite().all()
    torch.func.grad(lambda z: module(z, labels))(logits)


def test_the_default_device_does_not_matter() -> None:
    """Models are often built on the meta device; what is kept from there must be of use later."""
    text = "y / (yhat + 0.371) - log_abs(yhat - 0.217)"  # seen nowhere else
    with torch.device("meta"):
        module = loss(text, flip=False)
        zoo = loss("focal", gamma=1.25)
    logits, labels = torch.randn((19, 3), generator=torch.Generator().manual_seed(2)), torch.zeros(19).long()
    for made in (module, zoo):
        with torch.device("meta"):
            under = made(logits, labels)
        assert under.device.type == "cpu"
        assert torch.equal(under, made(logits, labels))
    with torch.device("meta"):
        assert loss("y / (yhat + 0.372)", flip=None).name


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's forward mode warns of its own use of torch.jit
@pytest.mark.parametrize("name", ["-y * log(yhat)", "baikal", "focal", "sparse_label_smoothing", "brier", "mae"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_transforms(name: str, smoothing: float) -> None:
    """vmap, grad and vmap over grad, of labels and of soft targets, against one example after the other."""
    logits, index, _ = batch((6, 4), 1)
    for target in (index.squeeze(1), torch.softmax(batch((6, 4), 1, seed=9)[0], 1)):
        one = loss(name, reduction="sum", label_smoothing=smoothing)
        each = loss(name, reduction="none", label_smoothing=smoothing)
        leaf = logits.clone().requires_grad_()
        value = each(leaf, target)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        torch.testing.assert_close(torch.func.vmap(one)(logits, target), value.detach())
        torch.testing.assert_close(torch.func.grad(one)(logits, target), gradient)
        torch.testing.assert_close(torch.func.vmap(torch.func.grad(one))(logits, target), gradient)
        many = torch.func.vmap(one, in_dims=(0, None))(torch.stack((logits, 2 * logits)), target)
        torch.testing.assert_close(many, torch.stack((one(logits, target), one(2 * logits, target))))
        along = torch.func.jvp(lambda z, one=one, target=target: one(z, target), (logits,), (logits.sin(),))[1]
        torch.testing.assert_close(along, (gradient * logits.sin()).sum())


def test_backward_twice_and_through_the_label_path() -> None:
    """A retained graph gives the same gradient again; second derivatives equal those of the soft path."""
    logits, index, weight = batch((5, 4), 1)
    for expression in expressions():
        if not program(expression).expression.reads("yhat"):
            continue
        seconds = []
        for labels in (True, False):
            leaf = logits.clone().requires_grad_()
            y = one_hot(logits, index, 0.9, 0.025, 1)
            value = (
                label_sum(leaf, index, 0.9, 0.025, weight, program(expression), dim=1, each=True)
                if labels
                else class_sum(leaf, y, weight, program(expression), dim=1, each=True)
            )
            first = torch.autograd.grad(value.sum(), leaf, retain_graph=True)[0]
            again = torch.autograd.grad(value.sum(), leaf, create_graph=True)[0]
            assert torch.allclose(first, again.detach(), rtol=1e-9, atol=1e-9 * float(first.abs().max()))
            seconds += list(torch.autograd.grad(again.sin().sum(), leaf, materialize_grads=True))
        same(seconds[:1], seconds[1:], 1e-7, expression)


def test_wrong_labels_are_refused() -> None:
    run = program(Expression.from_text("y * yhat"))
    for wrong in (-1, 4, -100):
        index = torch.tensor([[0], [wrong], [2]])
        with pytest.raises(RuntimeError):
            label_sum(torch.zeros(3, 4), index, 1.0, 0.0, None, run, dim=1, each=True)
