"""Calibration beside accuracy: negative log-likelihood and calibration error on the test images."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from lossmith.study.statistics import bca_interval, differences

MEASURES = ("nll", "ece")  # lower is better
Values = Mapping[str, Mapping[str, Sequence[float | None]]]  # loss key -> measure -> by seed


def calibration(cells: Mapping[str, Values], baseline: str, confidence: float) -> dict[str, Any]:
    """Means and paired differences of the measures.

    They describe; no test is made of them, and Holm's correction of the accuracies does not count them.

    Args:
        cells: by name.
        baseline: key of the loss that the others are compared with.
        confidence: of the BCa intervals of the differences.

    Returns:
        {"confidence", "cells": [{"name", "losses": {key: {measure: {"mean", "n", "difference": null | {"n", "mean",
        "low", "high"}}}}}]}; a difference is the loss less the baseline, over the seeds with which both trained, and
        null for the baseline and for fewer than two seeds.
    """
    found = []
    for name, values in cells.items():
        losses = {
            key: {
                measure: {
                    **_mean(own[measure]),
                    "difference": None
                    if key == baseline
                    else _difference(own[measure], values[baseline][measure], confidence),
                }
                for measure in MEASURES
            }
            for key, own in values.items()
        }
        found.append({"name": name, "losses": losses})
    return {"confidence": confidence, "cells": found}


def _mean(values: Sequence[float | None]) -> dict[str, Any]:
    present = [value for value in values if value is not None]
    return {"mean": statistics.fmean(present) if present else None, "n": len(present)}


def _difference(
    values: Sequence[float | None], baseline: Sequence[float | None], confidence: float
) -> dict[str, Any] | None:
    pairs = [(a, b) for a, b in zip(values, baseline, strict=True) if a is not None and b is not None]
    if len(pairs) < 2:
        return None
    found = differences([a for a, _ in pairs], [b for _, b in pairs])
    low, high = bca_interval(found[None], confidence=confidence, seed=0)
    return {"n": len(pairs), "mean": float(found.mean()), "low": float(low[0]), "high": float(high[0])}
