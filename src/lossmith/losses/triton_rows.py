"""The GPU kernels of a loss: values and gradients of whole examples, for any pair of generated curves.

A curve is a Triton function (y, p, log_p, log_rest) -> (f, its slope in log p, its slope in log(1 - p)), printed by
`triton_source`, and a constant of the kernel: Triton compiles one kernel per loss, number of classes and dtype. With d
the slope in log p, the gradient in the logits is d - p * sum(d), and what log(1 - p) adds is in `gradients.Rest`.

`one_block` holds whole rows in registers: it reads the logits once and writes the gradient once. `triton_long_rows` is
for more classes than that.

All is float32 but the logits and the gradient, which may be float16 or bfloat16, too.

Importing this module imports Triton. No postponed annotations here: Triton reads them.

Legend: N examples, C classes; a program has R rows and blocks of B columns. With R = 1 a block has one dimension, and
what belongs to the row is a number: as [1, B] and [1, 1], some kernels became ten times as long. Else they are [R, B]
and [R, 1].
"""

import triton
import triton.language as tl

from lossmith.losses.triton_functions import log1p, maximum, minimum

_LEAST = tl.constexpr(-3.4028234663852886e38)  # float32's least number, which stands for log 0
_TINY = tl.constexpr(1.1754943508222875e-38)  # float32's smallest normal number


@triton.jit
def row_max(x):
    """Of each row."""
    return tl.max(x, 1, keep_dims=True) if len(x.shape) == 2 else tl.max(x, 0)


@triton.jit
def row_min(x):
    """Of each row."""
    return tl.min(x, 1, keep_dims=True) if len(x.shape) == 2 else tl.min(x, 0)


@triton.jit
def row_sum(x):
    """Of each row."""
    return tl.sum(x, 1, keep_dims=True) if len(x.shape) == 2 else tl.sum(x, 0)


@triton.jit
def joined(most, total, z):
    """The running maximum, and the sum of exp(z - maximum), after one block more."""
    new = maximum(most, row_max(z))
    base = tl.where(new == float("-inf"), 0.0, new)
    return new, total * tl.exp(most - base) + row_sum(tl.exp(z - base))


@triton.jit
def inverse_of(x):
    """1 / x, exactly rounded, so that a probability of 1 is 1."""
    return tl.div_rn(tl.full(x.shape, 1.0, tl.float32), x)


@triton.jit
def log_rest_of_top(most, log_total, others_most, others_total):
    """log(1 - p) of the class that is not among the others: their log-sum-exp less that of all."""
    base = tl.where(others_most == float("-inf"), 0.0, others_most)
    return minimum(maximum((base - most) + (tl.log(others_total) - log_total), _LEAST), 0.0)


@triton.jit
def share_of_others(z, is_top, others_most, others_total):
    """p / (1 - p of the top class), of every other class."""
    base = tl.where(others_most == float("-inf"), 0.0, others_most)
    inverse = tl.where(others_total == 0.0, 0.0, 1.0 / others_total)  # 0 where there is no other class
    return tl.where(is_top, 0.0, tl.exp(z - base) * inverse)


@triton.jit
def at_label(curve, z, top_log_rest, is_top, most, log_total, scale, w, WEIGHTED: tl.constexpr):
    """(p, log(1 - p), f, slopes) of the labelled class, one a row."""
    p = tl.exp(z - most) * scale
    log_p = maximum(z - most - log_total, _LEAST)
    log_rest = tl.where(is_top & (p > 0.5), top_log_rest, log1p(-minimum(p, 0.5)))
    value, d, on_rest = curve(p, p, log_p, log_rest)
    if WEIGHTED:
        value, d, on_rest = value * w, d * w, on_rest * w
    return p, log_rest, value, d, on_rest


@triton.jit
def terms(
    curve, y, z, mask, is_top, is_label, most, log_total, scale, top_log_rest, w, value_t, d_t, on_rest_t,
    LABELS: tl.constexpr, WEIGHTED: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    """(p, p but 0 at the top class, f, slopes) of a block, [R, B]; 0 beyond the classes."""
    p = tl.exp(z - most) * scale
    log_p = maximum(z - most - log_total, _LEAST)
    below = p
    log_rest = p
    if REST:
        below = tl.where(is_top, 0.0, p)
        log_rest = tl.where(is_top, top_log_rest, log1p(-below))
    value, d, on_rest = curve(y, p, log_p, log_rest)
    if WEIGHTED:
        value, d, on_rest = value * w, d * w, on_rest * w
    if LABELS:
        value = tl.where(is_label, value_t, value)
        d = tl.where(is_label, d_t, d)
        on_rest = tl.where(is_label, on_rest_t, on_rest)
    return p, below, tl.where(mask, value, 0.0), tl.where(mask, d, 0.0), tl.where(mask, on_rest, 0.0)


@triton.jit
def gradient_of(p, below, d, on_rest, share, total, ratios, at_top, REST: tl.constexpr):
    """The gradient in the logits, given the row's sums of d, of the ratios below, and of the top class alone."""
    found = d - p * total
    if REST:
        ratio = on_rest * below / (1.0 - below)
        found += p * (ratios - ratio) - on_rest * p + at_top * share
    return found


@triton.jit
def flat_gradient(p, p_t, log_rest_t, d_t, on_rest_t, is_label, share, REST: tl.constexpr):
    """The same, where the curve of the other classes is flat."""
    if REST:
        moved = d_t * maximum(tl.exp(log_rest_t), _TINY) - on_rest_t * p_t
        return tl.where(is_label, moved, -share * moved)
    return tl.where(is_label, d_t * (1.0 - p_t), -p * d_t)


@triton.jit(do_not_specialize=["rows"])
def one_block(  # noqa: PLR0915 - a kernel is one function
    logits, target, weight, values, gradient, rows, curve_t: tl.constexpr, curve: tl.constexpr,
    elsewhere: tl.constexpr, CLASSES: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, LABELS: tl.constexpr,
    FLAT: tl.constexpr, WEIGHTED: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    """R examples, each in one block.

    Args:
        logits: [N, C].
        target: float32 [N, C], or with LABELS int64 [N].
        weight: float32 [C], where WEIGHTED.
        values: float32 [N], written: the sum over classes.
        gradient: [N, C], written: of that sum in the logits.
        rows: N.
        curve_t: of the labelled class.
        curve: of the other classes, or of all where the target is soft.
        elsewhere: where FLAT, the sum of the other classes' curve, which is a number.
        REST: whether a curve reads log(1 - p).
    """
    row = tl.program_id(0).to(tl.int64)
    col = tl.arange(0, BLOCK)
    if ROWS > 1:
        row = (row * ROWS + tl.arange(0, ROWS))[:, None]
        col = col[None, :]
    live = row < rows
    mask = live & (col < CLASSES)
    place = row * CLASSES + col
    z = tl.load(logits + place, mask=mask, other=float("-inf")).to(tl.float32)
    most = row_max(z)
    total = row_sum(tl.exp(z - most))
    scale = inverse_of(total)
    log_total = tl.log(total)

    w = most
    w_t = most
    label = row
    z_t = most
    if WEIGHTED:
        w = tl.load(weight + col, mask=col < CLASSES, other=0.0)
    if LABELS:
        label = tl.load(target + row, mask=live, other=0)
        known = (label >= 0) & (label < CLASSES)
        tl.device_assert(known, "a label is outside [0, classes)")
        z_t = tl.load(logits + row * CLASSES + label, mask=live & known, other=0.0).to(tl.float32)
        if WEIGHTED:
            w_t = tl.load(weight + label, mask=known, other=0.0)
    label = label.to(tl.int32)
    is_label = col == label

    top = label
    is_top = is_label
    top_log_rest = most
    share = z
    if REST:
        if not FLAT:
            top = row_min(tl.where(z == most, col, CLASSES))
            is_top = col == top
        others = tl.where(is_top, float("-inf"), z)
        others_most, others_total = joined(float("-inf"), 0.0, others)
        top_log_rest = log_rest_of_top(most, log_total, others_most, others_total)
        share = share_of_others(z, is_top, others_most, others_total)

    p_t = most
    log_rest_t = most
    value_t = most
    d_t = most
    on_rest_t = most
    if LABELS:
        p_t, log_rest_t, value_t, d_t, on_rest_t = at_label(
            curve_t, z_t, top_log_rest, label == top, most, log_total, scale, w_t, WEIGHTED
        )
    if FLAT:
        p = tl.exp(z - most) * scale
        found = flat_gradient(p, p_t, log_rest_t, d_t, on_rest_t, is_label, share, REST)
        value = tl.where(live, value_t + elsewhere, 0.0)  # of one shape, even where it is a constant
    else:
        y = z
        if not LABELS:
            y = tl.load(target + place, mask=mask, other=0.0)
        p, below, at_class, d, on_rest = terms(
            curve, y, z, mask, is_top, is_label, most, log_total, scale, top_log_rest, w, value_t, d_t, on_rest_t,
            LABELS, WEIGHTED, REST,
        )  # fmt: skip
        value = row_sum(at_class)
        ratios = most
        at_top = most
        if REST:
            ratios = row_sum(on_rest * below / (1.0 - below))
            at_top = row_sum(tl.where(is_top, on_rest * p, 0.0))
        found = gradient_of(p, below, d, on_rest, share, row_sum(d), ratios, at_top, REST)
    tl.store(gradient + place, found.to(gradient.dtype.element_ty), mask=mask)
    tl.store(values + row, value, mask=live)
