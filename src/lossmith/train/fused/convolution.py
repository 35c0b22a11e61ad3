"""K convolutions at once, each with weights of its own.

On a CPU a convolution is a product of the weights with patches of the images, in blocks that stay in a core's cache;
where a slot's patches fit there as a whole, all slots' are made and multiplied in one call each, which is what makes
small networks cheap. On a GPU it is torch's grouped convolution.

Which way is taken depends on the shapes of one slot alone, and a slot's numbers do not depend on how many others there
are, bit for bit (`tests/train/fused`).

Legend: K slots, B batch, C channels in, O channels out, H W rows and columns in, h w out, R S of the kernel,
P = C * R * S numbers in a patch, N = h * w * B patches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lossmith.train.fused import layout
from lossmith.train.fused.layout import images_of, rows_of

_LINE = 64  # bytes of a line of the cache, at whose multiples torch's tensors begin
BLOCK = 1 << 18  # numbers of patches that are made at once (1 MiB in float32): a core's second cache


class Geometry(NamedTuple):
    """What a convolution does to positions."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    def output(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the output, from those of the input."""
        (r, s), (down, right), (top, left) = self
        return (height + 2 * top - r) // down + 1, (width + 2 * left - s) // right + 1


def fused_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """Convolve the images of each slot with its own weights.

    Args:
        x: [B, K * C, H, W].
        weight: [K, O, C / groups, R, S].
        bias: [K, O], or None.
        stride, padding, dilation, groups: as of `torch.nn.functional.conv2d`, the same for all slots.

    Returns:
        [B, K * O, h, w].
    """
    slots = weight.shape[0]
    if not layout.batch_innermost(x.device):
        flat_bias = None if bias is None else bias.flatten()
        return functional.conv2d(x, weight.flatten(0, 1), flat_bias, stride, padding, dilation, groups * slots)
    if groups == 1 and dilation == (1, 1):
        kernel = (weight.shape[3], weight.shape[4])
        added = weight.new_zeros(weight.shape[:2]) if bias is None else bias
        rows = _product(rows_of(x), weight, added, Geometry(kernel, stride, padding))
        return images_of(rows)
    pieces = [
        functional.conv2d(piece, own, None if bias is None else bias[slot], stride, padding, dilation, groups)
        for slot, (piece, own) in enumerate(zip(x.chunk(slots, 1), weight.unbind(), strict=True))
    ]
    return torch.cat(pieces, 1)


def _product(rows: Tensor, weight: Tensor, bias: Tensor, geometry: Geometry) -> Tensor:
    """As `_Product`.

    The library that multiplies matrices rounds otherwise where a matrix begins within a line of the cache. All slots at
    once are therefore taken only where all of their matrices begin at one.
    """
    slots, out_channels = weight.shape[:2]
    h, w = geometry.output(rows.shape[1], rows.shape[2])
    line = _LINE // rows.element_size()
    if rows.shape[0] // slots * rows[0].numel() % line == 0 and out_channels * h * w * rows.shape[3] % line == 0:
        return _Product.apply(rows, weight, bias, geometry)  # pyright: ignore[reportReturnType] - apply is not typed
    by_slot = zip(rows.chunk(slots), weight.unbind(), bias.unbind(), strict=True)
    pieces: Any = [_Product.apply(own.clone(), w[None], b[None], geometry) for own, w, b in by_slot]  # not typed
    return torch.cat(pieces)


class _Product(torch.autograd.Function):
    """[K * C, H, W, B] to [K * O, h, w, B] as products of matrices."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, geometry: Geometry) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] - torch declares *args
        slots, out_channels = weight.shape[:2]
        padded = _pad(rows, geometry.padding)
        view = _patches(padded, geometry)  # [K * C, R, S, h, w, B]
        _, _, _, h, w, batch = view.shape
        matrix = weight.reshape(slots, out_channels, -1)  # [K, O, P]
        ctx.geometry, ctx.shape = geometry, rows.shape
        if matrix.shape[2] * h * w * batch <= BLOCK:
            patches = view.reshape(slots, matrix.shape[2], -1)
            ctx.save_for_backward(patches, weight)
            return torch.baddbmm(bias.unsqueeze(2), matrix, patches).view(-1, h, w, batch)
        ctx.save_for_backward(padded, weight)
        out = rows.new_empty(slots, out_channels, h, w, batch)
        for slot, first, last in _blocks(slots, matrix.shape[2], view.shape):
            own = _of_slot(view, slot, slots)[:, :, :, first:last].reshape(matrix.shape[2], -1)
            product = torch.addmm(bias[slot].unsqueeze(1), matrix[slot], own)
            out[slot, :, first:last] = product.view(out_channels, last - first, w, batch)
        return out.view(-1, h, w, batch)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride] - torch declares *args
        kept, weight = ctx.saved_tensors
        geometry: Geometry = ctx.geometry
        slots, out_channels = weight.shape[:2]
        matrix = weight.reshape(slots, out_channels, -1)
        _, h, w, batch = grad.shape
        grad = grad.contiguous()
        if grad.data_ptr() % _LINE:
            grad = grad.clone()
        grad = grad.view(slots, out_channels, h, w, batch)
        on_bias = grad.view(slots, out_channels, -1).sum(2)
        channels, height, width, _ = ctx.shape
        on_padded = None
        if ctx.needs_input_grad[0]:
            shape = (channels, height + 2 * geometry.padding[0], width + 2 * geometry.padding[1], batch)
            on_padded = grad.new_zeros(shape)
        if kept.dim() == 3:  # all patches
            flat = grad.view(slots, out_channels, -1)
            on_weight = torch.bmm(flat, kept.transpose(1, 2)).view_as(weight)
            if on_padded is not None:
                on_patches = torch.bmm(matrix.transpose(1, 2), flat)
                _add_patches(on_padded, on_patches.view(channels, *geometry.kernel, h, w, batch), geometry, 0)
        else:
            on_weight = torch.zeros_like(matrix)
            view = _patches(kept, geometry)
            for slot, first, last in _blocks(slots, matrix.shape[2], view.shape):
                piece = grad[slot, :, first:last].reshape(out_channels, -1)
                own = _of_slot(view, slot, slots)[:, :, :, first:last].reshape(matrix.shape[2], -1)
                on_weight[slot].addmm_(piece, own.t())
                if on_padded is not None:
                    on_patches = torch.mm(matrix[slot].t(), piece)
                    shape = (channels // slots, *geometry.kernel, last - first, w, batch)
                    _add_patches(_of_slot(on_padded, slot, slots), on_patches.view(shape), geometry, first)
            on_weight = on_weight.view_as(weight)
        on_rows = None
        if on_padded is not None:
            top, left = geometry.padding
            on_rows = on_padded[:, top : top + height, left : left + width]
        return on_rows, on_weight, on_bias, None


def _pad(rows: Tensor, padding: tuple[int, int]) -> Tensor:
    if padding == (0, 0):
        return rows
    return functional.pad(rows, (0, 0, padding[1], padding[1], padding[0], padding[0]))


def _patches(padded: Tensor, geometry: Geometry) -> Tensor:
    """A view [channels, R, S, h, w, B] of what each output position sees of [channels, H, W, B]."""
    (r, s), (down, right), _ = geometry
    channels, height, width, batch = padded.shape
    h, w = geometry._replace(padding=(0, 0)).output(height, width)
    by_channel, by_row, by_column, by_image = padded.stride()
    strides = (by_channel, by_row, by_column, by_row * down, by_column * right, by_image)
    return padded.as_strided((channels, r, s, h, w, batch), strides)


def _add_patches(padded: Tensor, patches: Tensor, geometry: Geometry, first: int) -> None:
    """Add patches [channels, R, S, rows, w, B] of the output rows from `first` on to where they were seen."""
    (r, s), (down, right), _ = geometry
    _, _, _, h, w, _ = patches.shape
    for row in range(r):
        top = first * down + row
        for column in range(s):
            place = padded[:, top : top + down * (h - 1) + 1 : down, column : column + right * (w - 1) + 1 : right]
            place += patches[:, row, column]


def _of_slot(tensor: Tensor, slot: int, slots: int) -> Tensor:
    channels = tensor.shape[0] // slots
    return tensor[slot * channels : (slot + 1) * channels]


def _blocks(slots: int, patch: int, shape: torch.Size) -> list[tuple[int, int, int]]:
    """(slot, first output row, one after the last) of blocks of at most about `BLOCK` numbers."""
    _, _, _, h, w, batch = shape
    step = max(1, BLOCK // (patch * w * batch))
    return [(slot, first, min(first + step, h)) for slot in range(slots) for first in range(0, h, step)]
