"""The GPU kernel of a loss over more classes than one block holds; see `triton_rows`.

It goes over a row two to four times; all but the first mostly read the cache. Importing this module imports Triton. No
postponed annotations here: Triton reads them.
"""

import triton
import triton.language as tl

from lossmith.losses.triton_rows import (
    at_label,
    flat_gradient,
    gradient_of,
    inverse_of,
    joined,
    log_rest_of_top,
    row_max,
    row_min,
    row_sum,
    share_of_others,
    terms,
)


@triton.jit(do_not_specialize=["rows"])
def many_blocks(  # noqa: PLR0912, PLR0915 - a kernel is one function
    logits, target, weight, values, gradient, rows, columns, curve_t: tl.constexpr, curve: tl.constexpr,
    elsewhere: tl.constexpr, CLASSES: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, LABELS: tl.constexpr,
    FLAT: tl.constexpr, WEIGHTED: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    """As `one_block`, with one example and several blocks.

    Args:
        columns: C again, as the bound of the loops: a compiler would unroll loops of a known number of blocks.
        ROWS: 1.
    """
    row = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    first = row * CLASSES

    label = tl.full((), 0, tl.int64)
    z_t = tl.full((), 0.0, tl.float32)
    w_t = z_t
    if LABELS:
        label = tl.load(target + row)
        known = (label >= 0) & (label < CLASSES)
        tl.device_assert(known, "a label is outside [0, classes)")
        z_t = tl.load(logits + first + label, mask=known, other=0.0).to(tl.float32)
        if WEIGHTED:
            w_t = tl.load(weight + label, mask=known, other=0.0)
    label = label.to(tl.int32)

    most = tl.full((), float("-inf"), tl.float32)
    total = tl.full((), 0.0, tl.float32)
    top = label
    for start in range(0, columns, BLOCK):
        col = start + cols
        z = tl.load(logits + first + col, mask=col < CLASSES, other=float("-inf")).to(tl.float32)
        if REST and not FLAT:
            here = row_max(z)
            top = tl.where((here > most) | (start == 0), row_min(tl.where(z == here, col, CLASSES)), top)
        most, total = joined(most, total, z)  # pyright: ignore[reportGeneralTypeIssues] - it reads a tensor as NoReturn
    scale = inverse_of(total)
    log_total = tl.log(total)

    others_most = tl.full((), float("-inf"), tl.float32)
    others_total = tl.full((), 0.0, tl.float32)
    top_log_rest = others_total
    if REST:
        for start in range(0, columns, BLOCK):
            col = start + cols
            z = tl.load(logits + first + col, mask=col < CLASSES, other=float("-inf")).to(tl.float32)
            others_most, others_total = joined(others_most, others_total, tl.where(col == top, float("-inf"), z))
        top_log_rest = log_rest_of_top(most, log_total, others_most, others_total)

    p_t = z_t
    log_rest_t = z_t
    value_t = z_t
    d_t = z_t
    on_rest_t = z_t
    if LABELS:
        p_t, log_rest_t, value_t, d_t, on_rest_t = at_label(
            curve_t, z_t, top_log_rest, label == top, most, log_total, scale, w_t, WEIGHTED
        )
    value = tl.full((), 0.0, tl.float32)
    slopes = tl.full((), 0.0, tl.float32)
    ratios = tl.full((), 0.0, tl.float32)
    at_top = tl.full((), 0.0, tl.float32)
    if FLAT:
        value += value_t + elsewhere
    else:
        for start in range(0, columns, BLOCK):
            col = start + cols
            mask = col < CLASSES
            z = tl.load(logits + first + col, mask=mask, other=float("-inf")).to(tl.float32)
            y = z
            w = z
            if not LABELS:
                y = tl.load(target + first + col, mask=mask, other=0.0)
            if WEIGHTED:
                w = tl.load(weight + col, mask=mask, other=0.0)
            p, below, at_class, d, on_rest = terms(
                curve, y, z, mask, col == top, col == label, most, log_total, scale, top_log_rest, w, value_t, d_t,
                on_rest_t, LABELS, WEIGHTED, REST,
            )  # fmt: skip
            value += row_sum(at_class)
            slopes += row_sum(d)
            if REST:
                ratios += row_sum(on_rest * below / (1.0 - below))
                at_top += row_sum(tl.where(col == top, on_rest * p, 0.0))
    for start in range(0, columns, BLOCK):
        col = start + cols
        mask = col < CLASSES
        z = tl.load(logits + first + col, mask=mask, other=float("-inf")).to(tl.float32)
        share = z
        if REST:
            share = share_of_others(z, col == top, others_most, others_total)
        if FLAT:
            p = tl.exp(z - most) * scale
            found = flat_gradient(p, p_t, log_rest_t, d_t, on_rest_t, col == label, share, REST)
        else:
            y = z
            w = z
            if not LABELS:
                y = tl.load(target + first + col, mask=mask, other=0.0)
            if WEIGHTED:
                w = tl.load(weight + col, mask=mask, other=0.0)
            p, below, at_class, d, on_rest = terms(
                curve, y, z, mask, col == top, col == label, most, log_total, scale, top_log_rest, w, value_t, d_t,
                on_rest_t, LABELS, WEIGHTED, REST,
            )  # fmt: skip
            found = gradient_of(p, below, d, on_rest, share, slopes, ratios, at_top, REST)
        tl.store(gradient + first + col, found.to(gradient.dtype.element_ty), mask=mask)
    tl.store(values + row, value)
