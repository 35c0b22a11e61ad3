"""Lossmith evolves loss functions for image classifiers, proves which beat cross-entropy, and hands them over.

import lossmith

criterion = lossmith.loss("baikal")            # called like torch.nn.CrossEntropyLoss()
criterion = lossmith.loss("-y * log(yhat)")    # or any formula in the target y and the softmax output yhat
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lossmith.version import __version__

if TYPE_CHECKING:
    from lossmith import functional
    from lossmith.losses.build import loss
    from lossmith.space.expression import Expression
    from lossmith.space.genome import Genome

__all__ = ["Expression", "Genome", "__version__", "functional", "loss"]

# Imported when first used, so that the command line's --help does not wait for torch.
_PUBLIC = {
    "loss": "lossmith.losses.build",
    "Expression": "lossmith.space.expression",
    "Genome": "lossmith.space.genome",
}


def __getattr__(name: str) -> Any:
    if name == "functional":
        return importlib.import_module("lossmith.functional")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lossmith' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
