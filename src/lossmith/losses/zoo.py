"""Published losses: pure functions, and the table of what there is.

Every function gives f(y_c, p_c) at each class; a loss sums it over the classes. `y` holds target probabilities, `log_p`
log-softmax outputs; both any (equal) shape, float32 or float64; the result has that shape and dtype and is
differentiable in both. Parameters are keyword-only; their ranges stand in `ZOO` and are checked by `lossmith.loss`.

The losses "NeuroLoss1" to "NeuroLoss3" and "inverse Bessel logarithm" are not here: their formulas stand only in papers
that were not at hand. `lossmith.loss` takes any formula as text, so each is one line for whoever has the paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from lossmith.errors import LossmithError, nearest
from lossmith.space.expression import number_text
from lossmith.space.operators import EPS


def cross_entropy(y: Tensor, log_p: Tensor) -> Tensor:
    """-y log p.

    As a module it is `torch.nn.functional.cross_entropy` itself, bit for bit.
    """
    return -y * log_p


def label_smoothing(y: Tensor, log_p: Tensor, *, classes: int, smoothing: float = 0.1) -> Tensor:
    """-((1 - s) y + s / K) log p: cross-entropy to a target mixed with the uniform one.

    Source: Szegedy et al. 2016, arXiv 1512.00567, section 7. As a module it is `torch.nn.functional.cross_entropy` with
    its argument `label_smoothing`.

    Args:
        y, log_p: see the module's docstring.
        classes: K, at least 1.
        smoothing: s in [0, 1); 0 is cross-entropy.
    """
    return -((1 - smoothing) * y + smoothing / classes) * log_p


def focal(y: Tensor, log_p: Tensor, *, gamma: float = 2.0) -> Tensor:
    """-y (1 - p)^gamma log p: less weight on what is already right.

    Source: Lin et al. 2017, arXiv 1708.02002, equation 4, -(1 - p_t)^gamma log p_t, which this equals for hard labels.
    For soft labels this is the form per class, so gamma = 0 is cross-entropy for any target; the paper defines none.

    Args:
        y, log_p: see the module's docstring.
        gamma: at least 0; 0 is cross-entropy.
    """
    # 1 - p through expm1, so that it is 0 only where log p is. The bound matters for 0 < gamma < 1 alone: the slope
    # gamma (1-p)^(gamma-1) is infinite at 1 - p = 0, and times log p = 0 it would be NaN where the limit is 0.
    rest = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
    return -y * rest**gamma * log_p


def poly1(y: Tensor, log_p: Tensor, *, epsilon: float = 2.0) -> Tensor:
    """-y log p + epsilon y (1 - p): cross-entropy with another first coefficient of its polynomial in 1 - p.

    Source: Leng et al. 2022, arXiv 2204.12511, CE + epsilon (1 - p_t), which this equals for hard labels.

    Args:
        y, log_p: see the module's docstring.
        epsilon: at least -1, below which the loss rises towards p = 1; 0 is cross-entropy.
    """
    return -y * log_p - epsilon * y * torch.expm1(log_p)


def baikal(y: Tensor, log_p: Tensor) -> Tensor:
    """-[log(p + d) - y / (p + d)] with d = 1e-7: least at a probability below 1, and lower with more classes.

    Source: Gonzalez and Miikkulainen 2019, arXiv 1905.11528. Summed over classes as in the paper's program;
    other ports average, which is a learning rate K times smaller. Its slope in the logits reaches 2.5e6 near p = 1e-7
    at the target, beyond float16: keep the logits in float32 or bfloat16.
    """
    p = log_p.exp() + EPS
    return y / p - torch.log(p)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a zoo loss takes."""

    name: str
    default: float
    low: float  # inclusive
    high: float  # exclusive; infinity for no bound

    @property
    def range_text(self) -> str:
        """For people: '[0, 1)' or 'at least 0'."""
        if math.isinf(self.high):
            return f"at least {number_text(self.low)}"
        return f"[{number_text(self.low)}, {number_text(self.high)})"


@dataclass(frozen=True, slots=True)
class ZooLoss:
    """A published loss; what `lossmith zoo` prints."""

    name: str
    function: Callable[..., Tensor]
    formula: str  # for people, in y, yhat and the parameters' names
    latex: str
    reference: str  # paper, and equation where there is one
    parameters: tuple[Parameter, ...] = ()
    # In the formula language, with {parameter} fields; empty where the language cannot say it. The module then runs on
    # the analytic kernel, and the loss can be exported, compared and mutated like an evolved one.
    template: str = ""
    # Cross-entropy to a smoothed target: the module delegates to torch, with the parameter `smoothing` if there is one.
    delegates: bool = False

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
    if not (parameter.low <= value < parameter.high):
        raise LossmithError(f"zoo loss '{loss}': {parameter.name} must be {parameter.range_text}, found {value}")
    return float(value)


def _table(*losses: ZooLoss) -> Mapping[str, ZooLoss]:
    return MappingProxyType({loss.name: loss for loss in losses})


ZOO: Mapping[str, ZooLoss] = _table(
    ZooLoss(
        name="cross_entropy",
        function=cross_entropy,
        formula="-y * log(yhat)",
        latex=r"-y \ln \hat{y}",
        reference="torch.nn.functional.cross_entropy",
        template="-y * log(yhat)",
        delegates=True,
    ),
    ZooLoss(
        name="label_smoothing",
        function=label_smoothing,
        formula="-((1 - smoothing) * y + smoothing / K) * log(yhat)",
        latex=r"-\left((1-s)\, y + \frac{s}{K}\right) \ln \hat{y}",
        reference="Szegedy et al. 2016, arXiv 1512.00567, section 7",
        parameters=(Parameter("smoothing", 0.1, 0.0, 1.0),),
        delegates=True,
    ),
    ZooLoss(
        name="focal",
        function=focal,
        formula="-y * (1 - yhat)^gamma * log(yhat)",
        latex=r"-y \left(1-\hat{y}\right)^{\gamma} \ln \hat{y}",
        reference="Lin et al. 2017, arXiv 1708.02002, equation 4",
        parameters=(Parameter("gamma", 2.0, 0.0, math.inf),),
    ),
    ZooLoss(
        name="poly1",
        function=poly1,
        formula="-y * log(yhat) + epsilon * y * (1 - yhat)",
        latex=r"-y \ln \hat{y} + \varepsilon\, y \left(1-\hat{y}\right)",
        reference="Leng et al. 2022, arXiv 2204.12511",
        parameters=(Parameter("epsilon", 2.0, -1.0, math.inf),),
        template="{epsilon} * (y * (1 - yhat)) - y * log(yhat)",
    ),
    ZooLoss(
        name="baikal",
        function=baikal,
        formula="-(log(yhat + 1e-7) - y / (yhat + 1e-7))",
        latex=r"-\left(\ln\left(\hat{y}+\epsilon\right) - \frac{y}{\hat{y}+\epsilon}\right)",
        reference="Gonzalez and Miikkulainen 2019, arXiv 1905.11528",
        template="y / yhat - log_abs(yhat)",  # the language's `/` and `log_abs` hold the 1e-7
    ),
)
