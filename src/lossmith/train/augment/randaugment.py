"""RandAugment: every image its own operations, at one magnitude (Cubuk et al. 2019, arXiv 1909.13719).

Legend of the tensor names: B batch, C channels, H rows, W columns, L layers, X the 256 grey
levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lossmith.train.augment import geometry, pointwise
from lossmith.train.augment.boxes import filled, inside
from lossmith.train.augment.changes import Change, Combine, change_all, change_selected
from lossmith.train.augment.filters import color, sharpness
from lossmith.train.augment.levels import Operation, arguments
from lossmith.train.augment.prepared import Kind, Prepared, prepared
from lossmith.train.task import RandAugmentConfig


@dataclass(frozen=True, slots=True)
class Draws:
    """Everything random of one batch, [L, B] each."""

    operations: Tensor  # int64, an `Operation`
    negated: Tensor  # bool, whether a rotation, shear or translation goes the other way
    rows: Tensor  # int64, the row of Cutout's centre, 0..H-1
    columns: Tensor  # int64, its column, 0..W-1


def randaugment(images_BCHW: Tensor, config: RandAugmentConfig, generator: torch.Generator) -> Tensor:
    """Each image changed by `config.layers` operations, drawn uniformly from the 16 and nothing.

    Args:
        images_BCHW: uint8, [B, C, H, W], C is 1 or 3; it is not changed.
        config: magnitude, layers and constants.
        generator: the only source of randomness, on the device of the images.

    Returns:
        uint8, [B, C, H, W], on the same device.
    """
    batch, _, height, width = images_BCHW.shape
    return applied(images_BCHW, drawn(batch, height, width, config.layers, generator), config)


def drawn(batch: int, height: int, width: int, layers: int, generator: torch.Generator) -> Draws:
    """The same number of draws whatever comes out, so that what follows from the generator does not depend on it."""
    device, shape = generator.device, (layers, batch)
    return Draws(
        operations=torch.randint(len(Operation), shape, generator=generator, device=device),
        negated=torch.randint(2, shape, generator=generator, device=device) == 1,
        rows=torch.randint(height, shape, generator=generator, device=device),
        columns=torch.randint(width, shape, generator=generator, device=device),
    )


def applied(images_BCHW: Tensor, draws: Draws, config: RandAugmentConfig, *, select: bool | None = None) -> Tensor:
    """The images, uint8 [B, C, H, W], after the operations that were drawn.

    `select` says how: each operation on the images that drew it, or on all, keeping what was drawn, so that the host
    never waits for the device. None: the first on a CPU, the second elsewhere. The results are the same.
    """
    if images_BCHW.dtype != torch.uint8 or images_BCHW.shape[1] not in (1, 3):
        raise ValueError(f"expected uint8 [B, 1 or 3, H, W], got {images_BCHW.dtype} {list(images_BCHW.shape)}")
    _, _, height, width = images_BCHW.shape
    device = images_BCHW.device
    combine = change_selected if (device.type == "cpu" if select is None else select) else change_all
    constants = prepared(arguments(config), height, width, device)
    for layer in zip(draws.operations, draws.negated, draws.rows, draws.columns, strict=True):
        changes = _changes(*layer, constants, config.fill, combine)
        images_BCHW = combine(images_BCHW, changes)
    return images_BCHW


def _changes(
    operations_B: Tensor,
    negated_B: Tensor,
    rows_B: Tensor,
    columns_B: Tensor,
    constants: Prepared,
    fill: int,
    combine: Combine,
) -> list[Change]:
    """One layer: no image has two kinds of operation."""
    factor, half_side = constants.arguments.factor, constants.arguments.half_side
    kinds_B = constants.kinds.index_select(0, operations_B)

    def mapped(images: Tensor, operations: Tensor) -> Tensor:
        return pointwise.looked_up(images, _tables(images, operations, constants, combine))

    def moved(images: Tensor, operations: Tensor, negated: Tensor) -> Tensor:
        return geometry.warped(images, constants.affines[negated.long(), operations], fill)

    def cut(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        height, width = images.shape[2:]
        sides = (rows - half_side, rows + half_side), (columns - half_side, columns + half_side)
        return filled(images, inside(*sides, height, width), fill)

    changes = [
        Change(kinds_B == Kind.TABLE, mapped, (operations_B,)),
        Change(kinds_B == Kind.AFFINE, moved, (operations_B, negated_B)),
        Change(kinds_B == Kind.CUTOUT, cut, (rows_B, columns_B)),
    ]
    if factor != 1.0:  # at magnitude 5 it is 1, and these change nothing
        changes += [
            Change(kinds_B == Kind.COLOR, partial(color, factor=factor)),
            Change(kinds_B == Kind.SHARPNESS, partial(sharpness, factor=factor)),
        ]
    return changes


def _tables(images_BCHW: Tensor, operations_B: Tensor, constants: Prepared, combine: Combine) -> Tensor:
    """The table of each image and channel, uint8 [B, C, 256]; the identity where its operation has none."""
    factor = constants.arguments.factor
    tables_B1X = constants.tables.index_select(0, operations_B)[:, None, :]
    tables_BCX = tables_B1X.expand(-1, images_BCHW.shape[1], -1)

    def of_image(operation: Operation, make: Callable[[Tensor], Tensor]) -> Change:
        return Change(operations_B == operation, lambda _, images: make(images), (images_BCHW,))

    changes = [
        of_image(Operation.AUTO_CONTRAST, pointwise.auto_contrast_tables),
        of_image(Operation.EQUALIZE, pointwise.equalize_tables),
    ]
    if factor != 1.0:
        changes.append(of_image(Operation.CONTRAST, partial(pointwise.contrast_tables, factor=factor)))
    return combine(tables_BCX, changes)
