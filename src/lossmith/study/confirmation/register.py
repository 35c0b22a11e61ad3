"""From what a user asks for to a registration: the losses are found and frozen, the sources read, the guards asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lossmith.errors import ConfigError, RunError
from lossmith.ledger import Ledger, LossRow
from lossmith.search.seeds import Purpose, stage_seeds
from lossmith.study.confirmation.cells import registered_cell, settings
from lossmith.study.confirmation.config import ConfirmationConfig
from lossmith.study.confirmation.guards import (
    require_different,
    require_fresh,
    require_seeds,
    require_shortlist,
    same_function,
)
from lossmith.study.confirmation.registration import (
    LeftOut,
    RegisteredCell,
    RegisteredLoss,
    RegisteredPrimary,
    RegisteredSource,
    RegisteredTrainings,
    RegisteredTuning,
    Registration,
    Role,
)
from lossmith.study.confirmation.sources import SourceRun, all_sources
from lossmith.study.controls import KIND as NULL
from lossmith.study.elimination.finalists import finalists
from lossmith.version import __version__

Named = Callable[[str, str], tuple[str, LossRow]]  # as `lossmith.commands.naming.named_loss`


def register(config: ConfirmationConfig, named: Named) -> tuple[Registration, list[SourceRun]]:
    """The registration of a confirmation, and the runs that led to its losses. No data set is read.

    Args:
        config: what the user asks for.
        named: finds the (label, loss) that a text means; called with the text and the setting's name. The directory of
            an elimination is handled here.

    Raises:
        ConfigError, RunError, FormulaError: what is asked for cannot be had, or would prove nothing; see `guards`.
    """
    hard = not any(task.augment.mixes for task in config.cells)
    baselines = [_loss(*named(text, "baselines"), "baseline", text) for text in config.baselines]
    candidates, left_out = _collected(config.losses, "candidate", baselines, named, "losses", hard=hard)
    controls, others = _collected(config.controls, "control", [*baselines, *candidates], named, "controls", hard=hard)
    require_shortlist(candidates)
    losses = _apart([*candidates, *controls, *baselines])
    require_different(losses, hard=hard)
    comparisons = len(config.cells) * (len(losses) - 1)
    require_seeds(config.seeds, comparisons)
    seeds = stage_seeds(config.seed, Purpose.CONFIRMATION, config.seeds)
    tuning_seeds = stage_seeds(config.seed, Purpose.TUNING, config.tuning.seeds)
    if config.null_search is not None:
        _require_null(config.null_search)
    directories = [text for text in (*config.losses, *config.controls) if _is_run(text)]
    sources = all_sources([*directories, *config.sources, *([config.null_search] if config.null_search else [])])
    require_fresh(seeds, sources)
    cells = tuple(registered_cell(task) for task in config.cells)
    tuning = RegisteredTuning(
        learning_rates=config.tuning.learning_rates,
        weight_decays=config.tuning.weight_decays,
        seeds=tuple(tuning_seeds),
    )
    for cell in cells:
        settings(cell, tuning)  # a learning rate may be out of range
    registration = Registration(
        version=__version__,
        name=config.name,
        primary=_primary(config, losses, cells, baselines[0].label),
        losses=tuple(losses),
        left_out=(*left_out, *others),
        baseline=baselines[0].key,
        cells=cells,
        seed=config.seed,
        seeds=tuple(seeds),
        tuning=tuning,
        margin=config.margin,
        confidence=config.confidence,
        comparisons=comparisons,
        overlap=config.overlap,
        null_search=config.null_search,
        sources=tuple(RegisteredSource(directory=each.directory, kind=each.kind, name=each.name) for each in sources),
        trainings=RegisteredTrainings(
            tuning=len(cells) * len(losses) * config.tuning.points * config.tuning.seeds,
            testing=len(cells) * len(losses) * config.seeds,
        ),
        execution=config.execution,
    )
    return registration, sources


def _collected(
    texts: Sequence[str], role: Role, taken: Sequence[RegisteredLoss], named: Named, where: str, *, hard: bool
) -> tuple[list[RegisteredLoss], list[LeftOut]]:
    """The losses of `texts` in this role: of a run, without those that are there already as functions (in `taken`).

    A loss that the user names by itself is kept all the same: that is a mistake, of which `require_different` tells.
    """
    kept: list[RegisteredLoss] = []
    left_out: list[LeftOut] = []
    for text in texts:
        found = _from(text, role, named, where)
        for loss in found[:1] if role == "control" else found:  # of a control run, its winner
            twin = next((other for other in (*taken, *kept) if same_function(loss, other, hard=hard)), None)
            if twin is None or not _is_run(text):
                kept.append(loss)
            else:
                why = f"it is the {twin.role} '{twin.label}', up to a factor"
                left_out.append(LeftOut(label=loss.label, formula=loss.formula, origin=text, why=why))
    return kept, left_out


def _from(text: str, role: Role, named: Named, where: str) -> list[RegisteredLoss]:
    """The losses that a text means: the finalists of an elimination, else one."""
    if _is_run(text) and (found := finalists(text)) is not None:
        return [_loss(each.label, each.loss, role, text) for each in found]
    return [_loss(*named(text, where), role, text)]


def _loss(label: str, row: LossRow, role: Role, origin: str) -> RegisteredLoss:
    return RegisteredLoss(key=row.key, label=label, formula=row.formula, flip=row.flip, role=role, origin=origin)


def _apart(losses: Sequence[RegisteredLoss]) -> list[RegisteredLoss]:
    """The losses with labels that are all different."""
    found: list[RegisteredLoss] = []
    for loss in losses:
        label, number = loss.label, 2
        while any(other.label == label and other.key != loss.key for other in found):
            label, number = f"{loss.label} ({number})", number + 1
        found.append(loss.model_copy(update={"label": label}))
    return found


def _is_run(text: str) -> bool:
    try:
        return Path(text).is_dir()
    except OSError:  # a formula may be longer than a file's name
        return False


def _require_null(directory: str) -> None:
    with Ledger.read(Path(directory)) as ledger:
        if not ledger.results(NULL):
            raise RunError(f"{directory}: holds no finished null search; 'lossmith resume {directory}' may end it")


def _primary(
    config: ConfirmationConfig, losses: Sequence[RegisteredLoss], cells: Sequence[RegisteredCell], baseline: str
) -> RegisteredPrimary:
    candidates = [loss for loss in losses if loss.role == "candidate"]
    wanted, cell = config.primary.loss, config.primary.cell
    loss = next((each for each in candidates if wanted in (None, each.origin, each.label)), None)
    if loss is None:
        raise ConfigError(f"primary.loss: '{wanted}' is none of the candidates; write it as in losses")
    if cell is not None and cell not in [each.name for each in cells]:
        raise ConfigError(f"primary.cell: no cell has the name '{cell}'; use {', '.join(each.name for each in cells)}")
    where = cell or cells[0].name
    statement = f"On {where}, {loss.label} has another mean test accuracy than {baseline}."
    return RegisteredPrimary(loss=loss.key, cell=where, statement=statement)
