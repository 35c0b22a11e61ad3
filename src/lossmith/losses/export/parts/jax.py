"""Parts of the files that are exported for JAX. This module is read as text; as it stands it is cross-entropy."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy import special  # noqa: F401 - for exported operators
from jax.typing import ArrayLike

EPS = 1e-7  # keeps divisors and the arguments of logarithms away from 0
NEWTON_STEPS = 12  # reach float64's accuracy for up to 100,000 classes and temperatures up to 5


def class_terms(logits: Array, y: Array) -> Array:
    """f(y, yhat) of every class, for yhat = softmax(logits); the classes are the last axis."""
    log_yhat = log_softmax(logits)
    return -y * log_yhat


def whole_example(logits: Array, y: Array) -> Array:
    """The loss of every example; the classes are the last axis."""
    return -jnp.sum(y * log_softmax(logits), axis=-1)


def example_losses(logits: Array, y: Array, weight: Array | None) -> Array:
    """One value per example: the weighted sum over the classes."""
    terms = class_terms(logits, y)
    return jnp.sum(terms if weight is None else terms * weight, axis=-1)


def whole_example_losses(logits: Array, y: Array, weight: Array | None) -> Array:
    """One value per example. It is no sum over classes, so the weight is that of its target."""
    value = whole_example(logits, y)
    return value if weight is None else value * jnp.sum(y * weight, axis=-1)


def log_softmax(logits: Array) -> Array:
    """log(softmax(logits)); a class masked by a logit of -inf gets the least finite number, since 0 * -inf is NaN."""
    return jnp.maximum(jax.nn.log_softmax(logits), jnp.finfo(logits.dtype).min)


def absolute(x: Array) -> Array:
    """|x|, with slope 0 at 0, where jax.numpy.abs has 1."""
    return x * jnp.sign(x)


def sqrt_abs(x: Array) -> Array:
    """The square root of |x|, with slope 0 at 0, where plain differentiation gives NaN."""
    at_zero = x == 0
    return jnp.where(at_zero, 0.0, jnp.sqrt(jnp.abs(jnp.where(at_zero, 1.0, x))))


def sigmoid_slope(x: Array) -> Array:
    """The derivative of the sigmoid; s * (1 - s) would round to 0 long before it."""
    return jax.nn.sigmoid(x) * jax.nn.sigmoid(-x)


def log_one_minus(log_yhat: Array) -> Array:
    """log(1 - yhat), exact also where one class takes nearly everything: there from what the other classes have."""
    top = jnp.arange(log_yhat.shape[-1]) == jnp.argmax(log_yhat, axis=-1, keepdims=True)
    others = jax.nn.logsumexp(jnp.where(top, -jnp.inf, log_yhat), axis=-1, keepdims=True)
    return jnp.where(top, others, jnp.log1p(-jnp.exp(jnp.where(top, -1.0, log_yhat))))


@jax.custom_gradient
def guard(x: Array) -> tuple[Array, Callable[[Array], Array]]:
    """x; but its gradient is 0 where 0 * infinity made it NaN: the limit where a flat function follows an overflow."""

    def gradient(upstream: Array) -> Array:
        return jnp.where(jnp.isnan(upstream), 0.0, upstream)

    return x, gradient


def normalised_cross_entropy(logits: Array, y: Array) -> Array:
    """sum(y log yhat) / sum(log yhat), where the lower sum leaves out a class that is masked by a logit of -inf."""
    log_yhat = log_softmax(logits)
    return jnp.sum(y * log_yhat, axis=-1) / jnp.sum(jnp.where(logits == -jnp.inf, 0.0, log_yhat), axis=-1)


def nce_rce(logits: Array, y: Array, alpha: float, beta: float) -> Array:
    """alpha NCE + beta RCE, with RCE = -sum(yhat log clamp(y, 1e-4, 1))."""
    reverse = -jnp.sum(jax.nn.softmax(logits) * jnp.log(jnp.clip(y, 1e-4, 1.0)), axis=-1)
    return alpha * normalised_cross_entropy(logits, y) + beta * reverse


def nce_mae(logits: Array, y: Array, alpha: float, beta: float) -> Array:
    """alpha NCE + beta MAE, with MAE = 1 - sum(y yhat)."""
    return alpha * normalised_cross_entropy(logits, y) + beta * (1 - jnp.sum(y * jax.nn.softmax(logits), axis=-1))


def bi_tempered(logits: Array, y: Array, t1: float, t2: float) -> Array:
    """sum(y (log_t1 y - log_t1 yhat) - (y^(2 - t1) - yhat^(2 - t1)) / (2 - t1)), yhat the softmax of temperature t2."""
    log_yhat = log_tempered_softmax(logits, t2)
    log_y = jnp.log(jnp.maximum(y, 1e-37))
    matching = y * (log_tempered(log_y, t1) - log_tempered(log_yhat, t1))
    return jnp.sum(matching - (y * jnp.exp((1 - t1) * log_y) - jnp.exp((2 - t1) * log_yhat)) / (2 - t1), axis=-1)


def log_tempered(log_u: Array, t: float) -> Array:
    """log_t u = (u^(1 - t) - 1) / (1 - t), of log u."""
    return log_u if t == 1 else jnp.expm1((1 - t) * log_u) / (1 - t)


def log_tempered_softmax(logits: Array, t: float) -> Array:
    """log of the softmax of temperature t >= 1: exp_t(z - l(z)), where l(z) makes the sum 1, by Newton's method."""
    if t == 1:
        return log_softmax(logits)
    # l(z + c) = l(z) + c, so the largest logit can be taken as 0
    largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    below = jnp.maximum(logits - largest, jnp.finfo(logits.dtype).min / 16)
    shift = jnp.zeros_like(below[..., :1])
    for _ in range(NEWTON_STEPS):
        shift = newton_step(jax.lax.stop_gradient(below), shift, t)
    shift = newton_step(below, shift, t)  # from the solution: its gradient is the solution's
    return -jnp.log1p((t - 1) * (shift - below)) / (t - 1)


def newton_step(below: Array, shift: Array, t: float) -> Array:
    """A better `shift`, by solving sum(p)^(1 - t) = 1, which is nearly linear in it."""
    log_p = -jnp.log1p((t - 1) * (shift - below)) / (t - 1)
    total = jax.nn.logsumexp(log_p, axis=-1, keepdims=True)
    slope = jnp.exp(jax.nn.logsumexp(t * log_p, axis=-1, keepdims=True) - t * total)
    return shift - jnp.expm1((1 - t) * total) / ((t - 1) * slope)


def loss_function(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """The loss of a batch. Pure: jax.jit (`reduction` static), jax.grad and jax.vmap apply.

    Args:
        logits: [..., C], floating point; computed in float32, or float64 where one is given.
        labels: class indices, integers [...]; or probabilities [..., C]. A label that is neither a class nor
            `ignore_index` makes its example's loss NaN, since compiled code cannot raise an error.
        weight: [C], of the classes.
        where: [...], booleans: the examples that count.
        ignore_index: the label that counts for nothing.
        reduction: "none" (one value per example), "mean" or "sum". For class indices, "mean" divides by the sum of
            weight[labels] over the examples that count, for probabilities by their number.
        label_smoothing: in [0, 1], the share of the target that is spread evenly over the classes.
    """
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction must be 'none', 'mean' or 'sum', found {reduction!r}")
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    soft = labels.shape == logits.shape
    if not soft and labels.shape != logits.shape[:-1]:
        raise ValueError(f"labels of shape {labels.shape} do not fit logits of {logits.shape}")
    if jnp.issubdtype(labels.dtype, jnp.floating) != soft:
        raise ValueError(f"expected integer class indices, or probabilities shaped like logits; found {labels.dtype}")

    dtype = jnp.promote_types(logits.dtype, labels.dtype) if soft else logits.dtype
    if weight is not None:
        weight = jnp.asarray(weight)
        dtype = jnp.promote_types(dtype, weight.dtype)
    compute = jnp.promote_types(dtype, jnp.float32)
    classes = logits.shape[-1]
    counts = jnp.broadcast_to(True if where is None else jnp.asarray(where, bool), logits.shape[:-1])
    wrong = jnp.zeros_like(counts)
    if soft:
        y = labels.astype(compute)
        counted = counts.astype(compute)
    else:
        counts &= labels != ignore_index
        index = jnp.where(counts, labels, 0)
        wrong = (index < 0) | (index >= classes)
        index = jnp.where(wrong, 0, index)
        y = jax.nn.one_hot(index, classes, dtype=compute)
        counted = jnp.where(counts, 1.0 if weight is None else weight.astype(compute)[index], 0.0)
    y = y * (1 - label_smoothing) + label_smoothing / classes

    # even logits for what does not count, so that no infinity of it makes the gradient NaN
    logits = jnp.where(counts[..., None], logits.astype(compute), 0.0)
    value = example_losses(logits, y, None if weight is None else weight.astype(compute))
    value = jnp.where(wrong, jnp.nan, jnp.where(counts, value, 0.0))
    if reduction == "mean":
        value = jnp.sum(value) / jnp.sum(counted)
    elif reduction == "sum":
        value = jnp.sum(value)
    return value.astype(dtype)
