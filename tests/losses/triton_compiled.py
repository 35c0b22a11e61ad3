"""The Triton kernels through Triton's compiler, to a GPU's machine code, for test_triton.py; this needs no GPU.

Prints one JSON list: of every kernel what it is, the bytes a thread keeps in memory for want of registers, the lines of
its PTX, whether it loads four numbers at once, and whether it checks the labels.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lossmith.losses.program import program
from lossmith.losses.triton_kernel import plan
from lossmith.space.expression import Expression

TOOL = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
LONG = "sinh(yhat)*y - i0(y+yhat)/erfc(yhat*y) + tanh(y-yhat)*i1e(yhat+y) - asinh(yhat)*atan(y/(2+yhat))"
BINARY = "-y*log(yhat) - (1-y)*log(1-yhat)"
HARD = (1.0, 0.0)
TYPES = {torch.float32: "fp32", torch.bfloat16: "bf16"}
# (formula, classes, what labels mean, weighted, dtype, compute capability)
KERNELS: tuple[tuple[str, int, tuple[float, float] | None, bool, torch.dtype, int], ...] = (
    ("-y*log(yhat)", 1, HARD, False, torch.float32, 80),
    ("-y*log(yhat)", 1000, HARD, False, torch.float32, 90),
    ("-y*log(yhat)", 16_000, HARD, True, torch.bfloat16, 90),
    (BINARY, 1000, (0.9001, 0.0001), True, torch.float32, 80),
    (BINARY, 50_000, HARD, False, torch.float32, 90),
    (LONG, 10, None, True, torch.float32, 80),
    (LONG, 4096, None, False, torch.bfloat16, 90),
)


def compiled(
    text: str, classes: int, targets: tuple[float, float] | None, weighted: bool, dtype: torch.dtype, capability: int
) -> dict[str, Any]:
    found = plan(program(Expression.from_text(text)), classes, targets, weighted)
    types = {"logits": "*" + TYPES[dtype], "target": "*fp32" if targets is None else "*i64", "values": "*fp32"}
    types |= {"gradient": "*" + TYPES[dtype], "rows": "i32", "columns": "i32"} | (
        {"weight": "*fp32"} if weighted else {}
    )
    names = found.kernel.arg_names
    kernel = triton.compile(
        ASTSource(
            fn=found.kernel,
            signature={name: types.get(name, "constexpr") for name in names},
            constexprs=found.constants | ({} if weighted else {"weight": None}),
            attrs={(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if types.get(name, "")[:1] == "*"},
        ),
        target=GPUTarget("cuda", capability, 32),
        options=found.options,
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        told = subprocess.run([TOOL, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    ptx = kernel.asm["ptx"]
    return {
        "kernel": f"{text} | {classes} classes, {targets}, {weighted=}, {dtype}, capability {capability}",
        "classes": classes,
        "stack": int(re.findall(r"STACK:(\d+)", told.stdout)[0]),
        "lines": len(ptx.splitlines()),
        "vectors": bool(re.search(r"ld\.global[^;]*\.v4", ptx)),
        "labels": targets is not None,
        "checks": "__assertfail" in ptx,
        "not_specialised": [p.name for p in found.kernel.params if p.do_not_specialize],
    }


if __name__ == "__main__":
    print(json.dumps([compiled(*kernel) for kernel in KERNELS]))
