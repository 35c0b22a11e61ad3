"""Tabulated losses against the exact population: how far off, and how well the slots are kept apart."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helpers import accepted_expressions
from lossmith import loss
from lossmith.errors import LossmithError
from lossmith.losses.module import Loss
from lossmith.losses.population import Population
from lossmith.losses.tables import TabulatedPopulation
from lossmith.space.integrity import check

CLASSES = 10
SMOOTH = ("-y * log(yhat)", "baikal", "focal", "poly1", "brier", "mae", "ngl", "generalised_cross_entropy")
SMOOTH += ("taylorglo_mnist", "symmetric_cross_entropy", "-(y * log(yhat) + 0.1 * sin(yhat))")


def smooth() -> list[Loss]:
    return [loss(name) for name in SMOOTH]


def batch(slots: int, *, scale: float = 2.0, examples: int = 64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(slots)
    logits = scale * torch.randn((slots, examples, CLASSES), generator=generator)
    return logits, torch.randint(CLASSES, (slots, examples), generator=generator)


def errors(members: list[Loss], logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """[K] of the values, relative to their size, and of the gradients, relative to the largest slope in log p.

    The gradient is a difference of such slopes, often a small one.
    """
    exact = Population(members, classes=CLASSES).value_and_gradient(logits.double(), labels)
    values, gradients = TabulatedPopulation(members, classes=CLASSES).value_and_gradient(logits, labels)
    on_values = (values - exact[0]).abs() / exact[0].abs().clamp(min=1e-2)
    on_gradients = (gradients - exact[1]).abs().flatten(1).amax(1) * logits.shape[1]
    return on_values, on_gradients / torch.stack(
        [largest(*given) for given in zip(members, logits, labels, strict=True)]
    )


def largest(member: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """The largest |df / d log p| in a batch, by autograd."""
    assert member.expression is not None
    log_p = torch.log_softmax(logits.double(), 1).requires_grad_()
    y = torch.nn.functional.one_hot(labels, CLASSES).double()
    value = member.expression.bind(CLASSES).evaluate(y, log_p.exp(), log_p)
    return torch.autograd.grad(value.sum(), log_p)[0].abs().nan_to_num().max()


@pytest.mark.parametrize("scale", [0.01, 0.5, 2.0, 5.0])
def test_smooth_curves(scale: float) -> None:
    """Within 5e-5 of the largest slope, from the first step of a training to the last."""
    members = smooth()
    logits, labels = batch(len(members), scale=scale)
    on_values, on_gradients = errors(members, logits, labels)
    assert on_values.max() < 5e-5
    assert on_gradients.max() < 5e-5


def test_accepted_graphs() -> None:
    """Most, that is: those with a kink or a pole are off in the one cell that holds it."""
    members = [loss(expression, flip=check(expression).flip) for expression in accepted_expressions(150, seed=41)]
    logits, labels = batch(len(members))
    _, on_gradients = errors(members, logits, labels)
    assert (on_gradients < 1e-4).double().mean() > 0.85
    assert (on_gradients < 1e-2).double().mean() > 0.95


def test_labels_of_all_slots_or_of_each() -> None:
    members = smooth()
    logits, labels = batch(len(members))
    table = TabulatedPopulation(members, classes=CLASSES)
    shared = table.value_and_gradient(logits, labels[0])
    each = table.value_and_gradient(logits, labels[:1].expand(len(members), -1))
    for ours, theirs in zip(shared, each, strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(table.gradient(logits, labels), table.value_and_gradient(logits, labels)[1])
    assert len(table) == len(members)


@pytest.mark.parametrize("smoothing", [0.05, 0.3])
def test_label_smoothing(smoothing: float) -> None:
    names = ("-y * log(yhat)", "baikal", "ngl", "symmetric_cross_entropy", "y / (yhat + 0.2)")
    members = [loss(name, label_smoothing=smoothing) for name in names]
    logits, labels = batch(len(members))
    values, gradients = TabulatedPopulation(members, classes=CLASSES).value_and_gradient(logits, labels)
    for slot, member in enumerate(members):
        leaf = logits[slot].double().requires_grad_()
        value = member(leaf, labels[slot])
        (gradient,) = torch.autograd.grad(value, leaf)
        assert abs(float(values[slot] - value.detach())) < 1e-4 * float(value.detach().abs())
        assert float((gradients[slot] - gradient).abs().max()) < 1e-4 * float(gradient.abs().max())


def test_replace_is_in_place() -> None:
    """What a captured graph reads stays where it is, and the other rows keep their bits."""
    members = smooth()
    table = TabulatedPopulation(members, classes=CLASSES)
    tables = (table._slopes, table._values)
    held = [part for one in tables for part in (one._values, one._changes)]
    places, copies = [x.data_ptr() for x in held], [x.clone() for x in held]
    table.replace(2, loss("y * square(1 - yhat)", flip=False))
    assert [part.data_ptr() for one in (table._slopes, table._values) for part in (one._values, one._changes)] == places
    for before, after in zip(copies, held, strict=True):
        assert torch.equal(before[[0, 1, *range(3, len(members))]], after[[0, 1, *range(3, len(members))]])
    members[2] = loss("y * square(1 - yhat)", flip=False)
    fresh = TabulatedPopulation(members, classes=CLASSES)
    logits, labels = batch(len(members))
    for ours, theirs in zip(
        table.value_and_gradient(logits, labels), fresh.value_and_gradient(logits, labels), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_a_slot_of_nan_leaves_the_others_bitwise_unchanged_and_shows() -> None:
    members = smooth()
    logits, labels = batch(len(members))
    table = TabulatedPopulation(members, classes=CLASSES)
    clean = table.value_and_gradient(logits, labels)
    for poison in (torch.nan, torch.inf):
        spoiled = logits.clone()
        spoiled[3, 5, 1] = poison
        found = table.value_and_gradient(spoiled, labels)
        others = [i for i in range(len(members)) if i != 3]
        for ours, theirs in zip(found, clean, strict=True):
            assert torch.equal(ours[others], theirs[others])
        assert found[0][3].isnan()  # softmax is NaN there
        assert found[1][3, 5].isnan().all()
        kept = [i for i in range(logits.shape[1]) if i != 5]
        assert torch.equal(found[1][3, kept], clean[1][3, kept])


def test_a_loss_with_a_pole_leaves_the_others_bitwise_unchanged() -> None:
    members = smooth()
    logits, labels = batch(len(members))
    clean = TabulatedPopulation(members, classes=CLASSES).value_and_gradient(logits, labels)
    for text in ("exp(1 / yhat) * y", "log(yhat - 1) * y"):
        members[4] = loss(text, flip=False)
        found = TabulatedPopulation(members, classes=CLASSES).value_and_gradient(logits, labels)
        others = [i for i in range(len(members)) if i != 4]
        for ours, theirs in zip(found, clean, strict=True):
            assert torch.equal(ours[others], theirs[others])


def test_saturated_logits() -> None:
    """Beyond the ends of the table: finite, and where cross-entropy is bounded by the grid the gradient is right."""
    members = [loss("-y * log(yhat)"), loss("focal"), loss("brier")]
    logits = torch.tensor([[1e4, -1e4, 0.0], [17.0, 0.0, -40.0], [-1e4, 1e4, 1e4], [90.0, 0.0, -5.0]]).expand(3, -1, -1)
    for labels in (torch.zeros(4, dtype=torch.int64), torch.tensor([1, 2, 0, 1])):
        values, gradients = TabulatedPopulation(members, classes=3).value_and_gradient(logits, labels)
        exact = Population(members, classes=3).value_and_gradient(logits.double(), labels)[1]
        assert values.isfinite().all()
        torch.testing.assert_close(gradients.double(), exact, rtol=1e-4, atol=1e-5)


def test_the_default_device_does_not_matter() -> None:
    logits, labels = batch(2)
    members = smooth()[:2]
    expected = TabulatedPopulation(members, classes=CLASSES).gradient(logits, labels)
    with torch.device("meta"):
        table = TabulatedPopulation(members, classes=CLASSES, device=torch.device("cpu"))
    assert torch.equal(table.gradient(logits, labels), expected)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("bi_tempered", {}),
        ("cross_entropy", {}),
        ("-y * log(yhat)", {"reduction": "sum"}),
        ("-y * log(yhat)", {"weight": torch.ones(CLASSES)}),
        ("-y * log(yhat)", {"ignore_index": 0}),
    ],
    ids=["whole example", "torch's", "sum", "weight", "ignore_index"],
)
def test_refused_losses(name: str, arguments: dict[str, object]) -> None:
    refused = loss(name, **arguments)  # pyright: ignore[reportArgumentType]
    table = TabulatedPopulation(smooth(), classes=CLASSES)
    before = table._slopes._values.clone()
    for attempt in (lambda: TabulatedPopulation([refused], classes=CLASSES), lambda: table.replace(0, refused)):
        with pytest.raises(LossmithError, match="a table takes expressions") as raised:
            attempt()
        assert "\n" not in str(raised.value)
    assert torch.equal(table._slopes._values, before)


def test_refused_batches() -> None:
    table = TabulatedPopulation(smooth()[:3], classes=CLASSES)
    logits, labels = batch(3)
    for wrong in (
        (logits[:2], labels),
        (logits[..., :4], labels),
        (logits.double(), labels),
        (logits, labels.int()),
        (logits, labels[:2]),
        (logits, torch.softmax(logits, 2)),
        (logits[0], labels[0]),
    ):
        with pytest.raises(LossmithError, match="do not fit") as raised:
            table.value_and_gradient(*wrong)
        assert "\n" not in str(raised.value)
