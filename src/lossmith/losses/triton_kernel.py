"""The analytic path on a CUDA device: one generated Triton kernel a loss; `kernels` holds the eager one, its reference.

A batch of logits [N, C] is read once and its gradient written once, where the eager path makes about as many passes
over memory as the formula has operations. Triton compiles a kernel at its first call, in about a second, for the loss,
C, the dtype and whether there are weights; N is no part of that. It keeps the result on disk (`TRITON_CACHE_DIR`, by
default ~/.triton), for later processes.

The eager path still serves losses that may overflow (it computes them in float64), float64, logits of one or more than
two dimensions or not contiguous, the gradient in a soft target, second derivatives, values without a gradient, and
machines without Triton. `LOSSMITH_TRITON=0` in the environment makes it serve all.

What is verified, and how: values and gradients of every operator, the zoo and random losses, against the eager path, in
Triton's interpreter on the CPU; that the kernels compile for NVIDIA GPUs of compute capability 8.0 and 9.0, and keep to
their registers, with Triton's own compiler, which needs no GPU. No GPU was at hand: speed, and the rounding of the
hardware's exponential, are not measured. The tests marked `gpu` do that.

Legend: N examples, C classes.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import Parameter

from lossmith.errors import LossmithError
from lossmith.losses.symbolic import Slopes, differentiate

if TYPE_CHECKING:
    from lossmith.losses.program import Program

SWITCH = "LOSSMITH_TRITON"  # the environment variable; 0 is off

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Columns that one block holds; beyond, a row is gone over several times. More would not fit in registers.
_MOST = 4_096
_MOST_FLAT = 16_384  # where only the label's curve is computed
_TILE = 1_024  # elements of a block of several rows
_PER_WARP = 256  # elements, 8 a thread
_MOST_WARPS = 16


def usable(run: Program, logits: Tensor, dim: int) -> bool:
    """Whether `evaluate` takes these logits, with the classes on dimension `dim`."""
    return (
        logits.is_cuda
        and not run.guarded
        and type(logits) in (Tensor, Parameter)  # no subclass, which may be no memory at all
        and logits.dim() == 2
        and dim == 1
        and logits.dtype in _DTYPES
        and logits.is_contiguous()
        and os.environ.get(SWITCH, "1") != "0"
        and _installed()
    )


@functools.cache
def _installed() -> bool:
    return torch.version.cuda is not None and importlib.util.find_spec("triton") is not None


def evaluate(
    run: Program, logits: Tensor, y: Tensor, targets: tuple[float, float] | None, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The values of a loss and their gradient.

    Args:
        run: the expression f, one that cannot overflow.
        logits: float32, bfloat16 or float16 [N, C], contiguous; on a CUDA device (the CPU in Triton's interpreter).
        y: with `targets` int64 labels [N, 1]; else target probabilities [N, C].
        targets: the y of the labelled class and of the others, or None where the target is soft.
        weight: of the classes, C elements, or None.

    Returns:
        (float32 [N] sum over classes of weight_c * f(y_c, p_c), its gradient in the logits, [N, C] in their dtype).

    Raises:
        LossmithError: Triton cannot compile or start the kernel.
    """
    examples, classes = logits.shape
    values = torch.empty(examples, dtype=torch.float32, device=logits.device)
    gradient = torch.empty_like(logits)
    if not logits.numel():
        return values.zero_(), gradient
    planned = plan(run, classes, targets, weight is not None)
    target = y.contiguous() if targets is not None else y.to(torch.float32).contiguous()
    weight = None if weight is None else weight.to(torch.float32).reshape(-1).contiguous()
    device = torch.cuda.device(logits.device) if logits.is_cuda else contextlib.nullcontext()
    try:
        with device:
            planned.kernel[(-(-examples // planned.constants["ROWS"]),)](
                logits,
                target,
                weight,
                values,
                gradient,
                examples,
                *planned.bounds,
                **planned.constants,
                **planned.options,
            )
    except Exception as error:  # Triton's errors have no base of their own
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LossmithError(
            f"loss '{run.expression.text}': its Triton kernel for {classes} classes failed: {first:.300}; set"
            f" {SWITCH}=0 in the environment to compute without it"
        ) from error
    return values, gradient


@dataclass(frozen=True, slots=True)
class Plan:
    """A kernel and how it is launched."""

    kernel: Any  # a Triton function
    bounds: tuple[int, ...]  # of its loops: not a constant, or they would be unrolled
    constants: dict[str, Any]  # what it is compiled for
    options: dict[str, Any]  # of the compiler


@functools.lru_cache(maxsize=1024)
def plan(run: Program, classes: int, targets: tuple[float, float] | None, weighted: bool) -> Plan:
    """The kernel of a loss for a number of classes; the arguments are those of `evaluate`."""
    from lossmith.losses.triton_long_rows import many_blocks  # noqa: PLC0415 - it imports Triton
    from lossmith.losses.triton_rows import one_block  # noqa: PLC0415 - likewise
    from lossmith.losses.triton_source import compiled, source  # noqa: PLC0415 - likewise

    curve = _slopes(run, None if targets is None else targets[1])
    curve_t = curve if targets is None else _slopes(run, targets[0])
    # with weights, a flat curve must be 0 for its sum to be known; as in `gradients`
    constant = None if targets is None else curve.constant
    flat = constant is not None and (constant == 0.0 or not weighted)
    rest = curve_t.reads("log_rest") or (not flat and curve.reads("log_rest"))
    block = max(2, 1 << (classes - 1).bit_length())
    rows = max(1, _TILE // block)
    many = block > (_MOST_FLAT if flat and not rest else _MOST)
    block = _MOST if many else block
    constants = {
        "curve_t": compiled(source(curve_t)),
        "curve": compiled(source(curve)),
        "elsewhere": constant * (classes - 1) if flat and constant else 0.0,
        "CLASSES": classes,
        "ROWS": rows,
        "BLOCK": block,
        "LABELS": targets is not None,
        "FLAT": flat,
        "WEIGHTED": weighted,
        "REST": rest,
    }
    warps = min(_MOST_WARPS, max(1, rows * block // _PER_WARP))
    # debug: a wrong label ends the process's use of the device, as in torch; sums of integers are not checked
    options = {"num_warps": warps, "debug": targets is not None, "sanitize_overflow": False}
    if many:
        return Plan(many_blocks, (classes,), constants, options)
    return Plan(one_block, (), constants, options)


def _slopes(run: Program, y: float | None) -> Slopes:
    return differentiate(run.expression, torch.float32, y=y, joined=True)
