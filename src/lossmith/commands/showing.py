"""The commands that show or write, and train nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from lossmith import arguments
from lossmith.arguments.showing import BenchEngine, BenchLosses
from lossmith.commands.work import is_directory
from lossmith.errors import ConfigError, RunError
from lossmith.files import write_atomically
from lossmith.ledger import Ledger
from lossmith.losses.build import loss as build_loss
from lossmith.losses.export import export
from lossmith.report import live, terminal
from lossmith.report.confirmation_text import summary as confirmation_summary
from lossmith.report.controls_text import null_summary
from lossmith.report.elimination_text import elimination_summary
from lossmith.report.fidelity_text import fidelity_summary
from lossmith.report.transfer_text import transfer_summary
from lossmith.search.best import FILE as BEST
from lossmith.study.study import is_study, read_study
from lossmith.train.data import fetch_fashion_mnist
from lossmith.train.data.fashion import download_directory


def show(target: str, console: Console) -> None:
    if is_directory(target):
        _show_directory(Path(target), console)
    elif not target.strip():
        raise ConfigError("show: name a run's directory or a loss, such as 'lossmith show focal'")
    else:
        console.print(terminal.loss_summary(target))


def _show_directory(directory: Path, console: Console) -> None:
    """A run, or the result of each stage of a study."""
    stages = [directory / stage for stage in read_study(directory).stages] if is_study(directory) else [directory]
    for stage in stages:
        if is_study(directory):
            console.print(f"\n[bold]{stage.name}[/bold]" if stage.is_dir() else f"\n{stage.name}: not begun")
        if not (stage.is_dir() or stage == directory):
            continue
        with Ledger.read(stage) as ledger:
            kind = next((kind for kind in _SUMMARIES if kind in ledger.configuration()), None)
            found = ledger.results(kind) if kind else []
            if kind is None:
                console.print(terminal.run_summary(ledger))
            elif found:
                console.print(_SUMMARIES[kind](found[-1]))
            else:
                console.print(f"{stage}: {kind}, not finished; 'lossmith resume {stage}' goes on with it")


_SUMMARIES: dict[str, Callable[[Mapping[str, Any]], RenderableType]] = {
    "null": null_summary,
    "elimination": elimination_summary,
    "fidelity": fidelity_summary,
    "transfer": transfer_summary,
    "confirmation": confirmation_summary,
}


def report(command: arguments.Report) -> Path:
    """Write the report of whatever the directory holds; gives its page."""
    from lossmith.report.study.page import write_study_report  # noqa: PLC0415 - no other command needs these
    from lossmith.report.study.reading import is_staged  # noqa: PLC0415 - likewise

    if is_staged(command.directory):
        return write_study_report(command.directory, command.out)
    with Ledger.read(command.directory) as ledger:
        contents = ledger.results("fidelity")
    if contents:
        from lossmith.report.fidelity import write_fidelity  # noqa: PLC0415 - likewise

        return write_fidelity(command.directory, contents[-1:], command.out)
    from lossmith.report.page import write_report  # noqa: PLC0415 - plotly takes long

    return write_report(command.directory, command.out)


def card(command: arguments.Card, console: Console) -> None:
    from lossmith.report.card import card_view  # noqa: PLC0415 - no other command needs these
    from lossmith.report.card_page import write_card  # noqa: PLC0415 - likewise
    from lossmith.report.card_terminal import card_text  # noqa: PLC0415 - likewise

    if not command.target.strip():
        raise ConfigError("card: name a loss, such as 'lossmith card focal'")
    if command.html is not None and not command.html.name:
        raise ConfigError("--html: name a file, such as card.html")
    view = card_view(command.target, classes=command.classes, evidence=command.evidence)
    if command.html is None:
        console.print(card_text(view))
    else:
        print(write_card(view, command.html))


def write_export(command: arguments.Export) -> None:
    if not command.loss.strip():
        raise ConfigError("export: name a loss, such as 'lossmith export focal --to torch'")
    if is_directory(command.loss) and not (Path(command.loss.strip()) / BEST).exists():
        raise RunError(f"{command.loss}: has no {BEST}; name the directory of a run that has trained a loss")
    text = export(build_loss(command.loss), to=command.to)
    if command.out is None:
        print(text, end="")
    elif not command.out.name:
        raise ConfigError("--out: name a file, such as --out focal_loss.py")
    else:
        print(write_atomically(command.out, text))


def bench(what: BenchLosses | BenchEngine, console: Console) -> None:
    if isinstance(what, BenchLosses):
        from lossmith.bench.report import run as bench_losses  # noqa: PLC0415 - no other command needs it

        bench_losses(console, quick=what.quick)
        return
    from lossmith.bench.engine.report import run as bench_engine  # noqa: PLC0415 - likewise

    bench_engine(console, task=what.task, data=what.data, synthetic=what.synthetic, quick=what.quick, out=what.json)


def fetch(console: Console) -> None:
    with live.DownloadProgress(console) as display:
        directory = fetch_fashion_mnist(download_directory(), progress=display.update)
    print(f"Fashion-MNIST is in {directory}")
