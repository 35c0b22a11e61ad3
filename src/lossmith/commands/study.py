"""`lossmith study`: every stage, in order, each from where it was."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lossmith.arguments.study import Study
from lossmith.commands.confirmation import run_confirmation
from lossmith.commands.controls import run_null, run_random
from lossmith.commands.elimination import run_elimination
from lossmith.commands.searching import search_in
from lossmith.commands.transfer import run_transfer
from lossmith.commands.work import STOPPED, Work
from lossmith.errors import ConfigError, RunError
from lossmith.report import words
from lossmith.study import study
from lossmith.study.study import StudyConfig

_RUNS = Path("runs")


def run_study(command: Study, work: Work) -> int:
    if (command.preset is None) == (command.config is None):
        known = ", ".join(study.preset_names())
        raise ConfigError(f"give the name of a study ({known}) or a --config FILE")
    if command.config is not None:
        config = study.load_file(command.config, command.overrides)
    else:
        config = study.load_preset(command.preset or "", command.overrides)
    directory = command.run or _RUNS / config.name
    if not study.is_study(directory):
        study.write_study(directory, config)
    elif study.read_study(directory) != config:
        raise RunError(
            f"{directory}: holds a study with other settings; 'lossmith resume {directory}' goes on with it, or use"
            " another --run"
        )
    return go_on(config, directory, work)


def resume_study(directory: Path, work: Work) -> int:
    return go_on(study.read_study(directory), directory, work)


def go_on(config: StudyConfig, directory: Path, work: Work) -> int:
    """Run the stages of a study that are not done, then write its report.

    Raises:
        LossmithError: a stage cannot go on; what is finished is kept.
    """
    steps = _steps(config, directory, work)
    with work.stopping() as stopped:
        for number, stage in enumerate(config.stages, 1):
            began = time.monotonic()
            print(f"\nstage {number} of {len(config.stages)}: {stage}", flush=True)
            if stopped.is_set() or steps[stage]():
                print(f"the study stopped in stage '{stage}'; go on with: lossmith resume {directory}")
                return STOPPED
            print(f"stage '{stage}' took {words.duration(time.monotonic() - began)}", flush=True)
            work.next_stage()
    from lossmith.report.study.page import write_study_report  # noqa: PLC0415 - only the end of a study needs it

    print(f"\nreport: {write_study_report(directory)}")
    return 0


def _steps(config: StudyConfig, directory: Path, work: Work) -> dict[str, Callable[[], int]]:
    places = {stage: directory / stage for stage in config.stages}
    random = places.get(study.RANDOM, directory)

    def transfer() -> int:
        if config.transfer is None:
            raise AssertionError("no such stage")
        return run_transfer(study.transfer_in(config.transfer, directory), places[study.TRANSFER], work)

    return {
        study.SEARCH: lambda: search_in(config.search, places[study.SEARCH], work),
        study.RANDOM: lambda: run_random(places[study.SEARCH], random, work),
        study.NULL: lambda: run_null(places[study.SEARCH], places[study.NULL], work),
        study.ELIMINATION: lambda: run_elimination(
            config.elimination, [places[study.SEARCH]], places[study.ELIMINATION], work
        ),
        study.ELIMINATION_RANDOM: lambda: run_elimination(
            config.elimination, [random], places[study.ELIMINATION_RANDOM], work
        ),
        study.TRANSFER: transfer,
        study.CONFIRMATION: lambda: run_confirmation(
            study.confirmation_in(config, directory), places[study.CONFIRMATION], work
        ),
    }
