"""The real command line, in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def lossmith_command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "lossmith", *map(str, arguments)]


def run_lossmith(*arguments: object, code: int = 0, timeout: float = 900) -> str:
    """What the command printed on standard output; on standard error where another exit code than 0 is expected."""
    done = subprocess.run(
        lossmith_command(*arguments),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout
