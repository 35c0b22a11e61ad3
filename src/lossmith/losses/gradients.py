"""The gradient of a loss in the logits, of one piece of a batch; `lossmith.losses.kernels` says what it computes.

Legend: N examples, C classes, on dimension `dim`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossmith.losses.program import Program, Runner

LONG = 32_768  # elements from which on an operation costs more than calling it


def log_softmax(logits: Tensor, dim: int) -> Tensor:
    """log-softmax, but a class that is masked by a logit of -inf has the least finite number, since 0 * -inf is NaN."""
    log_p = torch.log_softmax(logits, dim)
    least = torch.finfo(logits.dtype).min
    return log_p.clamp(min=least) if log_p.requires_grad else log_p.clamp_min_(least)


def _full(x: Tensor | float, like: Tensor) -> Tensor:
    return x if isinstance(x, Tensor) else torch.full_like(like, x)


def _put(x: Tensor, index: Tensor, found: Tensor, dim: int) -> Tensor:
    """`x` with `found`, [N, 1], at the class `index`."""
    if torch.compiler.is_compiling():  # a comparison can be fused with what stands around it
        return torch.where(is_class(x, index, dim), found, x)
    return x.scatter(dim, index, found)  # not in place: a curve may be p itself


def transformed() -> bool:
    """Whether a transform of torch.func is under way, which wants plain operations and no look at a number."""
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportAttributeAccessIssue]


def is_class(like: Tensor, index: Tensor, dim: int) -> Tensor:
    """bool, the shape of `like`: whether an element's class is `index`."""
    shape = [-1 if axis == dim else 1 for axis in range(like.dim())]
    return torch.arange(like.shape[dim], device=like.device).view(shape) == index


def _double(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.double()


def _is(x: Tensor | float, number: float) -> bool:
    return isinstance(x, float) and x == number


@dataclass(frozen=True, slots=True)
class Rest:
    """1 - p where p may round to 1: computed from the other classes.

    There 1 - p loses its digits, and with them log(1 - p) and p_k / (1 - p), which the gradient wants. The sum of the
    others' probabilities keeps them as long as it does not underflow; beyond, their log-sum-exp does.
    """

    rest: Tensor  # [N, 1], 1 - p of the class `top`; at least the smallest normal number
    log_rest: Tensor  # [N, 1], its logarithm
    share: Tensor  # [N, C], p_k / (1 - p_top), 0 at `top`
    top: Tensor  # int64 [N, 1]

    @staticmethod
    def of(logits: Tensor, p: Tensor, top: Tensor, dim: int) -> Rest:
        tiny = torch.finfo(p.dtype).tiny
        plain = not (torch.compiler.is_compiling() or transformed() or p.requires_grad or p.device.type != "cpu")
        if plain and p.numel():  # the common case, at half the price
            others = p.scatter(dim, top, 0.0)
            rest = others.sum(dim, keepdim=True)
            if float(rest.amin()) > tiny * 1e8:  # so that the largest of the others keeps its digits
                return Rest(rest, rest.log(), others / rest, top)
        logits = logits - logits.detach().amax(dim, keepdim=True)  # or the difference below would lose digits
        masked = logits.scatter(dim, top, -torch.inf)
        log_rest = masked.logsumexp(dim, keepdim=True) - logits.logsumexp(dim, keepdim=True)
        log_rest = log_rest.clamp(min=torch.finfo(p.dtype).min, max=0.0)  # -inf where there is no other class
        share = torch.softmax(masked, dim).nan_to_num(nan=0.0)  # NaN likewise
        return Rest(log_rest.exp().clamp(min=tiny), log_rest, share, top)

    def log_rest_everywhere(self, p: Tensor, dim: int) -> Tensor:
        """log(1 - p) of every class, [N, C]."""
        return torch.log1p(-p.scatter(dim, self.top, 0.0)).scatter(dim, self.top, self.log_rest)

    def on_logits(self, slope: Tensor, p: Tensor, dim: int) -> Tensor:
        """The gradient in the logits of a function whose slope in log(1 - p) is given, [N, C].

        d log(1 - p_i) / d z_k is -p_i for k = i, and p_i p_k / (1 - p_i) else.
        """
        below_half = p.scatter(dim, self.top, 0.0)
        ratio = slope * below_half / (1 - below_half)
        spread = p * (ratio.sum(dim, keepdim=True) - ratio) - slope * p
        return spread + slope.gather(dim, self.top) * p.gather(dim, self.top) * self.share


@dataclass(frozen=True, slots=True)
class Curves:
    """An expression, evaluated over the classes of a piece of a batch."""

    run: Program
    dim: int

    def _widens(self, logits: Tensor) -> bool:
        """Whether float32 logits are computed with in float64: where f may overflow.

        There a value or slope within float32 may be a product of numbers that are not, and inf - inf is NaN:
        p * (1 / sqrt(p)) * 1e21 for the smallest p. MPS has no float64.
        """
        return self.run.guarded and logits.dtype == torch.float32 and logits.device.type != "mps"

    def _dtype(self, logits: Tensor) -> torch.dtype:
        return torch.float64 if self._widens(logits) else logits.dtype

    # -- soft targets ----------------------------------------------------------------------------------------------

    def values(self, logits: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """weight_c * f at every class, in plain operations."""
        if self._widens(logits):
            return self.values(logits.double(), y.double(), _double(weight)).to(logits.dtype)
        runner = self.run.runner(logits.dtype, slopes=False)
        p, log_p, _, log_rest = self._leaves(runner, logits)
        value = _full(runner(y, p, log_p, log_rest, logits.device)[0], logits)
        return value if weight is None else value * weight

    def gradients(
        self, logits: Tensor, y: Tensor, weight: Tensor | None, *, target: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """(weight_c * f at every class, the gradient of its sum over classes in the logits, that in y or None)."""
        if self._widens(logits):
            value, on_logits, on_y = self.gradients(logits.double(), y.double(), _double(weight), target=target)
            return value.to(logits.dtype), on_logits.to(logits.dtype), None if on_y is None else on_y.to(y.dtype)
        runner = self.run.runner(logits.dtype, target=target)
        p, log_p, rest, log_rest = self._leaves(runner, logits)
        value, on_p, on_log_p, on_log_rest, on_y = runner(y, p, log_p, log_rest, logits.device)
        value = _full(value, logits)
        if weight is not None:
            value, on_p, on_log_p, on_log_rest, on_y = (
                x if _is(x, 0.0) else _full(x, logits) * weight for x in (value, on_p, on_log_p, on_log_rest, on_y)
            )
        on_logits = self._on_logits(p, log_p, rest, on_p, on_log_p, on_log_rest, logits)
        return value, on_logits, _full(on_y, logits) if target else None

    def _leaves(
        self, runner: Runner, logits: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Rest | None, Tensor | None]:
        """(p, log p, 1 - p, log(1 - p)), each where it is needed."""
        dim, reads = self.dim, runner.reads
        if not (reads["log_p"] or reads["log_rest"]):
            return torch.softmax(logits, dim), None, None, None
        log_p = log_softmax(logits, dim)
        if not reads["log_rest"]:
            return log_p.exp() if reads["p"] else None, log_p, None, None
        p = log_p.exp()
        rest = Rest.of(logits, p, p.detach().argmax(dim, keepdim=True), dim)
        return p, log_p, rest, rest.log_rest_everywhere(p, dim)

    def _on_logits(
        self,
        p: Tensor | None,
        log_p: Tensor | None,
        rest: Rest | None,
        on_p: Any,
        on_log_p: Any,
        on_log_rest: Any,
        logits: Tensor,
    ) -> Tensor:
        flat_log = _is(on_log_p, 0.0)
        if flat_log and _is(on_p, 0.0):
            on_logits = None
        elif flat_log and p is not None:
            on_logits = torch._softmax_backward_data(  # pyright: ignore[reportPrivateImportUsage]
                _full(on_p, logits), p, self.dim, p.dtype
            )
        else:
            d = logits if p is None else p  # for its shape
            on_logits = self._centred(_full(self._slope(on_p, on_log_p, p), d), p, log_p)
        if rest is not None and p is not None and not _is(on_log_rest, 0.0):
            more = rest.on_logits(_full(on_log_rest, logits), p, self.dim)
            on_logits = more if on_logits is None else on_logits + more
        return torch.zeros_like(logits) if on_logits is None else on_logits

    def _centred(self, d: Tensor, p: Tensor | None, log_p: Tensor | None) -> Tensor:
        """d - p * sum(d), d the slope in log p."""
        if log_p is not None:
            return torch._log_softmax_backward_data(  # pyright: ignore[reportPrivateImportUsage]
                d, log_p, self.dim, d.dtype
            )
        if p is None:
            raise AssertionError("a program that reads neither p nor log p has no slope")
        return torch.addcmul(d, p, d.sum(self.dim, keepdim=True), value=-1)

    def prepare(self, logits: Tensor, targets: tuple[float, float] | None) -> None:
        """Make the runners before a compiler traces their use."""
        for y in targets or (None,):
            self.run.runner(self._dtype(logits), y=y)

    # -- hard labels -----------------------------------------------------------------------------------------------

    def suits(self, logits: Tensor, high: float, low: float, weight: Tensor | None) -> bool:
        """Whether two curves are faster than one function of (y, p): always, where the curve of the others is flat.

        Otherwise each costs about as many operations as the function, which pays once the operations are long.
        """
        elsewhere = self.run.runner(self._dtype(logits), y=low)
        if elsewhere.constant is not None and (weight is None or elsewhere.constant == 0.0):
            return True
        at = self.run.runner(self._dtype(logits), y=high)
        return logits.numel() > LONG and not (elsewhere.reads["log_rest"] or at.reads["log_rest"])

    def of_labels(
        self, logits: Tensor, index: Tensor, targets: tuple[float, float], weight: Tensor | None, *, slopes: bool
    ) -> tuple[Tensor, Tensor | None]:
        """(the values, of which each example's are to be summed, and their gradient if wanted); see `label_sum`."""
        if self._widens(logits):
            value, on_logits = self.of_labels(logits.double(), index, targets, _double(weight), slopes=slopes)
            return value.to(logits.dtype), None if on_logits is None else on_logits.to(logits.dtype)
        high, low = targets
        at = self.run.runner(logits.dtype, y=high, slopes=slopes)
        elsewhere = self.run.runner(logits.dtype, y=low, slopes=slopes)
        if elsewhere.constant is not None and (weight is None or elsewhere.constant == 0.0):
            return self._of_target(logits, index, at, elsewhere.constant, weight, slopes=slopes)
        dim = self.dim
        log_p = log_p_t = None
        if at.reads["log_p"] or elsewhere.reads["log_p"]:
            log_p = log_softmax(logits, dim)
            log_p_t = log_p.gather(dim, index)
            p = log_p.exp()
        else:
            p = torch.softmax(logits, dim)
        p_t = p.gather(dim, index)
        value_t, on_p_t, on_log_t, _, _ = at(None, p_t, log_p_t, None, logits.device)
        value, on_p, on_log, _, _ = elsewhere(None, p, log_p, None, logits.device)
        value = _put(_full(value, logits), index, _full(value_t, p_t), dim)
        value = value if weight is None else value * weight
        if not slopes:
            return value, None
        d_t = _full(self._slope(on_p_t, on_log_t, p_t), p_t)
        d = _put(_full(self._slope(on_p, on_log, p), p), index, d_t, dim)
        return value, self._centred(d if weight is None else d * weight, p, log_p)

    def _of_target(
        self, logits: Tensor, index: Tensor, at: Runner, elsewhere: float, weight: Tensor | None, *, slopes: bool
    ) -> tuple[Tensor, Tensor | None]:
        """`of_labels` where the other classes' curve is the number `elsewhere` (0 if there are weights)."""
        dim, reads = self.dim, at.reads
        p = log_p_t = rest = None
        if reads["log_p"]:
            log_p = log_softmax(logits, dim)
            log_p_t = log_p.gather(dim, index)
            p = log_p.exp() if slopes or reads["log_rest"] else None
            p_t = log_p_t.exp() if reads["p"] or reads["log_rest"] else log_p_t  # else for its shape
        else:
            p = torch.softmax(logits, dim)
            p_t = p.gather(dim, index)
        if reads["log_rest"] and p is not None:
            rest = Rest.of(logits, p, index, dim)
        log_rest = None if rest is None else rest.log_rest
        value, on_p, on_log_p, on_log_rest, _ = at(None, p_t, log_p_t, log_rest, logits.device)
        value = _full(value, p_t)
        if weight is not None:
            factor = weight.expand_as(logits).gather(dim, index)
            value, on_p, on_log_p, on_log_rest = (
                x if _is(x, 0.0) else x * factor for x in (value, on_p, on_log_p, on_log_rest)
            )
        if elsewhere:
            value = value + elsewhere * (logits.shape[dim] - 1)
        if not slopes or p is None:
            return value, None
        d = self._slope(on_p, on_log_p, p_t)
        if rest is not None:  # d_t (1 - p_t) without loss of digits, and what log(1 - p_t) gives to the others
            spread = _full(on_log_rest, p_t) * p_t
            return value, _put(rest.share * (spread - d * rest.rest), index, d * rest.rest - spread, dim)
        if torch.compiler.is_compiling():
            return value, _put(p * -d, index, _full(d, p_t) * (1 - p.gather(dim, index)), dim)
        if isinstance(d, float):
            on_logits = p if d == -1.0 else p * -d
            return value, on_logits.scatter_add_(dim, index, torch.full_like(p_t, d))
        return value, (p * -d).scatter_add_(dim, index, d)

    def _slope(self, on_p: Any, on_log_p: Any, p: Tensor | None) -> Any:
        """The slope in log p; a number where it is one."""
        if _is(on_p, 0.0) or p is None:
            return on_log_p
        slope = _full(on_p, p)
        return slope * p if _is(on_log_p, 0.0) else torch.addcmul(_full(on_log_p, p), slope, p)
