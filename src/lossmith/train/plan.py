"""How losses are trained on a machine: one after the other or several at once, in which precision, compiled or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field


@dataclass(frozen=True, slots=True)
class Plan:
    """The choice. Results depend on all of it but `slots` and `why`."""

    way: Literal["processes", "fused"]
    slots: Annotated[int, Field(ge=1)] = 1  # losses at once in one process
    dtype: Literal["float32", "bfloat16"] = "float32"
    compiled: bool = False
    why: str = field(default="", compare=False)  # what it was chosen for, for a person to read
