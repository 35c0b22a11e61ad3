"""Lossmith evolves loss functions for image classifiers, proves which beat cross-entropy, and hands them over.

import lossmith

criterion = lossmith.loss("baikal")            # called like torch.nn.CrossEntropyLoss()
criterion = lossmith.loss("-y * log(yhat)")    # or any formula in the target y and the softmax output yhat
"""

from __future__ import annotations

from lossmith.losses.build import loss
from lossmith.space.expression import Expression
from lossmith.space.genome import Genome
from lossmith.version import __version__

__all__ = ["Expression", "Genome", "__version__", "loss"]
