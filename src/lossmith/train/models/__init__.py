"""The networks of the method and its follow-up, and how a user's own takes their place.

`build_model` makes a network with every weight drawn from a generator that is passed in; `set_dropout` changes its
dropout between stages; `try_model` says before a run whether a model fits the data, and what is worth knowing of it.
"""

from lossmith.train.dropout import set_dropout
from lossmith.train.models.build import DEFAULT_DROPOUT, build_model
from lossmith.train.models.check import check_model, try_model

__all__ = ["DEFAULT_DROPOUT", "build_model", "check_model", "set_dropout", "try_model"]
