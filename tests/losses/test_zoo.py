"""The published losses: numbers, optima, traps, gradients, parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lossmith import Expression, loss
from lossmith.errors import LossmithError
from lossmith.losses.optimum import optimum
from lossmith.losses.zoo import ZOO

CLASSES = (2, 10, 100, 1000)
# For each K of CLASSES, the p_t at which the loss is least, other classes sharing the rest evenly.
OPTIMA = {
    "cross_entropy": (1.0, 1.0, 1.0, 1.0),
    "label_smoothing": (0.95, 0.91, 0.90, 0.90),
    "baikal": (0.71, 0.32, 0.10, 0.03),
    "ngl": (0.57, 0.39, 0.36, 0.36),
    "taylorglo_mnist": (0.75, 0.53, 0.48, 0.47),
    "taylorglo_oldlossga": (0.69, 0.45, 0.40, 0.39),
}
# What every gradient is tried with: the defaults, and settings at and near the ends of the ranges.
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ZOO),
    *(("focal", {"gamma": gamma}) for gamma in (0.0, 0.3, 1.0)),
    *(("sparse_label_smoothing", {"smoothing": s}) for s in (0.0, 0.9)),
    *(("generalised_cross_entropy", {"q": q}) for q in (0.01, 1.0)),
    *(("symmetric_cross_entropy", {"alpha": a, "beta": b}) for a, b in ((6.0, 0.1), (1.0, 0.0), (0.0, 1.0))),
    *(("bi_tempered", {"t1": a, "t2": b}) for a, b in ((0.0, 1.0), (1.0, 1.0), (1.0, 4.0), (0.2, 5.0), (0.99, 1.01))),
    ("taylorglo", {"a0": 1.0, "a2": -0.5, "cp": 0.0, "cy": 0.0}),
]


def data(classes: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """(logits, soft targets, labels), float64."""
    generator = torch.Generator().manual_seed(11)
    logits = 2 * torch.randn(6, classes, generator=generator, dtype=torch.float64)
    soft = torch.softmax(torch.randn(6, classes, generator=generator, dtype=torch.float64), 1)
    return logits, soft, torch.arange(6) % classes


# -- the formulas, written again with plain numbers --------------------------------------------------------------------


def softmax(z: list[float]) -> list[float]:
    top = max(z)
    total = sum(math.exp(x - top) for x in z)
    return [math.exp(x - top) / total for x in z]


def per_class(curve: Callable[[float, float, int], float]) -> Callable[[list[float], list[float]], float]:
    return lambda z, y: sum(curve(t, p, len(z)) for t, p in zip(y, softmax(z), strict=True))


def taylor(a: tuple[float, ...], cp: float, cy: float) -> Callable[[float, float, int], float]:
    def curve(y: float, p: float, _: int) -> float:
        v, u = p - cp, y - cy
        return -(a[0] * v + a[1] * v**2 + a[2] * v**3 + a[3] * u * v + a[4] * u * v**2 + a[5] * u**2 * v)

    return curve


def nce(z: list[float], y: list[float]) -> float:
    logs = [math.log(p) for p in softmax(z)]
    return sum(t * log for t, log in zip(y, logs, strict=True)) / sum(logs)


def rce(z: list[float], y: list[float]) -> float:
    return -sum(p * math.log(min(max(t, 1e-4), 1.0)) for t, p in zip(y, softmax(z), strict=True))


def tempered_softmax(z: list[float], t: float) -> list[float]:
    """By bisection of the normalisation."""
    if t == 1:
        return softmax(z)

    def outputs(level: float) -> list[float]:
        return [(1 + (1 - t) * (x - level)) ** (1 / (1 - t)) for x in z]

    low, high = max(z), max(z) + (len(z) ** (t - 1) - 1) / (t - 1)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(outputs(middle)) > 1 else (low, middle)
    return outputs(low)


def bi_tempered(z: list[float], y: list[float], t1: float, t2: float) -> float:
    def log_t(u: float) -> float:
        return math.log(u) if t1 == 1 else (u ** (1 - t1) - 1) / (1 - t1)

    total = 0.0
    for t, p in zip(y, tempered_softmax(z, t2), strict=True):
        total += (t * (log_t(t) - log_t(p)) if t else 0.0) - (t ** (2 - t1) - p ** (2 - t1)) / (2 - t1)
    return total


MNIST = ((8.2896, 0.2415, 7.8726, 8.9666, 2.0184, 7.0513), 7.5216, -10.9408)
OLD_LOSSGA = ((1.5742, -1.4446, 2.3616, -0.6632, -2.8569, -1.1313), 1.4872, 0.8439)
FORMULAS: dict[str, Callable[[list[float], list[float]], float]] = {
    "cross_entropy": per_class(lambda y, p, _: -y * math.log(p)),
    "label_smoothing": per_class(lambda y, p, k: -(0.9 * y + 0.1 / k) * math.log(p)),
    "focal": per_class(lambda y, p, _: -y * (1 - p) ** 2 * math.log(p)),
    "poly1": lambda z, y: (
        sum(-t * math.log(p) for t, p in zip(y, softmax(z), strict=True))
        + 2 * (1 - sum(t * p for t, p in zip(y, softmax(z), strict=True)))
    ),
    "baikal": per_class(lambda y, p, _: -(math.log(p + 1e-7) - y / (p + 1e-7))),
    "taylorglo": per_class(taylor(*MNIST)),
    "taylorglo_mnist": per_class(taylor(*MNIST)),
    "taylorglo_oldlossga": per_class(taylor(*OLD_LOSSGA)),
    "ngl": per_class(lambda y, p, k: (math.exp(2.4092 - p - p * y) - math.cos(math.cos(math.sin(p)))) / k),
    "sparse_label_smoothing": per_class(
        lambda y, p, k: (
            y * (-(0.9 + 0.1 / k) * math.log(p) - 0.1 * (k - 1) / k * math.log((1 - p) / (k - 1)) if y else 0.0)
        )
    ),
    "generalised_cross_entropy": per_class(lambda y, p, _: y * (1 - p**0.7) / 0.7),
    "symmetric_cross_entropy": lambda z, y: 0.1 * FORMULAS["cross_entropy"](z, y) + rce(z, y),
    "normalised_cross_entropy": nce,
    "nce_rce": lambda z, y: nce(z, y) + rce(z, y),
    "nce_mae": lambda z, y: nce(z, y) + 1 - sum(t * p for t, p in zip(y, softmax(z), strict=True)),
    "bi_tempered": lambda z, y: bi_tempered(z, y, 0.8, 1.2),
    "brier": per_class(lambda y, p, _: (p - y) ** 2),
    "mae": lambda z, y: 1 - sum(t * p for t, p in zip(y, softmax(z), strict=True)),
}


@pytest.mark.parametrize("classes", [2, 4, 30])
@pytest.mark.parametrize("name", ZOO)
def test_values(name: str, classes: int) -> None:
    """Hard and soft targets, against the formulas above."""
    logits, soft, labels = data(classes)
    module = loss(name, reduction="none")
    for target, rows in ((soft, soft), (labels, F.one_hot(labels, classes).double())):
        expected = [FORMULAS[name](z, y) for z, y in zip(logits.tolist(), rows.tolist(), strict=True)]
        torch.testing.assert_close(
            module(logits, target), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize(("name", "parameters"), SETTINGS, ids=str)
def test_gradients(name: str, parameters: dict[str, Any]) -> None:
    """First and second order, of hard, soft and weighted soft targets."""
    logits, soft, labels = data()
    leaf = logits.requires_grad_()
    weight = torch.tensor([0.5, 1.0, 2.0, 1.5], dtype=torch.float64)
    for module, target in ((loss(name, **parameters), labels), (loss(name, **parameters, weight=weight), soft)):
        assert torch.autograd.gradcheck(lambda z, m=module, t=target: m(z, t), leaf)
        assert torch.autograd.gradgradcheck(lambda z, m=module, t=target: m(z, t), leaf)


@pytest.mark.parametrize("name", ZOO)
def test_gradient_of_the_target(name: str) -> None:
    logits, soft, _ = data()
    module = loss(name, reduction="sum")
    assert torch.autograd.gradcheck(lambda y: module(logits, y), soft.requires_grad_())


EXTREME = torch.tensor(
    [
        [1e4, -1e4, 0.0, 5e3],
        [-1e4, 1e4, 1e4, -1e4],
        [1e4, 1e4, 1e4, 1e4],
        [0.0, 0.0, -1e4, -1e4],
        [17.0, 0.0, -1.0, -40.0],
        [90.0, 0.0, 3.0, -5.0],
        [300.0, 100.0, 200.0, 0.0],
        [20.0, 0.0, -20.0, 100.0],
    ]
)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(("name", "parameters"), SETTINGS, ids=str)
def test_saturation(name: str, parameters: dict[str, Any], soft: bool) -> None:
    """Float32 at logits of +-1e4: finite, and what float64 has, value and gradient, for every label."""
    for shift in range(4):
        labels = (torch.tensor([0, 0, 3, 2, 1, 0, 1, 3]) + shift) % 4
        smooth = 0.9 * F.one_hot(labels, 4) + 0.025
        outcomes: list[tuple[Tensor, Tensor]] = []
        for dtype in (torch.float32, torch.float64):
            logits = EXTREME.to(dtype).requires_grad_()
            value = loss(name, **parameters, reduction="none")(logits, smooth.to(dtype) if soft else labels)
            outcomes.append((value.detach(), torch.autograd.grad(value.sum(), logits)[0]))
        (value, gradient), (precise, precise_gradient) = outcomes
        assert precise.isfinite().all()
        assert precise_gradient.isfinite().all()
        torch.testing.assert_close(value.double(), precise, rtol=2e-5, atol=2e-6)
        scale = max(1.0, precise_gradient.abs().max().item())
        # Baikal's curve has a corner 1e-7 wide, which amplifies float32's rounding of p
        torch.testing.assert_close(gradient.double(), precise_gradient, rtol=1e-3, atol=1e-5 * scale)


# -- optima ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMA)
def test_where_each_is_least(name: str) -> None:
    assert tuple(round(optimum(loss(name), classes), 2) for classes in CLASSES) == OPTIMA[name]


@pytest.mark.parametrize("name", sorted(set(ZOO) - set(OPTIMA) - {"taylorglo", "sparse_label_smoothing"}))
def test_the_others_are_least_where_the_label_is_certain(name: str) -> None:
    assert [optimum(loss(name), classes) for classes in CLASSES] == [1.0] * 4


# -- traps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("smoothing", [0.05, 0.1, 0.5])
def test_sparse_label_smoothing_is_label_smoothing_where_the_rest_is_even(smoothing: float, classes: int) -> None:
    """The public code has + on the second term; with it this fails, and the loss goes negative."""
    top = torch.linspace(-8, 12, 41, dtype=torch.float64)
    logits = torch.zeros(41, classes, dtype=torch.float64)
    logits[:, 0] = top
    labels = torch.zeros(41, dtype=torch.int64)
    ours = loss("sparse_label_smoothing", smoothing=smoothing, reduction="none")(logits, labels)
    theirs = loss("label_smoothing", smoothing=smoothing, reduction="none")(logits, labels)
    torch.testing.assert_close(ours, theirs)
    assert (ours > 0).all()


def test_ngl_has_one_softmax_and_no_sigmoid() -> None:
    """The TensorFlow port's `scaling=True` puts a sigmoid after softmax, which flattens the loss: another one."""
    logits, _, labels = data()
    y = F.one_hot(labels, 4)

    def of(p: Tensor) -> Tensor:
        return (torch.exp(2.4092 - p - p * y) - torch.cos(torch.cos(torch.sin(p)))).mean()

    p = torch.softmax(logits, 1)
    torch.testing.assert_close(loss("ngl")(logits, labels), of(p))
    assert abs(loss("ngl")(logits, labels) - of(torch.sigmoid(p))) > 0.1


def test_baikal_is_summed_over_classes_and_ngl_averaged() -> None:
    """With K even outputs, K times as many classes of value f0 make the sum grow, and leave the mean where it is."""
    sums, means = (
        [loss(name)(torch.zeros(1, k, dtype=torch.float64), torch.tensor([0])).item() for k in (100, 1000)]
        for name in ("baikal", "ngl")
    )
    assert sums[1] / sums[0] == pytest.approx((1000 * math.log(1000) + 1000) / (100 * math.log(100) + 100), rel=1e-3)
    assert means[1] == pytest.approx(means[0], rel=0.02)


@pytest.mark.parametrize("gamma", [0.01, 0.3, 0.5, 0.99])
def test_focal_has_a_gradient_at_saturation(gamma: float) -> None:
    """For 0 < gamma < 1 the naive gradient is 0 * infinity; its limit is 0."""
    logits = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
    naive = torch.softmax(logits, 1)[0, 0]
    (bad,) = torch.autograd.grad(-((1 - naive) ** gamma) * naive.log(), logits)
    assert bad.isnan().any()
    (gradient,) = torch.autograd.grad(loss("focal", gamma=gamma)(logits, torch.tensor([0])), logits, create_graph=True)
    assert (gradient == 0).all()
    (second,) = torch.autograd.grad(gradient.square().sum(), logits)
    assert second.isfinite().all()


# -- relations between losses ------------------------------------------------------------------------------------------


def test_special_cases() -> None:
    logits, soft, labels = data()
    hard: dict[str, dict[str, Any]] = {
        "focal": {"gamma": 0},
        "poly1": {"epsilon": 0},
        "sparse_label_smoothing": {"smoothing": 0},
    }
    hard |= {"label_smoothing": {"smoothing": 0}, "symmetric_cross_entropy": {"alpha": 1, "beta": 0}}
    for name, parameters in hard.items():
        for target in (labels, soft):
            torch.testing.assert_close(loss(name, **parameters)(logits, target), F.cross_entropy(logits, target))
    softmax_case = loss("bi_tempered", t1=1, t2=1)
    torch.testing.assert_close(softmax_case(logits, labels), F.cross_entropy(logits, labels))
    entropy = torch.special.entr(soft).sum(1).mean()
    torch.testing.assert_close(softmax_case(logits, soft), F.cross_entropy(logits, soft) - entropy)
    torch.testing.assert_close(loss("bi_tempered", t1=0, t2=1)(logits, labels), loss("brier")(logits, labels) / 2)
    torch.testing.assert_close(loss("generalised_cross_entropy", q=1)(logits, labels), loss("mae")(logits, labels))
    near = loss("generalised_cross_entropy", q=1e-5)(logits, labels)
    torch.testing.assert_close(near, F.cross_entropy(logits, labels), rtol=1e-4, atol=0)


@pytest.mark.parametrize("t2", [1.0, 1.001, 1.2, 2.0, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_tempered_softmax_sums_to_one(t2: float, dtype: torch.dtype) -> None:
    from lossmith.losses.zoo.tempered import log_tempered_softmax  # noqa: PLC0415

    generator = torch.Generator().manual_seed(2)
    for classes in (1, 2, 10, 3000):
        for scale in (0.0, 0.1, 1.0, 30.0, 1e4):
            logits = (scale * torch.randn(8, classes, generator=generator, dtype=torch.float64)).to(dtype)
            total = log_tempered_softmax(logits, 1, t2).exp().sum(1)
            torch.testing.assert_close(
                total, torch.ones_like(total), rtol=2e-5 if dtype == torch.float32 else 1e-12, atol=0
            )


def test_smoothing_twice_is_one_smoothing() -> None:
    logits, _, target = data()
    twice = loss("label_smoothing", smoothing=0.2, label_smoothing=0.1)(logits, target)
    torch.testing.assert_close(twice, loss("cross_entropy", label_smoothing=0.28)(logits, target))


def test_cross_entropy_is_torchs_own() -> None:
    logits, _, target = data()
    logits = logits.float()
    assert torch.equal(loss("cross_entropy")(logits, target), torch.nn.functional.cross_entropy(logits, target))


# -- forms -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "parameters"), SETTINGS, ids=str)
def test_module_and_expression_agree(name: str, parameters: dict[str, Any]) -> None:
    logits, soft, _ = data()
    expression = ZOO[name].expression(**parameters)
    assert (expression is None) == (ZOO[name].kind == "whole example")
    module = loss(name, **parameters, reduction="none")
    assert module.expression == expression
    if expression is not None:
        p, log_p = torch.softmax(logits, 1), torch.log_softmax(logits, 1)
        torch.testing.assert_close(module(logits, soft), expression.bind(4).evaluate(soft, p, log_p).sum(1))


@pytest.mark.parametrize("name", [*(name for name in ZOO if ZOO[name].template), "-y * log(yhat)", "y * log(yhat)"])
def test_curves_make_up_the_loss(name: str) -> None:
    """For hard labels the loss is f1 at the target and f0 elsewhere, smoothed labels included."""
    logits, _, target = data()
    p = torch.softmax(logits, 1)
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
    with pytest.raises(LossmithError, match="function of the whole example"):
        loss("nce_mae").curves(torch.tensor([0.5]))


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
        ("label_smoothing", {"smoothing": 1}, "zoo loss 'label_smoothing': smoothing must be in [0, 1), found 1"),
        (
            "generalised_cross_entropy",
            {"q": 0},
            "zoo loss 'generalised_cross_entropy': q must be in (0, 1], found 0",
        ),
        ("bi_tempered", {"t1": 1.1}, "zoo loss 'bi_tempered': t1 must be in [0, 1], found 1.1"),
        ("bi_tempered", {"t2": 0.9}, "zoo loss 'bi_tempered': t2 must be in [1, 5], found 0.9"),
        ("ngl", {"a": float("nan")}, "zoo loss 'ngl': a must be any number, found nan"),
        ("nce_rce", {"alpha": -1}, "zoo loss 'nce_rce': alpha must be at least 0, found -1"),
    ],
)
def test_parameters_are_checked(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(LossmithError) as caught:
        loss(name, **parameters)
    assert str(caught.value) == message


@pytest.mark.parametrize("epsilon", [-1.0, -0.5, 0.0, 1e-9, 3.25])
def test_poly1_takes_any_epsilon(epsilon: float) -> None:
    logits, _, target = data()
    p_t = torch.softmax(logits, 1).gather(1, target[:, None])[:, 0]
    expected = (-p_t.log() + epsilon * (1 - p_t)).mean()
    torch.testing.assert_close(loss("poly1", epsilon=epsilon)(logits, target), expected)


def test_what_the_command_prints() -> None:
    for name, entry in ZOO.items():
        assert entry.name == name
        assert entry.formula
        assert entry.latex
        assert entry.reference
        assert entry.note.endswith(".")
        assert entry.soft.endswith(".")
        for parameter in entry.parameters:
            assert parameter.accepts(parameter.default)
            assert parameter.range_text
            assert parameter.name in entry.formula


def test_the_number_of_classes_is_the_logits() -> None:
    module = loss("ngl", reduction="none")
    for classes in (2, 3, 10):
        logits, _, labels = data(classes)
        expected = [
            FORMULAS["ngl"](z, y)
            for z, y in zip(logits.tolist(), F.one_hot(labels, classes).double().tolist(), strict=True)
        ]
        torch.testing.assert_close(module(logits, labels), torch.tensor(expected, dtype=torch.float64))
    with pytest.raises(LossmithError, match="reads K, the number of classes: at least 2, found 1"):
        module(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64))
    text = "-y * log(yhat) + yhat / K"
    spatial = torch.randn(2, 5, 3)
    labels = torch.randint(5, (2, 3))
    expected = F.cross_entropy(spatial, labels, reduction="none") + 1 / 5
    torch.testing.assert_close(loss(Expression.from_text(text), reduction="none")(spatial, labels), expected)
