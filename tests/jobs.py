"""Jobs for executors, in a module that worker processes can import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import torch

from lossmith.errors import LossmithError


def work(payload: Any) -> Any:
    match payload:
        case ("raise", text):
            raise ValueError(text)
        case ("die", _):
            os.kill(os.getpid(), signal.SIGKILL)
        case ("sleep", seconds):
            time.sleep(seconds)
        case ("threads", _):
            return torch.get_num_threads()
    return payload


class Setup:
    def __call__(self) -> Callable[[Any], Any]:
        return work


class BrokenSetup:
    def __call__(self) -> Callable[[Any], Any]:
        raise LossmithError("no data here")


class DyingSetup:
    def __call__(self) -> Callable[[Any], Any]:
        os._exit(3)
