"""The machine: its name, and how busy others keep it."""

from __future__ import annotations

import platform
import time
from pathlib import Path

import torch

_STAT = Path("/proc/stat")
_IDLE = (3, 4)  # of the fields of its first line: idle, and waiting for a disk


def machine_name() -> str:
    """The processor's name, and which of its instructions torch uses."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, platform.machine())}, {torch.backends.cpu.get_cpu_capability()}"


def busy_share(seconds: float = 0.5) -> float:
    """The share of all cores' time that programs use while this one sleeps; 0 where the system does not tell."""
    if not _STAT.is_file():
        return 0.0
    before = _times()
    time.sleep(seconds)
    spent = [after - earlier for after, earlier in zip(_times(), before, strict=True)]
    return 1.0 - sum(spent[place] for place in _IDLE) / max(1, sum(spent))


def _times() -> list[int]:
    """The time of all cores by what they did, in the kernel's units; guests' time is in users' already."""
    return [int(word) for word in _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
