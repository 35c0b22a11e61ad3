"""Statistics of paired scores: losses trained with the same seeds, on one task or on many data sets.

Pairing (same split, initial weights, batches and augmentation) removes what the seeds share from a difference, so most
of what is here works on the differences seed by seed. Nothing is random without a seed that is passed in; what is not
finite is refused. `docs/evidence.md` says which statistic answers which question.
"""

from lossmith.study.statistics.bootstrap import bca_interval
from lossmith.study.statistics.differences import differences
from lossmith.study.statistics.equivalence import equivalence
from lossmith.study.statistics.friedman import Friedman, critical_difference, friedman, groups, ranks
from lossmith.study.statistics.improvement import Improvement, probability_of_improvement
from lossmith.study.statistics.multiple import holm
from lossmith.study.statistics.paired import CONFIDENCE, PairedDifference, paired_difference
from lossmith.study.statistics.power import minimum_detectable_effect, power
from lossmith.study.statistics.signflip import attainable, pairs_needed, sign_flip
from lossmith.study.statistics.wilcoxon import Wilcoxon, wilcoxon

__all__ = [
    "CONFIDENCE",
    "Friedman",
    "Improvement",
    "PairedDifference",
    "Wilcoxon",
    "attainable",
    "bca_interval",
    "critical_difference",
    "differences",
    "equivalence",
    "friedman",
    "groups",
    "holm",
    "minimum_detectable_effect",
    "paired_difference",
    "pairs_needed",
    "power",
    "probability_of_improvement",
    "ranks",
    "sign_flip",
    "wilcoxon",
]
