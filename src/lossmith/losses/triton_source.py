"""Curves of a loss, printed as Triton functions.

The text holds nothing but the operator table's own operations, numbers, and the names below. It is compiled from
memory, under a name that is the hash of the text; Triton reads it through `linecache`. So no generated file is ever
executed from a disk, and processes cannot meet there. What Triton compiles from it, it keeps in a cache of its own on
disk, under a hash of the text.
"""

from __future__ import annotations

import functools
import hashlib
import linecache
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lossmith.losses.symbolic import Slopes
from lossmith.losses.tape import LEAVES, OPERATIONS, Operand

_HEADER = """\
import triton
import triton.language as tl
from lossmith.losses.triton_functions import *


@triton.jit
def curve(y, p, log_p, log_rest):
"""

# One spelling of every operation of `tape.OPERATIONS`. {name} is its name, and a function's in `triton_functions`.
_SPELLINGS: Mapping[str, str] = MappingProxyType(
    {
        "add": "{0} + {1}",
        "sub": "{0} - {1}",
        "mul": "{0} * {1}",
        "div": "{0} / {1}",
        "addmul": "{0} + {1} * {2}",
        "submul": "{0} - {1} * {2}",
        "neg": "-{0}",
        "reciprocal": "1.0 / {0}",
        "abs": "tl.abs({0})",
        "exp": "tl.exp({0})",
        "log": "tl.log({0})",
        "sqrt": "tl.sqrt({0})",
        "rsqrt": "tl.rsqrt({0})",
        "square": "{0} * {0}",
        "sin": "tl.sin({0})",
        "cos": "tl.cos({0})",
        "erf": "tl.erf({0})",
        "relu": "maximum({0}, 0.0)",
        "gt": "{0} > {1}",
        "ge": "{0} >= {1}",
        "lt": "{0} < {1}",
        "le": "{0} <= {1}",
        "eq": "{0} == {1}",
        "cast": "{0}.to(tl.float32)",
        "where": "tl.where({0}, {1}, {2})",
    }
    | dict.fromkeys(("sign", "log10", "sinh", "cosh", "asinh", "tanh", "atan", "sigmoid"), "{name}({0})")
    | dict.fromkeys(("erfc", "i0", "i0e", "i1", "i1e"), "{name}({0})")
    | dict.fromkeys(("maximum", "minimum", "limit_product", "unless_nan"), "{name}({0}, {1})")
)
if _SPELLINGS.keys() != OPERATIONS.keys():
    raise AssertionError(f"operations without a spelling, or the reverse: {_SPELLINGS.keys() ^ OPERATIONS.keys()}")


def source(slopes: Slopes) -> str:
    """The text of a module whose function `curve` (y, p, log_p, log_rest) gives (f, on_log_p, on_log_rest).

    Args:
        slopes: float32, joined (no slope on p is left), without the slope in y.
    """
    if slopes.on_p != 0.0 or slopes.on_y != 0.0:
        raise AssertionError("the slope on p must be part of the one on log p, and there is none in y")
    constants: dict[str, str] = {}

    def name(operand: Operand) -> str:
        if isinstance(operand, int):
            step = slopes.steps[operand]
            return step.operation if step.operation in LEAVES else f"x{operand}"
        # Triton would take a Python number that is subnormal in float32 for a float64
        text = f'float("{operand}")' if not math.isfinite(operand) else repr(operand)
        return constants.setdefault(f"tl.full((), {text}, tl.float32)", f"c{len(constants)}")

    lines = [
        f"x{i} = {_SPELLINGS[step.operation].format(*map(name, step.operands), name=step.operation)}"
        for i, step in enumerate(slopes.steps)
        if step.operation not in LEAVES
    ]
    lines.append(f"return {name(slopes.value)}, {name(slopes.on_log_p)}, {name(slopes.on_log_rest)}")
    lines = [f"{name} = {full}" for full, name in constants.items()] + lines
    return _HEADER + "".join(f"    {line}\n" for line in lines)


@functools.lru_cache(maxsize=4096)
def compiled(text: str) -> Any:
    """The Triton function `curve` of a text made by `source`."""
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    filename = f"<lossmith triton {key}>"
    # no time of change: linecache keeps such an entry, and inspect.getsource, which Triton calls, finds it
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    module: dict[str, Any] = {"__name__": f"lossmith_triton_{key}"}
    exec(compile(text, filename, "exec"), module)  # noqa: S102 - our own text: see above
    return module["curve"]
