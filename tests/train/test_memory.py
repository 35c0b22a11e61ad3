"""Keeping memory: set where glibc is, in a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys


def test_it_is_done_where_there_is_glibc() -> None:
    program = "from lossmith.train.memory import keep_memory; print(keep_memory())"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(platform.libc_ver()[0] == "glibc")
