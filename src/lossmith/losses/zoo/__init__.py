"""Published losses. `ZOO` is the table of what there is; `lossmith.loss(name)` builds one.

The losses "NeuroLoss1" to "NeuroLoss3" and "inverse Bessel logarithm" are not here: their formulas stand only in papers
that were not at hand. `lossmith.loss` takes any formula as text, and `losses.toml` gives it a name, so each is one line
for whoever has the paper.
"""

from lossmith.losses.zoo.record import Parameter, ZooLoss
from lossmith.losses.zoo.table import ZOO

__all__ = ["ZOO", "Parameter", "ZooLoss"]
