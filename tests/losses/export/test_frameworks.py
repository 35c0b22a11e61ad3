"""Exported files, run in real PyTorch, JAX and Keras 3 (on JAX and on PyTorch), against Lossmith itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import exports
from helpers import accepted_expressions
from lossmith import loss
from lossmith.losses.export import export
from lossmith.losses.export.words import names
from lossmith.losses.module import Loss
from lossmith.losses.zoo import ZOO
from lossmith.space.operators import OPERATORS

# What runs together in one process: imports and compiled operations cost seconds.
TOGETHER = {"torch": ("torch",), "jax": ("jax", "keras"), "keras-torch": ("keras",)}
RANDOM = 30
C = 4
# As in test_saturation: softmax is exactly 0 or 1, subnormal, or in between.
SATURATED = [
    [1e4, -1e4, 0.0, 5e3],
    [-1e4, 1e4, 1e4, -1e4],
    [1e4, 1e4, 1e4, 1e4],
    [0.0, 0.0, -1e4, -1e4],
    [17.0, 0.0, -1.0, -40.0],
    [90.0, 0.0, 3.0, -5.0],
    [300.0, 100.0, 200.0, 0.0],
    [20.0, 0.0, -20.0, 100.0],
]
# What the chain rule makes NaN without a guard: a flat function outside an overflow.
GUARDED = [
    "tanh(exp(1 / yhat)) * y",
    "y * sigmoid(exp(exp(1 / yhat)))",
    "y * atan(square(square(square(reciprocal(yhat)))))",
    "y * erf(i0(100 * (1 - yhat)))",
    "y * inv_one_plus_abs(sinh(1000 * (1 - yhat)))",
    "y * tanh(exp(1000 * (K * yhat))) - y * yhat",
]
CONSTANTS = [
    "y * max(0.5, yhat) - y * min(yhat, 0.25)",
    "sigmoid(1) * y - yhat * (y * log_abs(-2))",
    "sqrt(K + 1) * (y * log(yhat)) * div_sqrt1p_sq(yhat, 3) / K",
    "y * sqrt(yhat - yhat) + yhat * y",
    "max(K, y) * yhat",
    "y * -(-2 - yhat) * -0.5",
    "K * log(3)",
    "2 - 1e300",
]


def operators() -> list[str]:
    """Every operator, where its inputs are varied and signed."""
    unary = [name for name, operator in OPERATORS.items() if operator.arity == 1 and name != "log"]
    binary = [name for name, operator in OPERATORS.items() if operator.arity == 2]
    return [
        *(f"y * {name}(3 * yhat - 1) + {name}(-0.5 * yhat)" for name in unary),
        *(f"{name}(3 * yhat - 1, y + yhat) - {name}(y, -2 * yhat)" for name in binary),
        "-y * log(yhat) + log(1 - yhat) * (1 - y) + log(2 + yhat)",
        "y * i0(12 * yhat) + y * i0e(20 * yhat) + i1(15 * yhat) + i1e(-30 * yhat)",  # past where their series change
    ]


def zoo() -> list[Loss]:
    parameters: list[tuple[str, dict[str, Any]]] = [
        ("focal", {"gamma": 0.5}),
        ("focal", {"gamma": 0.0}),
        ("bi_tempered", {"t1": 0.3, "t2": 4.0}),
        ("bi_tempered", {"t1": 1.0, "t2": 1.0}),
        ("generalised_cross_entropy", {"q": 0.2}),
    ]
    return [*(loss(name) for name in ZOO), *(loss(name, **given) for name, given in parameters)]


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(8, C)) * 2  # one shape for all: JAX compiles every operation once for each
    soft = rng.dirichlet(np.ones(C), size=8)
    return {
        "logits": logits,
        "labels": np.array([0, 3, -100, 2, 1, 0, 3, 1]),
        "classes": np.array([0, 3, 2, 2, 1, 0, 3, 1]),
        "soft": soft,
        "weight": np.array([0.3, 1.0, 2.0, 0.7]),
        "saturated": np.array(SATURATED),
        "saturated_labels": np.array([0, 0, 3, 2, 1, 0, 1, 3]),
    }


def case(logits: str, target: str, **given: Any) -> dict[str, Any]:
    usual = {"weight": None, "ignore_index": -100, "label_smoothing": 0.0, "reduction": "none", "dtype": "float64"}
    return {"logits": logits, "target": target, **usual, **given}


WEIGHTED, SMOOTHED, SOFT = (
    case("logits", "labels", weight="weight"),
    case("logits", "labels", label_smoothing=0.1, reduction="mean"),
    case("logits", "soft", weight="weight", reduction="sum"),
)
EXTREME = case("saturated", "saturated_labels", dtype="float32")


def plan() -> list[tuple[Loss, dict[str, Any]]]:
    """Every loss with cases that between them use every argument."""
    formulas = [*operators(), *CONSTANTS]
    flipped = [loss(formula, flip=number % 2 == 0) for number, formula in enumerate(formulas)]
    return [
        *((module, given) for module in zoo() for given in (WEIGHTED, SMOOTHED, SOFT, EXTREME)),
        *((module, SOFT) for module in flipped),
        *((loss(expression, flip=False), WEIGHTED) for expression in accepted_expressions(RANDOM, seed=31)),
        *((loss(formula, flip=False), EXTREME) for formula in GUARDED),
    ]


CONTRACT = [
    *(
        case("logits", target, weight=weight, reduction=reduction, label_smoothing=0.3)
        for target in ("labels", "soft")
        for weight in (None, "weight")
        for reduction in ("none", "mean", "sum")
    ),
    case("logits", "classes", weight="weight", ignore_index=2),
]


def comparable(framework: str, given: dict[str, Any]) -> bool:
    """Keras has its own mean: over the examples, whatever the classes weigh."""
    return not (framework == "keras" and given["reduction"] == "mean" and given["weight"] is not None)


def expected(module: Loss, given: dict[str, Any], data: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    module.weight = None if given["weight"] is None else torch.from_numpy(data[given["weight"]])
    for name in ("ignore_index", "reduction", "label_smoothing"):
        setattr(module, name, given[name])
    logits = torch.from_numpy(data[given["logits"]]).to(getattr(torch, given["dtype"])).requires_grad_()
    value = module(logits, torch.from_numpy(data[given["target"]]))
    factors = torch.from_numpy(exports.upstream(tuple(value.shape))).to(value.dtype)
    (gradient,) = torch.autograd.grad((value * factors).sum(), logits)
    return value.detach().double().numpy(), gradient.double().numpy()


def run(
    group: str, directory: Path, cases: list[tuple[str, Loss, dict[str, Any]]], data: dict[str, np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Values and gradients of each case: in this process for PyTorch, else in one of its own for all of them."""
    written: list[dict[str, Any]] = []
    known: dict[tuple[str, int], str] = {}
    for to, module, given in cases:
        if (to, id(module)) not in known:
            known[to, id(module)] = f"exported_{len(known)}.py"
            (directory / known[to, id(module)]).write_text(export(module, to=to))
        called = names(module)
        name = called.module if to == "keras" else called.function
        written.append({**given, "framework": to, "file": known[to, id(module)], "name": name})
    (directory / "plan.json").write_text(json.dumps(written))
    np.savez(directory / "arrays.npz", allow_pickle=False, **data)
    if group == "torch":
        exports.main(directory)
    else:
        environment = os.environ | {"KERAS_BACKEND": group.removeprefix("keras-"), "KERAS_HOME": str(directory)}
        environment |= {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1", "OMP_NUM_THREADS": "1"}
        environment |= {"XLA_FLAGS": "--xla_backend_optimization_level=0"}  # a third of the time goes into compiling
        command = [sys.executable, "-W", "error", exports.__file__, str(directory)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
    results = np.load(directory / "results.npz")
    return [(results[f"{number}.value"], results[f"{number}.gradient"]) for number in range(len(cases))]


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, relative to the largest number or 0.001; infinite where only `wanted` is finite."""
    finite = np.isfinite(wanted)
    if found.shape != wanted.shape or not np.isfinite(found[finite]).all():
        return np.inf
    if not finite.any():
        return 0.0
    return float(np.abs(found[finite] - wanted[finite]).max() / max(np.abs(wanted[finite]).max(), 1e-3))


@pytest.mark.slow
@pytest.mark.parametrize("group", TOGETHER)
def test_every_loss(group: str, tmp_path: Path) -> None:
    """In float64 nothing but rounding may differ; in float32 at saturated logits, nothing may turn NaN.

    Keras takes every case on PyTorch, and on JAX one of each operator and zoo loss.
    """
    data = arrays()
    contract = [(loss(name), given) for name in ("baikal", "nce_rce") for given in CONTRACT]
    cases = [
        (framework, module, given)
        for framework in TOGETHER[group]
        for module, given in (*plan(), *contract)
        if comparable(framework, given) and (group in (framework, "keras-torch") or given is SOFT)
    ]
    found = run(group, tmp_path, cases, data)
    wrong: list[str] = []
    for (framework, module, given), (value, gradient) in zip(cases, found, strict=True):
        wanted, wanted_gradient = expected(module, given, data)
        # Keras rounds float64 to float32 in places (its maximum on PyTorch, its sine on JAX)
        allowed = 2e-4 if given["dtype"] == "float32" else 1e-5 if framework == "keras" else 1e-9
        off = difference(value, wanted), difference(gradient, wanted_gradient)
        if max(off) > allowed:
            wrong.append(f"{framework}: {module.formula}, {given}: value off by {off[0]:.2g}, gradient by {off[1]:.2g}")
        if module.name in ZOO and not (np.isfinite(value).all() and np.isfinite(gradient).all()):
            wrong.append(f"{framework}: {module.formula}, {given}: not finite")
    assert not wrong, f"{len(wrong)} of {len(cases)}\n" + "\n".join(wrong)
