"""The command line.

Nothing heavy is imported before the arguments are understood, so that --help and usage errors come at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
import types

from lossmith.errors import ConfigError, FormulaError, LossmithError
from lossmith.version import __version__

_OPTION = re.compile(r"(?!-)|--?[A-Za-z][\w-]*(=|$)")  # also whatever does not begin with a minus
_MAX_WORKERS = 1_024
BEGAN = time.monotonic()  # the wall time of a run counts from here, imports included


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit code: 0 done, 2 bad input, 130 stopped by Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGINT, _end_at_once)
    try:
        return _run(arguments)
    except FormulaError as error:
        print(f"lossmith: {error}\n{error.pointer()}", file=sys.stderr)
    except LossmithError as error:
        print(f"lossmith: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("lossmith: stopped", file=sys.stderr)
        return 130
    return 2


def _end_at_once(number: int, frame: types.FrameType | None) -> None:
    """Ctrl-C where no work is under way, while torch is imported above all.

    An exception would be lost there: Python ignores those raised in its import machinery's callbacks. Ending at once
    loses nothing: whatever writes does so in whole transactions, and workers end with this process.
    """
    os.write(2, b"lossmith: stopped\n")
    os._exit(130)


def _run(arguments: list[str]) -> int:
    if arguments in (["--version"], ["-V"]):
        print(f"lossmith {__version__}")
        return 0
    import tyro  # noqa: PLC0415 - here, so that Ctrl-C meets the handler
    from tyro.conf import OmitArgPrefixes  # noqa: PLC0415

    from lossmith.arguments import Command, Trains  # noqa: PLC0415
    from lossmith.execution.local import LocalExecutor  # noqa: PLC0415

    # a formula may begin with a minus; the blank tells it from an option, and formulas ignore blanks. So a "--", which
    # says that no options follow, is not needed
    arguments = [a if _OPTION.match(a) else f" {a}" for a in arguments if a != "--"]
    command = tyro.cli(
        Command,  # type: ignore[arg-type] - a union of dataclasses is what tyro documents for subcommands
        prog="lossmith",
        description="Evolve loss functions for image classifiers, and compare them with cross-entropy."
        " 'lossmith --version' prints the version.",
        args=arguments,
        config=(OmitArgPrefixes,),
    )
    with contextlib.ExitStack() as stack:
        executor = None
        if isinstance(command, Trains):  # first, so that the workers' server imports torch while this process does
            executor = stack.enter_context(LocalExecutor(_workers(command.workers), ["lossmith.search.serving"]))
        from lossmith import commands  # noqa: PLC0415 - it imports torch

        return commands.run(command, executor, BEGAN)


def _workers(wanted: int | None) -> int:
    """The number of workers: the one asked for, or the cores that this process may use."""
    if wanted is not None and not 1 <= wanted <= _MAX_WORKERS:
        raise ConfigError(f"--workers {wanted}: expected 1 to {_MAX_WORKERS}")
    return wanted or len(os.sched_getaffinity(0))
