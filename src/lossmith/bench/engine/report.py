"""What `lossmith bench engine` prints and writes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lossmith.bench.engine.data import find_task, images_of
from lossmith.bench.engine.measure import measure
from lossmith.bench.engine.plans import Options, plan_name
from lossmith.bench.engine.result import EngineResult
from lossmith.errors import ConfigError
from lossmith.files import write_atomically
from lossmith.report.live import DecodingProgress

FORMAT = 1  # of the JSON
_BUSY = 0.1  # share of the machine that others use; with more, the user is warned
_SHORT = {"optimizer": "optim.", "network": "net"}


def run(console: Console, *, task: str, data: Path | None, synthetic: bool, quick: bool, out: Path | None) -> None:
    """Measure and print; some minutes, `quick` about half a minute.

    Args:
        console: where to print.
        task: a preset's name or a YAML file.
        data: where its data is, if the task does not say.
        synthetic: random images instead.
        quick: shorter, once, fewer ways.
        out: the file that takes everything as JSON.

    Raises:
        LossmithError: no such task, data or directory of `out`, or a measuring process failed.
    """
    if out is not None and (not out.name or not out.parent.is_dir()):
        raise ConfigError(f"--json {out}: name a file in a directory that exists")
    config = find_task(task, data, synthetic=synthetic)
    with DecodingProgress(console) as display:
        dataset = images_of(config, synthetic=synthetic, progress=display.update)
    if synthetic:
        console.print("random images: what follows tells speed alone, nothing about accuracy")
    with console.status("") as status:

        def show(text: str) -> None:
            status.update(text)
            if not console.is_terminal:
                console.print(f"measuring: {text}", markup=False)

        found = measure(config, dataset, Options(quick=quick, synthetic=synthetic), show)
    print_result(console, found)
    if out is not None:
        write_atomically(out, json.dumps({"format": FORMAT, **asdict(found)}, indent=1) + "\n")
        console.print(f"written: {out}", markup=False, soft_wrap=True)


def print_result(console: Console, found: EngineResult) -> None:
    """The tables."""
    console.print(
        f"task '{found.task}' ({found.data}), {found.machine}, {found.cores} cores, torch {found.torch}\n"
        f"a step of one candidate: {found.flops_per_step / 1e6:,.1f} million floating-point operations (two for each"
        f" multiply-add), about {found.bytes_per_step / 1e6:,.1f} MB moved if no cache helped (estimate)",
        markup=False,
    )
    for limit in found.limits:
        threads = "1 thread" if limit.processes == 1 else f"{limit.processes} processes of one thread at once"
        console.print(
            f"limits of {threads}: {limit.arithmetic / 1e9:.0f} GFLOP/s (float32 matrix product),"
            f" {limit.bandwidth / 1e9:.1f} GB/s (triad)",
            markup=False,
        )
    if found.busy > _BUSY:
        console.print(
            f"note: other programs used {found.busy:.0%} of this machine when the measurement began. Figures taken"
            " beside others say little, above all those of plain PyTorch with several threads, which wait for each"
            " other."
        )
    for table in (_ways(found), _shares(found), _memory(found)):
        console.print(table)
    console.print(_rest(found), markup=False)
    for note in found.notes:
        console.print(f"note: {note}", markup=False)


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _ways(found: EngineResult) -> Table:
    images = " (random images: speed only)" if found.synthetic else ""
    columns = ("procs", "steps/s", "ratio", "eval/h", "arith.", "memory")
    table = _table(f"Ways of training{images}", "way", *columns)
    for way in found.ways:
        table.add_row(
            way.name,
            str(way.processes),
            f"{way.rate:,.1f}",
            f"{way.ratio:.2f}",
            _hourly(way.evaluations_per_hour),
            f"{way.arithmetic:.0%}",
            f"{way.bandwidth:.0%}",
        )
    table.caption = (
        "plain: one network in plain PyTorch; procs: processes at the same time, of one thread each unless the way says"
        " otherwise; steps: of candidates, of all processes together, median of the rounds; ratio: to the first line;"
        " eval: of all steps, none ended early; arith., memory: shares of the limits of as many threads, that of memory"
        " by the estimate (a network that fits in the caches can exceed 100%)"
    )
    return table


def _hourly(count: float | None) -> str:
    if count is None:
        return "-"
    return f"{count:,.0f}" if count >= 10 else f"{count:.2f}"


def _shares(found: EngineResult) -> Table:
    best = found.best
    parts = list(found.shares[0].parts)
    processes = f"{best.processes} process" + ("es" if best.processes > 1 else "")
    names = (_SHORT.get(part, part) for part in parts)
    table = _table(f"Where the time goes: {best.name}, {processes}", "loss", "ms", *names)
    for share, name in zip(found.shares, ("cross_entropy", "evolved"), strict=True):
        table.add_row(name, f"{share.milliseconds:.3f}", *(f"{share.parts[part]:.0%}" for part in parts))
    table.caption = (
        f"evolved: {found.shares[1].loss}; ms: of one core, for a step of one candidate; data: gathering, augmentation,"
        " scaling; net: forwards and backwards; loss: value and gradient on the logits"
    )
    return table


def _memory(found: EngineResult) -> Table:
    table = _table("Memory of one process", "way", "MiB before", "peak above that", "MiB a loss")
    for memory in found.memory:
        each = memory.peak / memory.plan.slots
        table.add_row(plan_name(memory.plan), f"{memory.base:.0f}", f"{memory.peak:.0f}", f"{each:.1f}")
    table.caption = "before: a new process with its imports and the data; the peak: code loaded at first use, too"
    return table


def _rest(found: EngineResult) -> str:
    lines: list[str] = []
    if found.plain_evaluation is not None:
        hourly = 3600.0 / found.plain_evaluation
        lines.append(f"a whole evaluation in plain PyTorch took {found.plain_evaluation:.2f} s: {hourly:,.0f} an hour")
    if found.best_evaluations_per_hour is not None:
        lines.append(f"whole evaluations, {found.best.name}: {found.best_evaluations_per_hour:,.0f} an hour")
    if found.compile_seconds is not None:
        lines.append(
            f"compiling took {found.compile_seconds:.0f} s before the first step (less where torch has kept it)"
        )
    best = found.best
    for stage, seconds in found.search_seconds.items():
        line = f"the search's own work, {stage}: {1e3 * seconds:.0f} ms of a core a candidate"
        if best.evaluations_per_hour is not None:
            evaluation = 3600.0 * best.processes / best.evaluations_per_hour  # seconds of a core
            line += f", {seconds / (seconds + evaluation):.1%} of all beside its evaluation"
        lines.append(f"{line} (the ledger's writes not counted)")
    return "\n".join(lines)
