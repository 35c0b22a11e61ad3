"""K convolutions at once: each is torch's, its gradients too, and its bits do not depend on the others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from lossmith.train.fused import convolution
from lossmith.train.fused.convolution import fused_conv2d
from lossmith.train.fused.layout import images_of, rows_of

Many = list[Tensor]


def run(
    images: list[Tensor], weights: list[Tensor], biases: list[Tensor] | None, on_output: list[Tensor], **how: Any
) -> list[tuple[Tensor, ...]]:
    """For each slot its output, and the gradients of its images, weights and, if any, biases."""
    x = images_of(torch.cat([rows_of(own) for own in images])).requires_grad_()
    weight = torch.stack(weights).requires_grad_()
    bias = None if biases is None else torch.stack(biases).requires_grad_()
    leaves = [x, weight] if bias is None else [x, weight, bias]
    out = fused_conv2d(x, weight, bias, **how)
    found = torch.autograd.grad(out, leaves, torch.cat(on_output, 1))
    slots = len(images)
    by_slot = [out.detach().chunk(slots, 1), found[0].chunk(slots, 1), *(gradient.unbind() for gradient in found[1:])]
    return list(zip(*by_slot, strict=True))


def expected(image: Tensor, weight: Tensor, bias: Tensor | None, on_output: Tensor, **how: Any) -> tuple[Tensor, ...]:
    leaves = [tensor.clone().requires_grad_() for tensor in (image, weight, bias) if tensor is not None]
    out = functional.conv2d(leaves[0], leaves[1], leaves[2] if bias is not None else None, **how)
    return out.detach(), *torch.autograd.grad(out, leaves, on_output)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    groups = draw(st.sampled_from([1, 1, 1, 2]))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return {
        "slots": draw(st.integers(1, 4)),
        "batch": draw(st.integers(1, 6)),
        "inputs": groups * draw(st.integers(1, 3)),
        "outputs": groups * draw(st.integers(1, 3)),
        "kernel": kernel,
        "size": (draw(st.integers(5, 8)), draw(st.integers(5, 8))),
        "bias": draw(st.booleans()),
        "block": draw(st.sampled_from([1, 200, 1 << 18])),
        "how": {
            "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
            "padding": draw(st.tuples(st.integers(0, 2), st.integers(0, 2))),
            "dilation": draw(st.sampled_from([(1, 1), (1, 1), (2, 1)])),
            "groups": groups,
        },
    }


def tensors(
    case: dict[str, Any], dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor], list[Tensor] | None, list[Tensor]]:
    generator = torch.Generator().manual_seed(1)

    def many(*shape: int) -> list[Tensor]:
        return [torch.randn(shape, generator=generator, dtype=dtype) for _ in range(case["slots"])]

    images = many(case["batch"], case["inputs"], *case["size"])
    weights = many(case["outputs"], case["inputs"] // case["how"]["groups"], *case["kernel"])
    biases = many(case["outputs"]) if case["bias"] else None
    shape = functional.conv2d(images[0], weights[0], **case["how"]).shape
    return images, weights, biases, many(*shape)


@settings(max_examples=60)
@given(case=cases())
def test_it_is_torchs_convolution_for_each_slot(case: dict[str, Any]) -> None:
    images, weights, biases, on_output = tensors(case, torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "BLOCK", case["block"])
        found = run(images, weights, biases, on_output, **case["how"])
    for slot, own in enumerate(found):
        bias = None if biases is None else biases[slot]
        torch.testing.assert_close(own, expected(images[slot], weights[slot], bias, on_output[slot], **case["how"]))


@settings(max_examples=60)
@given(case=cases())
def test_a_slots_bits_are_those_it_has_alone(case: dict[str, Any]) -> None:
    images, weights, biases, on_output = tensors(case, torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "BLOCK", case["block"])
        found = run(images, weights, biases, on_output, **case["how"])
        for slot, own in enumerate(found):
            bias = None if biases is None else [biases[slot]]
            (alone,) = run([images[slot]], [weights[slot]], bias, [on_output[slot]], **case["how"])
            assert all(map(torch.equal, own, alone))


def test_a_slot_of_nan_stays_by_itself() -> None:
    case = {"slots": 3, "batch": 4, "inputs": 2, "outputs": 4, "kernel": (3, 3), "size": (6, 6), "bias": True}
    how = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    images, weights, biases, on_output = tensors({**case, "how": how}, torch.float32)
    before = run(images, weights, biases, on_output, **how)
    weights[1][0] = float("nan")
    on_output[1][:] = float("inf")
    after = run(images, weights, biases, on_output, **how)
    for slot in (0, 2):
        assert all(map(torch.equal, before[slot], after[slot]))
    assert not after[1][0].isfinite().all()
