"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import UseAppendAction, arg

Workers = Annotated[
    int | None, arg(metavar="N", help="processes of one thread each", help_behavior_hint="(default: one per core)")
]
Config = Annotated[
    Path | None, arg(metavar="FILE", help="YAML file with the settings, instead of a preset", help_behavior_hint="")
]
Overrides = Annotated[
    tuple[str, ...],
    UseAppendAction,
    arg(
        name="set",
        metavar="KEY=VALUE",
        help="change a setting: task.steps=800, phases.0.keep=5",
        help_behavior_hint="(repeatable)",
    ),
]
