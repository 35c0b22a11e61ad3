"""What every test shares: one thread, since the nets here are too small for more and workers share the machine."""

import atexit
import os
import shutil
import tempfile

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("lossmith", deadline=None, derandomize=True)  # the same examples on every machine
settings.load_profile("lossmith")

# decoded images and remembered choices go to a place of the tests' own; programs that tests start inherit it
for name in ("LOSSMITH_CACHE", "XDG_CACHE_HOME"):
    os.environ[name] = tempfile.mkdtemp(prefix="lossmith-tests-cache-")
    atexit.register(shutil.rmtree, os.environ[name], ignore_errors=True)
