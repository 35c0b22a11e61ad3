"""What every test shares: one thread, since the nets here are too small for more and workers share the machine."""

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("lossmith", deadline=None, derandomize=True)  # the same examples on every machine
settings.load_profile("lossmith")
