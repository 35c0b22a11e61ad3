"""Files of pixels, mapped into memory: every process that opens one reads the same pages, and none copies it."""

from __future__ import annotations

import math
import mmap
import os
import platform
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from lossmith.errors import DataError

# Python names this flag from 3.13 on; the value is Linux's on these machines. Without it the kernel refuses a mapping
# larger than the memory, since every page of it might be written.
_LINUX = sys.platform == "linux" and platform.machine() in {"x86_64", "aarch64"}
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if _LINUX else 0)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file of pixels. Its name tells its content (`stored.py`), so that no other can be taken for it."""

    path: str
    shape: tuple[int, int, int, int]  # P images, channels, height, width

    def map(self) -> Tensor:
        """The images, uint8 [P, C, H, W]. Writing to them changes this process's copy of a page, never the file.

        Raises:
            DataError: the file is gone, or of another size.
        """
        try:
            handle = os.open(self.path, os.O_RDONLY)
            try:
                size, expected = os.fstat(handle).st_size, math.prod(self.shape)
                if size != expected:
                    problem = f"{size} bytes where {expected} were written"
                    raise DataError(f"{self.path}: the cache of decoded images changed ({problem}); run again")
                flags = mmap.MAP_PRIVATE | _NORESERVE
                mapped = mmap.mmap(handle, 0, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
            finally:
                os.close(handle)
        except OSError as error:
            problem = f"cannot map the cache of decoded images: {error.strerror or error}"
            raise DataError(f"{self.path}: {problem}; run again") from error
        return torch.frombuffer(mapped, dtype=torch.uint8).view(self.shape)  # which keeps the mapping
