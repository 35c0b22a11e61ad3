"""K losses in one call: equal to each loss alone, and nothing that one slot does shows in another."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from helpers import accepted_expressions
from lossmith import loss
from lossmith.errors import LossmithError
from lossmith.losses.bounds import may_overflow
from lossmith.losses.module import Loss
from lossmith.losses.population import Population
from lossmith.losses.zoo import ZOO
from lossmith.space.integrity import check

CLASSES = 5


@functools.cache
def losses() -> tuple[Loss, ...]:
    """Evolved ones of both orientations, and the whole zoo: whole-example losses, and such as read log(1 - yhat)."""
    evolved = [loss(expression, flip=check(expression).flip) for expression in accepted_expressions(40, seed=31)]
    return (*evolved, *map(loss, ZOO), loss("-2.5 * y * log(yhat)"))


def batch(
    slots: int, examples: int = 6, classes: int = CLASSES, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(slots)
    logits = 2 * torch.randn((slots, examples, classes), generator=generator, dtype=torch.float64)
    return logits.to(dtype), torch.randint(classes, (slots, examples), generator=generator)


def alone(members: Sequence[Loss], logits: Tensor, labels: Tensor, each: bool) -> tuple[Tensor, Tensor]:
    """Every loss by itself; `each` says whether every slot has labels of its own."""
    values, gradients = [], []
    for slot, member in enumerate(members):
        leaf = logits[slot].clone().requires_grad_()
        value = member(leaf, labels[slot] if each else labels)
        values.append(value.detach())
        gradients.append(torch.autograd.grad(value, leaf)[0])
    return torch.stack(values), torch.stack(gradients)


def steady(members: Sequence[Loss]) -> list[int]:
    """The slots that float32 holds to some digits: alone, the others are computed in float64."""
    expressions = [None if member.expression is None else member.expression.bind(CLASSES) for member in members]
    return [i for i, expression in enumerate(expressions) if expression is None or not may_overflow(expression)]


def same(
    ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor], precision: float, slots: list[int] | None = None
) -> None:
    """Up to rounding, relative to the largest entry of each slot."""
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        a, b = (one, other) if slots is None else (one[slots], other[slots])
        scale = b.abs().flatten(1).amax(1) if b.dim() > 1 else b.abs()
        error = (a - b).abs().flatten(1).amax(1) if b.dim() > 1 else (a - b).abs()
        assert (error <= precision * scale.clamp(min=1e-3)).all()


@pytest.mark.parametrize("kind", ["[N]", "[K, N]", "[N, C]", "[K, N, C]"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_equals_each_loss_alone(kind: str, dtype: torch.dtype) -> None:
    members = losses()
    logits, labels = batch(len(members), dtype=dtype)
    each = kind.startswith("[K")
    if kind.endswith("C]"):
        labels = 0.8 * F.one_hot(labels, CLASSES).to(dtype) + 0.2 * torch.softmax(2 * logits.flip(0), 2)
    given = labels if each else labels[0]
    population = Population(members, classes=CLASSES)
    precision, slots = (1e-10, None) if dtype == torch.float64 else (1e-4, steady(members))
    for _ in range(2):  # the second call takes what the first one has made
        same(population.value_and_gradient(logits, given), alone(members, logits, given, each), precision, slots)


def test_nothing_is_modified_and_results_are_new() -> None:
    members = losses()
    logits, labels = batch(len(members))
    kept = logits.clone(), labels.clone()
    population = Population(members, classes=CLASSES)
    first = population.value_and_gradient(logits, labels)
    copies = [x.clone() for x in first]
    population.value_and_gradient(logits.flip(1), labels)
    for before, after in zip((*kept, *copies), (logits, labels, *first), strict=True):
        assert torch.equal(before, after)


def test_replace() -> None:
    """The new loss's result is what a new population gives, and the other slots' stay bit for bit."""
    members = list(losses())
    logits, labels = batch(len(members), examples=16, classes=10)
    population = Population(members, classes=10)
    before = population.value_and_gradient(logits, labels)
    population.value_and_gradient(logits.float(), labels)  # a second dtype must not keep the old loss
    spare = [loss("y * square(1 - yhat)", flip=False), loss("bi_tempered"), loss("focal", gamma=0.5), members[0]]
    for slot, new in zip((0, 3, len(members) - 1, 45), spare, strict=True):
        population.replace(slot, new)
        members[slot] = new
        changed = population.value_and_gradient(logits, labels)
        for ours, old in zip(changed, before, strict=True):
            others = [i for i in range(len(members)) if i != slot]
            assert torch.equal(ours[others], old[others])
        same(changed, alone(members, logits, labels, each=True), 1e-10)
        narrow = population.value_and_gradient(logits.float(), labels)
        same(narrow, alone(members, logits.float(), labels, each=True), 1e-4, steady(members))
        before = changed
    with pytest.raises(IndexError):
        population.replace(len(members), spare[0])


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf, 1e38])
def test_a_slot_of_nan_or_infinity_leaves_the_others_bitwise_unchanged(poison: float) -> None:
    members = losses()
    logits, labels = batch(len(members), dtype=torch.float32)
    population = Population(members, classes=CLASSES)
    clean = population.value_and_gradient(logits, labels)
    for slot in (0, 17, 41, len(members) - 1):
        spoiled = logits.clone()
        spoiled[slot, 2, 1] = poison
        others = [i for i in range(len(members)) if i != slot]
        found = population.value_and_gradient(spoiled, labels)
        for ours, theirs in zip(found, clean, strict=True):
            assert torch.equal(ours[others], theirs[others])
        if poison != poison:  # noqa: PLR0124 - NaN
            assert found[1][slot].isnan().any()


def test_a_loss_that_overflows_leaves_the_others_bitwise_unchanged() -> None:
    members = list(losses())
    logits, labels = batch(len(members), dtype=torch.float32)
    clean = Population(members, classes=CLASSES).value_and_gradient(40 * logits, labels)
    for text in ("exp(1 / yhat) * y", "log(yhat - 1) * y", "1 / (yhat - y - 1e-7)"):
        members[7] = loss(text, flip=False)
        found = Population(members, classes=CLASSES).value_and_gradient(40 * logits, labels)
        assert not found[0][7].isfinite()
        others = [i for i in range(len(members)) if i != 7]
        for ours, theirs in zip(found, clean, strict=True):
            assert torch.equal(ours[others], theirs[others])


@pytest.mark.parametrize(("examples", "classes"), [(8, 10), (16, 7), (128, 10)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_slot_does_not_depend_on_which_others_there_are(examples: int, classes: int, dtype: torch.dtype) -> None:
    """Bit for bit, where N * C is a multiple of 16: whole vectors of a processor's registers, in every row."""
    members = losses()
    logits, labels = batch(len(members), examples, classes, dtype)
    whole = Population(members, classes=classes).value_and_gradient(logits, labels)
    for chosen in ([0], [3, 40, 2], list(range(20, 30)), list(range(len(members)))[::-1], [41, 42, 12], [12]):
        few = Population([members[i] for i in chosen], classes=classes)
        found = few.value_and_gradient(logits[chosen], labels[chosen])
        for ours, theirs in zip(found, whole, strict=True):
            for place, slot in enumerate(chosen):
                assert torch.equal(ours[place], theirs[slot]), members[slot].formula


def test_equal_losses_have_equal_results() -> None:
    logits, labels = batch(1)
    values, gradients = Population([losses()[4]] * 3, classes=CLASSES).value_and_gradient(
        logits.expand(3, -1, -1), labels.expand(3, -1)
    )
    assert (values == values[0]).all()
    assert (gradients == gradients[0]).all()


def test_the_callers_mode_does_not_matter() -> None:
    """A training loop of a population needs no autograd, so it may well be inside no_grad or inference_mode."""
    members = losses()
    logits, labels = batch(len(members))
    expected = Population(members, classes=CLASSES).value_and_gradient(logits, labels)
    population = Population(members, classes=CLASSES)
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            found = population.value_and_gradient(logits.clone(), labels.clone())
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.equal(ours, theirs)
            assert not ours.requires_grad
    soft = torch.softmax(logits, 2).requires_grad_()
    found = population.value_and_gradient(logits.clone().requires_grad_(), soft)
    assert not found[0].requires_grad


def test_batches_of_no_example_and_of_one() -> None:
    members = losses()
    logits, labels = batch(len(members))
    population = Population(members, classes=CLASSES)
    one = population.value_and_gradient(logits[:, :1], labels[:, :1])
    same(one, alone(members, logits[:, :1], labels[:, :1], each=True), 1e-10)
    values, gradient = population.value_and_gradient(logits[:, :0], labels[:, :0])
    assert values.isnan().all()  # the mean of nothing, as in cross-entropy
    assert gradient.shape == (len(members), 0, CLASSES)


def test_losses_that_are_constant_or_a_leaf() -> None:
    members = [loss(text, flip=False) for text in ("2", "y", "yhat", "log(yhat)", "y * yhat", "y - y")]
    logits, labels = batch(len(members))
    same(
        Population(members, classes=CLASSES).value_and_gradient(logits, labels),
        alone(members, logits, labels, each=True),
        1e-10,
    )
    for member in members:
        single = Population([member], classes=CLASSES)
        same(single.value_and_gradient(logits[:1], labels[:1]), alone([member], logits, labels, each=True), 1e-10)


@pytest.mark.parametrize(
    "arguments",
    [
        {"reduction": "sum"},
        {"reduction": "none"},
        {"weight": torch.ones(CLASSES)},
        {"label_smoothing": 0.1},
        {"ignore_index": 2},
    ],
    ids=lambda given: next(iter(given)),
)
def test_refused_losses(arguments: dict[str, Any]) -> None:
    population = Population(losses(), classes=CLASSES)
    for refused in (loss("focal", **arguments), loss("-y * log(yhat)", **arguments), loss("bi_tempered", **arguments)):
        for attempt in (lambda r=refused: Population([r], classes=CLASSES), lambda r=refused: population.replace(0, r)):
            with pytest.raises(LossmithError, match=r"a population takes losses of reduction 'mean'") as raised:
                attempt()
            assert "\n" not in str(raised.value)


def test_refused_batches() -> None:
    with pytest.raises(LossmithError, match="at least one loss"):
        Population([], classes=CLASSES)
    population = Population(losses()[:3], classes=CLASSES)
    logits, labels = batch(3)
    soft = torch.softmax(logits, 2)
    for wrong in (
        (logits[:2], labels),
        (logits[..., :4], labels),
        (logits[0], labels[0]),
        (logits.half(), labels),
        (logits.long(), labels),
        (logits, labels[:2]),
        (logits, labels[:, :5]),
        (logits, labels.int()),
        (logits, soft.float()),
        (logits, soft[:2]),
        (logits, labels.double()),
    ):
        with pytest.raises(LossmithError, match=r"population of 3 losses for 5 classes.* do not fit") as raised:
            population.value_and_gradient(*wrong)
        assert "\n" not in str(raised.value)
