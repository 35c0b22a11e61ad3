"""The published losses that are a sum over classes, in the formula language.

Each function takes the parameters, checked by `ZooLoss.settle`, and gives f(y, yhat) of one class as text. Where a
published formula divides, the language's `/`, which adds 1e-7 to the divisor, is avoided or undone: `/ (K - 1e-7)` is a
division by K. Sources and ranges stand in `table`.
"""

from __future__ import annotations

from lossmith.space.expression import number_text as number

_HALF_PI = "1.5707963267948966"  # cos(x) = sin(x + pi / 2)
_OVER_CLASSES = "/ (K - 1e-7)"


def cross_entropy() -> str:
    return "-y * log(yhat)"


def label_smoothing(smoothing: float) -> str:
    if smoothing == 0:
        return cross_entropy()
    return f"-({number(1 - smoothing)} * y + {number(smoothing)} {_OVER_CLASSES}) * log(yhat)"


def focal(gamma: float) -> str:
    """(1 - p)^gamma as exp(gamma log(1 - p)), which the kernel computes without cancellation near p = 1.

    For gamma = 2, the paper's choice, as a square: an absolute error of 1e-14 where the loss is next to 0, at half the
    cost.
    """
    if gamma == 0:
        return cross_entropy()
    if gamma == 2:
        return "-y * (1 - yhat)^2 * log(yhat)"
    return f"-y * exp({number(gamma)} * log(1 - yhat)) * log(yhat)"


def poly1(epsilon: float) -> str:
    return f"{number(epsilon)} * (y * (1 - yhat)) - y * log(yhat)"


def baikal() -> str:
    return "y / yhat - log_abs(yhat)"  # the language's `/` and `log_abs` hold the 1e-7


def taylorglo(a0: float, a1: float, a2: float, a3: float, a4: float, a5: float, cp: float, cy: float) -> str:
    """Multiplied out as v (a0 + a3 u + a5 u^2 + v (a1 + a4 u + a2 v)), with fewer products."""
    v, u = f"(yhat - {number(cp)})", f"(y - {number(cy)})"
    first = f"{number(a0)} + {number(a3)} * {u} + {number(a5)} * {u}^2"
    return f"-({v} * ({first} + {v} * ({number(a1)} + {number(a4)} * {u} + {number(a2)} * {v})))"


def taylorglo_mnist() -> str:
    return taylorglo(8.2896, 0.2415, 7.8726, 8.9666, 2.0184, 7.0513, cp=7.5216, cy=-10.9408)


def taylorglo_oldlossga() -> str:
    return taylorglo(1.5742, -1.4446, 2.3616, -0.6632, -2.8569, -1.1313, cp=1.4872, cy=0.8439)


def ngl(a: float) -> str:
    cosines = f"sin(sin(sin(yhat) + {_HALF_PI}) + {_HALF_PI})"
    return f"1 {_OVER_CLASSES} * (exp({number(a)} - yhat - yhat * y) - {cosines})"


def sparse_label_smoothing(smoothing: float) -> str:
    if smoothing == 0:
        return cross_entropy()
    shared = f"{number(smoothing)} {_OVER_CLASSES}"
    first = f"({number(1 - smoothing)} + {shared}) * log(yhat)"
    return f"-y * ({first} + ({number(smoothing)} - {shared}) * (log(1 - yhat) - log(K - 1)))"


def generalised_cross_entropy(q: float) -> str:
    inverse = number(1 / q)
    return f"y * ({inverse} - {inverse} * exp({number(q)} * log(yhat)))"


def symmetric_cross_entropy(alpha: float, beta: float) -> str:
    return f"-{_times(alpha, 'y * log(yhat)')} - {_times(beta, 'yhat * log(max(y, 0.0001))')}"


def brier() -> str:
    return "square(yhat - y)"


def mae() -> str:
    return "y * (1 - yhat)"


def _times(factor: float, term: str) -> str:
    return f"({term})" if factor == 1 else f"{number(factor)} * ({term})"
