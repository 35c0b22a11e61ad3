"""What each framework's users do with its files: compile, map, fit, save; and the examples of docs/export.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lossmith import loss
from lossmith.losses.export import export

DOCUMENT = (Path(__file__).parents[3] / "docs" / "export.md").read_text(encoding="utf-8")

TORCH = """
import copy, io
module = FocalLoss(weight=torch.rand(10), ignore_index=3)
assert list(module.state_dict()) == ["weight"]
assert torch.equal(copy.deepcopy(module)(logits, labels), module(logits, labels))
few = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
assert torch.autograd.gradgradcheck(focal_loss, (few, labels[:3] % 4))
"""

JAX = """
import numpy as np
assert per_example.shape == (8,) and np.allclose(per_example.mean(), value, rtol=1e-5)
assert np.allclose(padded, focal_loss(logits[:5], labels[:5]), rtol=1e-5)
assert gradient.shape == (8, 10) and np.isfinite(gradient).all()
assert np.isnan(focal_loss(logits, labels + 9, reduction="none")[1]) and jnp.isnan(focal_loss(logits, -labels))
assert np.isnan(focal_loss(logits, jnp.full(8, -100)))  # the mean of nothing
assert focal_loss(logits.astype("bfloat16"), labels).dtype == "bfloat16"
soft = jax.nn.softmax(logits)
of_labels = jax.grad(focal_loss, argnums=1)(logits, soft)
assert of_labels.shape == (8, 10) and np.isfinite(of_labels).all()
for wrong in ({"labels": labels[:5]}, {"labels": soft.astype(int)}, {"labels": labels, "reduction": "average"}):
    try:
        focal_loss(logits, **wrong)
    except ValueError:
        continue
    raise AssertionError(wrong)
"""

KERAS = """
import pathlib
from scipy import special
import bessel
from keras import ops

x = np.concatenate([np.linspace(-40, 40, 2001), [0.0, 8.0, -8.0, 1e-12, 500.0]])
for name in ("i0", "i0e", "i1", "i1e"):
    near = x if name.endswith("e") else x[abs(x) < 80]
    found = ops.convert_to_numpy(getattr(bessel, name)(ops.convert_to_tensor(near, dtype="float64")))
    np.testing.assert_allclose(found, getattr(special, name)(near), rtol=5e-15)

y, z = np.array([0, 1, 2]), np.random.randn(3, 4).astype("float32")
p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
close = lambda a, b: np.testing.assert_allclose(ops.convert_to_numpy(a), ops.convert_to_numpy(b), rtol=1e-5)
close(FocalLoss()(y, z), FocalLoss(from_logits=False)(y, p))
close(FocalLoss()(y, z), FocalLoss()(y[:, None], z))
close(FocalLoss()(y, z), FocalLoss()(np.eye(4)[y], z))
close(FocalLoss()(np.array([0, -100, 2]), z), FocalLoss()(y[[0, 2]], z[[0, 2]]))
close(FocalLoss()(np.array([-100] * 3), z), 0.0)
assert np.isnan(ops.convert_to_numpy(FocalLoss()(np.array([0, 4, 2]), z)))
assert np.isfinite(ops.convert_to_numpy(FocalLoss(dtype="bfloat16")(y, z)))
config = FocalLoss(class_weight=[1, 2, 3, 4], label_smoothing=0.1, ignore_class=None, reduction="sum").get_config()
assert FocalLoss.from_config(config).get_config() == config
model.save("model.keras")
images = np.random.rand(4, 20)
loaded = keras.models.load_model("model.keras")
close(loaded.predict(images, verbose=0), model.predict(images, verbose=0))
assert isinstance(loaded.loss, FocalLoss)
"""


def example(framework: str) -> str:
    (program,) = re.findall(rf"```python {framework}\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    return program


@pytest.mark.parametrize(("framework", "more"), [("torch", TORCH), ("jax", JAX), ("keras", KERAS)])
def test_the_document_s_example_and_more(framework: str, more: str, tmp_path: Path) -> None:
    assert f"lossmith export focal --to {framework} --out focal_loss.py" in DOCUMENT
    (tmp_path / "focal_loss.py").write_text(export(loss("focal"), to=framework))
    bessel = loss("y * i0(yhat) + y * i0e(yhat) - y * i1(yhat) * i1e(yhat)", flip=False)
    (tmp_path / "bessel.py").write_text(export(bessel, to=framework))
    (tmp_path / "program.py").write_text(f"{example(framework)}\n{more}")
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "KERAS_HOME": str(tmp_path)}
    environment |= {"OMP_NUM_THREADS": "1", "JAX_ENABLE_X64": "1"}
    own = ["-W", "ignore:__array__ implementation:DeprecationWarning"]  # of Keras, where it saves variables
    command = [sys.executable, "-W", "error", *own, "program.py"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
