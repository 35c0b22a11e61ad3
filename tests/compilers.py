"""What torch.compile needs on a CPU, and a mark for tests that need it."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

import pytest


def missing() -> str:
    """What torch.compile lacks on this machine, or an empty text."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return f"torch.compile needs a C++ compiler, and '{compiler}' is not here"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return "" if header.is_file() else f"torch.compile needs Python's headers, and {header} is not here"


# Only the machine decides: a fresh Debian has python3 and make, while torch.compile on a CPU wants a compiler and
# headers. Where they are, as in continuous integration, nothing is skipped.
needs_compiler = pytest.mark.skipif(bool(missing()), reason=missing())
