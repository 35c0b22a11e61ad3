"""Straight-line programs: what folding, sharing, simplifying and joining steps may and may not change."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from lossmith.losses.symbolic import differentiate
from lossmith.losses.tape import LEAVES, OPERATIONS, Operand, Step, Symbol, Tape
from lossmith.space.expression import Expression
from lossmith.space.operators import OPERATORS

_TERNARY = ("addmul", "submul", "where")
_BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "gt", "ge", "lt", "le", "eq")
_BINARY += ("cast", "limit_product", "unless_nan")


def arguments_of(name: str) -> tuple[float, ...]:
    """Numbers at which the operation is defined, as many as it takes."""
    if name in _TERNARY:
        return (1.0, 0.25, 0.75)
    return (0.375, 0.625) if name in _BINARY else (0.375,)


def run(steps: tuple[Step, ...], results: list[Operand], leaves: dict[str, Tensor]) -> list[Tensor]:
    """The program, step by step, as anyone would write it."""
    values: list[Tensor] = []
    (like,) = {leaf.dtype for leaf in leaves.values()}

    def value(operand: Operand) -> Tensor:
        return torch.tensor(operand, dtype=like) if isinstance(operand, float) else values[operand]

    for step in steps:
        found = leaves[step.operation] if step.operation in LEAVES else None
        values.append(OPERATIONS[step.operation](*map(value, step.operands)) if found is None else found)
    return [value(result) for result in results]


def tape(*, careful: bool = False, dtype: torch.dtype = torch.float64) -> Tape:
    return Tape(dtype, careful=careful)


def test_every_operation_is_reached_by_some_loss() -> None:
    reached: set[str] = set()
    for name, operator in OPERATORS.items():
        for inner in ("yhat + 2*y", "exp(1/yhat) + y", "exp(-log(yhat)) - y"):
            call = f"{name}({inner})" if operator.arity == 1 else f"{name}({inner}, 1 + yhat*y)"
            for y in (None, 1.0, 0.05):
                expression = Expression.from_text(f"{call} - 3*y*log(1 - yhat)")
                reached |= {step.operation for step in differentiate(expression, torch.float64, y=y).steps}
    assert reached == OPERATIONS.keys() | set(LEAVES)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_constants_are_folded_as_torch_computes(name: str, dtype: torch.dtype) -> None:
    numbers = arguments_of(name)
    folded = tape(dtype=dtype).apply(name, *numbers)
    tensors = [torch.tensor(number, dtype=dtype) for number in numbers]
    if name == "where":
        tensors[0] = tensors[0] != 0  # a condition that is known is a number here
    expected = OPERATIONS[name](*tensors)
    assert folded.ref == float(expected)
    assert isinstance(folded.ref, float)


@pytest.mark.parametrize("name", OPERATIONS)
def test_steps_compute_what_torch_does(name: str) -> None:
    """Each operation with leaves for operands; a comparison where a condition is wanted."""
    t = tape()
    leaves = {"p": torch.tensor([0.2, 0.5, 0.9]).double(), "y": torch.tensor([0.5, 0.5, 0.1]).double()}
    p, y = t.leaf("p"), t.leaf("y")
    arity = len(arguments_of(name))
    symbols: list[Any] = [p, y, p + y][:arity]
    tensors = [leaves["p"], leaves["y"], leaves["p"] + leaves["y"]][:arity]
    if name in ("where", "cast"):
        symbols[0], tensors[0] = p > y, leaves["p"] > leaves["y"]
    steps, results = t.finish([t.apply(name, *symbols)])
    assert torch.equal(run(steps, results, leaves)[0].expand(3), OPERATIONS[name](*tensors))


def test_a_constant_is_rounded_to_the_dtype() -> None:
    assert tape(dtype=torch.float32).constant(0.1).ref == torch.tensor(0.1).item() != 0.1
    assert tape().constant(0.1).ref == 0.1


def test_the_default_device_does_not_matter() -> None:
    with torch.device("meta"):
        assert (tape().constant(2.0) * 3.0).ref == 6.0
        slopes = differentiate(Expression.from_text("y * exp(0.5 * yhat) + sin(2)"), torch.float64, y=1.0)
    assert slopes.steps


def test_equal_steps_are_one_but_a_step_is_not_a_number() -> None:
    t = tape()
    y, p = t.leaf("y"), t.leaf("p")  # steps 0 and 1
    assert (y + p).ref == (y + p).ref == 2
    assert (t.apply("maximum", p, y)).ref != t.apply("maximum", p, 0.0).ref
    assert (t.apply("maximum", y, p)).ref != t.apply("maximum", y, 1.0).ref
    assert t.apply("maximum", p, 2.0).ref != t.apply("maximum", p, y + p).ref
    assert t.leaf("p").ref == p.ref


CASES: list[tuple[str, Callable[[Symbol, Symbol], Any], list[Step] | float]] = [
    ("x + 0", lambda p, y: p + 0, [Step("p", ())]),
    ("0 + x", lambda p, y: 0 + p, [Step("p", ())]),
    ("x - 0", lambda p, y: p - 0, [Step("p", ())]),
    ("0 - x", lambda p, y: 0 - p, [Step("p", ()), Step("neg", (0,))]),
    ("x * 1", lambda p, y: p * 1, [Step("p", ())]),
    ("-1 * x", lambda p, y: -1 * p, [Step("p", ()), Step("neg", (0,))]),
    ("x * 0", lambda p, y: p * 0, 0.0),
    ("x / 1", lambda p, y: p / 1, [Step("p", ())]),
    ("1 / x", lambda p, y: 1 / p, [Step("p", ()), Step("reciprocal", (0,))]),
    ("-1 / x", lambda p, y: -1 / p, [Step("p", ()), Step("reciprocal", (0,)), Step("neg", (1,))]),
    ("y * (1 / x)", lambda p, y: y * (1 / p), [Step("p", ()), Step("y", ()), Step("div", (1, 0))]),
    ("--x", lambda p, y: (-p).__neg__(), [Step("p", ())]),
    ("-(x - y)", lambda p, y: -(p - y), [Step("p", ()), Step("y", ()), Step("sub", (1, 0))]),
    ("x + -y", lambda p, y: p + -y, [Step("p", ()), Step("y", ()), Step("sub", (0, 1))]),
    ("-x + y", lambda p, y: -p + y, [Step("p", ()), Step("y", ()), Step("sub", (1, 0))]),
    ("x - -y", lambda p, y: p - -y, [Step("p", ()), Step("y", ()), Step("add", (0, 1))]),
    ("-x * y", lambda p, y: -p * y, [Step("p", ()), Step("y", ()), Step("mul", (0, 1)), Step("neg", (2,))]),
    ("-x / y", lambda p, y: -p / y, [Step("p", ()), Step("y", ()), Step("div", (0, 1)), Step("neg", (2,))]),
    ("|p|", lambda p, y: p.abs(), [Step("p", ())]),
    ("sign(p)", lambda p, y: p.sign(), 1.0),
    ("x + y * x", lambda p, y: p + y * p, [Step("p", ()), Step("y", ()), Step("addmul", (0, 1, 0))]),
    ("y * x + x", lambda p, y: y * p + p, [Step("p", ()), Step("y", ()), Step("addmul", (0, 1, 0))]),
    ("x - y * x", lambda p, y: p - y * p, [Step("p", ()), Step("y", ()), Step("submul", (0, 1, 0))]),
    (
        "y * x - x",
        lambda p, y: y * p - p,
        [Step("p", ()), Step("y", ()), Step("mul", (1, 0)), Step("sub", (2, 0))],
    ),
]


@pytest.mark.parametrize(("build", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_simplifications(build: Callable[[Symbol, Symbol], Any], expected: list[Step] | float) -> None:
    t = tape()
    p, y = t.leaf("p"), t.leaf("y")
    steps, (result,) = t.finish([build(p, y)])
    if not isinstance(expected, list):
        assert (steps, result) == ((), expected)
    else:
        assert list(steps) == expected
        assert result == len(expected) - 1


def test_a_product_is_joined_into_a_sum_only_where_nothing_else_reads_it() -> None:
    t = tape()
    p, y = t.leaf("p"), t.leaf("y")
    product = p * y
    steps, results = t.finish([product + p, product])
    assert [step.operation for step in steps] == ["p", "y", "mul", "add"]
    assert results == [3, 2]
    t = tape()
    p, y = t.leaf("p"), t.leaf("y")
    steps, _ = t.finish([(p * y + p) * (p * y + y)])
    assert [step.operation for step in steps].count("mul") == 2


def test_what_nothing_needs_is_left_out() -> None:
    t = tape()
    p, y = t.leaf("p"), t.leaf("y")
    t.apply("exp", p)
    steps, (result,) = t.finish([t.apply("sin", y)])
    assert steps == (Step("y", ()), Step("sin", (0,)))
    assert result == 1


def test_careful_tapes_keep_zero_times_infinity() -> None:
    """0 * x is not 0 there, a sum is not joined, and the guard of a product survives the move of a minus."""
    t = tape(careful=True)
    p, y = t.leaf("p"), t.leaf("y")
    steps, _ = t.finish([p * 0 + y])
    assert [step.operation for step in steps] == ["p", "y", "mul", "add"]
    for factors in ((-p, y), (p, -y), (-p, -y)):
        guarded = t.product(*factors)
        found = [step.operation for step in t.finish([guarded])[0]]
        assert "limit_product" in found
        assert "mul" not in found
    infinite = {"p": torch.tensor([0.0]), "y": torch.tensor([torch.inf])}
    steps, results = t.finish([t.product(-p, y), t.product(p, y), t.product(p, t.constant(-2.0))])
    assert [float(value) for value in run(steps, results, infinite)] == [0.0, 0.0, 0.0]


def test_limit_product_and_unless_nan() -> None:
    inf, nan = torch.inf, torch.nan
    a, b = torch.tensor([0.0, inf, 2.0, inf, -inf]), torch.tensor([inf, 0.0, 3.0, 2.0, 2.0])
    assert OPERATIONS["limit_product"](a, b).tolist() == [0.0, 0.0, 6.0, inf, -inf]
    slope = OPERATIONS["unless_nan"](torch.tensor([1.0, nan, inf]), torch.tensor([4.0, 5.0, 6.0])).tolist()
    assert slope[0] == 4.0
    assert math.isnan(slope[1])
    assert slope[2] == 6.0


def test_unknown_functions_are_refused() -> None:
    p = tape().leaf("p")
    with pytest.raises(NotImplementedError, match="no symbolic form"):
        torch.cumsum(p, 0)  # pyright: ignore[reportArgumentType, reportCallIssue]
    with pytest.raises(NotImplementedError, match="alpha"):
        torch.add(p, p, alpha=2)  # pyright: ignore[reportArgumentType, reportCallIssue]


# -- random programs --------------------------------------------------------------------------------------------------

_NUMBERS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 1e-7])
_TREES = st.recursive(
    st.one_of(st.sampled_from(["p", "y"]), _NUMBERS),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["neg", "abs", "sign", "exp", "square", "sin"]), inner),
        st.tuples(st.sampled_from(["add", "sub", "mul", "div", "maximum", "minimum", "gt"]), inner, inner),
    ),
    max_leaves=12,
)


def computed(tree: Any, leaves: dict[str, Tensor], seen: list[Tensor]) -> Tensor:
    """The tree by torch, every value on the way put into `seen`."""
    if isinstance(tree, float):
        return torch.full((3,), tree, dtype=torch.float64)
    if isinstance(tree, str):
        return leaves[tree]
    operation, *inner = tree
    value = OPERATIONS[operation](*(computed(x, leaves, seen) for x in inner)).double()
    seen.append(value)
    return value


def recorded(tree: Any, t: Tape, leaves: dict[str, Symbol]) -> Symbol:
    if isinstance(tree, float):
        return t.constant(tree)
    if isinstance(tree, str):
        return leaves[tree]
    operation, *inner = tree
    result = t.apply(operation, *(recorded(x, t, leaves) for x in inner))
    return t.apply("cast", result, leaves["p"]) if operation == "gt" else result


@given(_TREES, st.booleans())
def test_random_programs(tree: Any, careful: bool) -> None:
    """Wherever all numbers on the way are finite, and with a careful tape everywhere, up to rounding."""
    leaves = {"p": torch.tensor([0.25, 0.5, 0.75]).double(), "y": torch.tensor([0.0, 1.0, 0.125]).double()}
    seen: list[Tensor] = []
    expected = computed(tree, leaves, seen)
    finite = all(value.isfinite().all() and value.abs().max() < 1e6 for value in seen)
    assume(finite or careful)
    assume(not any(((value != 0) & (value.abs() < 1e-9)).any() for value in seen))  # no digits are left
    t = tape(careful=careful)
    steps, results = t.finish([recorded(tree, t, {"p": t.leaf("p"), "y": t.leaf("y")})])
    (found,) = run(steps, results, leaves)
    found = found.double().expand(3)
    if finite:
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    else:  # the sign of a zero may change, and with it that of an infinity
        assert torch.equal(found.isfinite(), expected.isfinite())
        torch.testing.assert_close(found.abs(), expected.abs(), rtol=1e-6, atol=1e-6, equal_nan=True)
