"""What is known of a published loss, and how its parameters are checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from lossmith.errors import LossmithError, nearest
from lossmith.space.expression import Expression, number_text


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a zoo loss takes."""

    name: str
    default: float
    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False  # whether `low` itself is excluded
    high_open: bool = False

    @property
    def range_text(self) -> str:
        """For people: '[0, 1)', 'at least 0' or 'any number'."""
        if math.isinf(self.high):
            return "any number" if math.isinf(self.low) else f"at least {number_text(self.low)}"
        left, right = "(" if self.low_open else "[", ")" if self.high_open else "]"
        return f"{left}{number_text(self.low)}, {number_text(self.high)}{right}"

    def accepts(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below and abs(value) < math.inf


@dataclass(frozen=True, slots=True)
class ZooLoss:
    """A published loss; what `lossmith zoo` prints.

    There are three kinds. Most are an expression f(y, yhat), summed over the classes. Cross-entropy with and without a
    smoothed target is that too, but the module delegates to torch. The third kind is a function of the whole example,
    which no sum over classes can say.
    """

    name: str
    formula: str  # for people, in y, yhat, K and the parameters' names; of one class, unless it says `sum`
    latex: str
    reference: str  # paper, and equation where there is one
    note: str  # the one thing that a user must know
    soft: str  # what soft targets mean
    parameters: tuple[Parameter, ...] = ()
    # the parameters -> a formula in the formula language; None for a function of the whole example
    template: Callable[..., str] | None = None
    # (logits, y, dim, the parameters) -> one value per example; None for an expression
    function: Callable[..., Tensor] | None = None
    # Cross-entropy to a smoothed target: the module delegates to torch, with the parameter `smoothing` if there is one.
    delegates: bool = False

    @property
    def kind(self) -> str:
        """'cross-entropy', 'sum over classes' or 'whole example'."""
        if self.delegates:
            return "cross-entropy"
        return "whole example" if self.template is None else "sum over classes"

    def expression(self, **given: float) -> Expression | None:
        """The loss of one class with these parameters, the others at their defaults; None for a whole-example loss.

        It may read `K`: `Expression.bind` it before it is evaluated.

        Raises:
            LossmithError: as `settle`.
        """
        settled = self.settle(given)
        return None if self.template is None else Expression.from_text(self.template(**settled))

    def settle(self, given: Mapping[str, float]) -> dict[str, float]:
        """All parameters, `given` ones checked, the others at their defaults.

        Raises:
            LossmithError: an unknown parameter, not a number, or out of range.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in known:
                takes = f"it takes {', '.join(known)}" if known else "it takes none"
                raise LossmithError(
                    f"zoo loss '{self.name}': unknown parameter '{name}'{nearest(name, known)}; {takes}"
                )
        return {name: _number(self.name, parameter, given) for name, parameter in known.items()}


def _number(loss: str, parameter: Parameter, given: Mapping[str, float]) -> float:
    value = given.get(parameter.name, parameter.default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LossmithError(f"zoo loss '{loss}': {parameter.name} must be a number, found {value!r:.80}")
    if not parameter.accepts(value):
        bounds = f"{'in ' if math.isfinite(parameter.high) else ''}{parameter.range_text}"
        raise LossmithError(f"zoo loss '{loss}': {parameter.name} must be {bounds}, found {value}")
    return float(value)
