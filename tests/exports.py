"""Runs exported losses in the framework they are for, and gives values and gradients back as arrays.

`python exports.py DIR` reads DIR/plan.json and DIR/arrays.npz and writes DIR/results.npz. It knows nothing of Lossmith.
A plan is a list of cases: the framework, the file, the name in it, names of arrays, and arguments.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
Runner = Callable[[Any, dict[str, Any], Arrays], tuple[Any, Any]]


def upstream(shape: tuple[int, ...]) -> np.ndarray:
    """What values are multiplied by before they are summed, so that every example's gradient counts differently."""
    return np.linspace(0.5, 1.5, int(np.prod(shape)), dtype=np.float64).reshape(shape)


def run_torch(file: Any, case: dict[str, Any], arrays: Arrays) -> tuple[Any, Any]:
    import torch  # noqa: PLC0415 - each framework where it is used

    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(arrays[name])

    logits = tensor(case["logits"]).to(getattr(torch, case["dtype"])).requires_grad_()
    weight = None if case["weight"] is None else tensor(case["weight"]).to(logits.dtype)
    arguments = {name: case[name] for name in ("ignore_index", "reduction", "label_smoothing")}
    target = tensor(case["target"])
    target = target.to(logits.dtype) if target.is_floating_point() else target
    value = getattr(file, case["name"])(logits, target, weight=weight, **arguments)
    if not value.requires_grad:  # of a formula without yhat
        return value.double().numpy(), np.zeros(logits.shape)
    factors = torch.from_numpy(upstream(tuple(value.shape))).to(value.dtype)
    (gradient,) = torch.autograd.grad((value * factors).sum(), logits)
    return value.detach().double().numpy(), gradient.double().numpy()


def run_jax(file: Any, case: dict[str, Any], arrays: Arrays) -> tuple[Any, Any]:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    dtype = jnp.dtype(case["dtype"])
    weight = None if case["weight"] is None else jnp.asarray(arrays[case["weight"]], dtype)
    target = arrays[case["target"]]
    target = jnp.asarray(target, dtype if target.dtype.kind == "f" else target.dtype)
    arguments = {name: case[name] for name in ("ignore_index", "reduction", "label_smoothing")}

    def total(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        value = getattr(file, case["name"])(logits, target, weight=weight, **arguments)
        return (value * upstream(value.shape).astype(value.dtype)).sum(), value

    gradient, value = jax.grad(total, has_aux=True)(jnp.asarray(arrays[case["logits"]], dtype))
    return np.asarray(value, np.float64), np.asarray(gradient, np.float64)


def run_keras(file: Any, case: dict[str, Any], arrays: Arrays) -> tuple[Any, Any]:
    import keras  # noqa: PLC0415

    loss = getattr(file, case["name"])(
        class_weight=None if case["weight"] is None else arrays[case["weight"]].tolist(),
        ignore_class=case["ignore_index"],
        label_smoothing=case["label_smoothing"],
        reduction={"none": None, "sum": "sum", "mean": "sum_over_batch_size"}[case["reduction"]],
        dtype=case["dtype"],
    )
    loss = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    logits, target = arrays[case["logits"]].astype(case["dtype"]), arrays[case["target"]]
    if keras.backend.backend() == "torch":
        import torch  # noqa: PLC0415

        leaf = torch.from_numpy(logits).requires_grad_()
        value = loss(target, leaf)
        if not value.requires_grad:
            return value.double().numpy(), np.zeros(logits.shape)
        (gradient,) = torch.autograd.grad((value * torch.from_numpy(upstream(value.shape)).to(value.dtype)).sum(), leaf)
        return value.detach().double().numpy(), gradient.double().numpy()
    import jax  # noqa: PLC0415

    def total(logits: Any) -> tuple[Any, Any]:
        value = loss(target, logits)
        return (value * upstream(value.shape).astype(value.dtype)).sum(), value

    gradient, value = jax.grad(total, has_aux=True)(jax.numpy.asarray(logits))
    return np.asarray(value, np.float64), np.asarray(gradient, np.float64)


RUNNERS: dict[str, Runner] = {"torch": run_torch, "jax": run_jax, "keras": run_keras}


def load(path: Path) -> Any:
    """The module of an exported file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def main(directory: Path) -> None:
    arrays = dict(np.load(directory / "arrays.npz"))
    files: dict[str, Any] = {}
    results: dict[str, np.ndarray] = {}
    for number, case in enumerate(json.loads((directory / "plan.json").read_text())):
        name = case["file"]
        files[name] = files[name] if name in files else load(directory / name)
        found = RUNNERS[case["framework"]](files[name], case, arrays)
        results[f"{number}.value"], results[f"{number}.gradient"] = found
    np.savez(directory / "results.npz", allow_pickle=False, **results)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
