"""How far orders of losses agree, with bootstrap intervals over the losses.

A surrogate's training with one seed is compared with the mean of the expensive task over its other seeds: a training is
never compared with itself, and two that share weights and batches are not, either. So the expensive task's own single
training, judged alike, is what a surrogate can be measured against.

All intervals share the resamples, so that two surrogates can be compared on each of them.

Legend: N losses, B resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from lossmith.study.fidelity import ranks
from lossmith.study.fidelity.ranks import Array

_Statistic = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True, slots=True)
class Sample:
    """A statistic of the losses, and of their resamples."""

    value: float
    resampled: Array  # [B]

    def estimate(self, confidence: float) -> dict[str, float]:
        """The value with its percentile interval."""
        tail = (1 - confidence) / 2
        low, high = np.quantile(self.resampled, [tail, 1 - tail]).tolist()
        return {"value": self.value, "low": low, "high": high}

    def mapped(self, function: Callable[[Array], Array]) -> Sample:
        """A function of the statistic."""
        return Sample(float(function(np.array(self.value))), function(self.resampled))

    def less(self, other: Sample) -> Sample:
        """The difference, resample by resample."""
        return Sample(self.value - other.value, self.resampled - other.resampled)


def _noiseless(tau_B: Array, seeds: int) -> Array:
    """The tau with the mean of so many trainings that the losses' true order has, where two single trainings have
    `tau_B`.

    For scores that are normally distributed, and so have the correlation sin(pi tau / 2) (Greiner 1909): Spearman and
    Brown's formula gives the reliability of the mean, its root the correlation with what is measured.
    """
    single_B = np.sin(np.pi / 2 * np.clip(tau_B, 0.0, 1.0))
    reliability_B = seeds * single_B / (1 + (seeds - 1) * single_B)
    return 2 / np.pi * np.arcsin(np.sqrt(reliability_B))


class Judge:
    """The expensive task's scores, which surrogates are compared with."""

    def __init__(
        self, expensive_SN: Sequence[Array], *, top: Sequence[int], confidence: float, resamples: int, seed: int
    ) -> None:
        """`expensive_SN`: scores of each loss by seed, at least two seeds; -inf where training failed."""
        self._expensive = list(expensive_SN)
        self._top = tuple(top)
        self._confidence = confidence
        self._seed = seed
        losses = len(self._expensive[0])
        self._once = ranks.once(losses)
        self._counts_BN = ranks.resamples(losses, resamples, seed)
        self._better_N = self._better()

    def tau(self, replicates: Sequence[Array]) -> Sample:
        """Kendall's tau-b of a surrogate; `replicates` are its scores with the first seeds, one or more, [N] each."""
        return self._mean(ranks.tau, self._pairs(replicates))

    def measures(self, replicates: Sequence[Array]) -> dict[str, Any]:
        """All of a surrogate's statistics as JSON data: means over its seeds."""
        pairs = self._pairs(replicates)
        return {
            "tau": self._estimate(self._mean(ranks.tau, pairs)),
            "tau_better_half": self._estimate(self._mean(self._among_better(ranks.tau), pairs)),
            "spearman": self._estimate(self._mean(ranks.spearman, pairs)),
            "ordered_rightly": self._estimate(self._mean(ranks.ordered_rightly, pairs)),
            "recall": {str(k): self._estimate(self._recall(k, pairs)) for k in self._top},
        }

    def single(self) -> tuple[Sample, dict[str, Any]]:
        """The same of one training of the expensive task itself; its tau apart."""
        return self.tau(self._expensive), self.measures(self._expensive)

    def reliability(self) -> dict[str, Any]:
        """How far two halves of the expensive task's seeds agree, the mean over all ways to halve them; and what a
        surrogate without any noise of its own would reach, by estimate."""
        halves = [
            (self._means(half), self._means(set(range(len(self._expensive))) - set(half)))
            for half in combinations(range(len(self._expensive)), len(self._expensive) // 2)
            # of an even number each split comes twice
            if len(self._expensive) % 2 or 0 in half
        ]
        seeds = self._mean(ranks.tau, list(combinations(self._expensive, 2)))
        return {
            "splits": len(halves),
            "noiseless": self._estimate(seeds.mapped(partial(_noiseless, seeds=len(self._expensive) - 1))),
            "tau": self._estimate(self._mean(ranks.tau, halves)),
            "tau_better_half": self._estimate(self._mean(self._among_better(ranks.tau), halves)),
            "spearman": self._estimate(self._mean(ranks.spearman, halves)),
            "recall": {str(k): self._estimate(self._recall(k, halves)) for k in self._top},
        }

    def _estimate(self, sample: Sample) -> dict[str, float]:
        return sample.estimate(self._confidence)

    def _pairs(self, replicates: Sequence[Array]) -> list[tuple[Array, Array]]:
        everyone = set(range(len(self._expensive)))
        return [(scores, self._means(everyone - {seed})) for seed, scores in enumerate(replicates)]

    def _means(self, seeds: Sequence[int] | set[int]) -> Array:
        return ranks.mean_scores([self._expensive[seed] for seed in sorted(seeds)])

    def _better(self) -> Array:
        """1 for the better half of the losses by the mean over all seeds, 0 for the others; failed ones are others."""
        means_N = self._means(range(len(self._expensive)))
        half = (len(means_N) + 1) // 2
        edge = np.sort(means_N)[-half]
        return ((means_N >= edge) & np.isfinite(means_N)).astype(np.float64)

    def _among_better(self, statistic: _Statistic) -> _Statistic:
        return lambda a_N, b_N, counts_BN: statistic(a_N, b_N, counts_BN * self._better_N)

    def _mean(self, statistic: _Statistic, pairs: Sequence[tuple[Array, Array]]) -> Sample:
        value = np.mean([statistic(a_N, b_N, self._once)[0] for a_N, b_N in pairs])
        resampled_B = np.mean([statistic(a_N, b_N, self._counts_BN) for a_N, b_N in pairs], axis=0)
        return Sample(float(value), resampled_B)

    def _recall(self, k: int, pairs: Sequence[tuple[Array, Array]]) -> Sample:
        value = np.mean([ranks.recall(a_N, b_N, k) for a_N, b_N in pairs])
        resampled_B = np.mean(
            [
                ranks.recall_resampled(a_N, b_N, k, self._counts_BN, self._seed + place)
                for place, (a_N, b_N) in enumerate(pairs)
            ],
            axis=0,
        )
        return Sample(float(value), resampled_B)
