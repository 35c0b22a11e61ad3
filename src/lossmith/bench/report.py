"""What `lossmith bench losses` prints."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from rich.console import Console
from rich.table import Table

from lossmith.bench import losses as bench


def run(console: Console, *, quick: bool) -> None:
    """Measure and print, part by part as each is done; some minutes, `quick` one.

    Raises:
        LossmithError: a measuring process failed.
    """
    names = bench.longest()
    missing = bench.compiler_missing()
    compiled = not missing and not quick
    rounds = (60, 8) if quick else (300, 25)
    console.print(f"the {len(names)} longest losses: {'; '.join(names)}", markup=False)
    if missing:
        console.print(f"note: {missing}")
    for threads in (1,) if quick else (1, 2):
        for shape, count in zip((bench.SMALL, bench.LARGE), rounds, strict=True):
            with console.status(f"{list(shape)}, {_threads(threads)}" + (", compiling first" if compiled else "")):
                found = bench.time_losses(names, shape, rounds=count, compiled=compiled, threads=threads)
            _print(console, f"{list(shape)}, {_threads(threads)}", found, "F.cross_entropy")
    if torch.cuda.is_available():
        found = bench.time_losses(names, bench.HUGE, rounds=100, compiled=False, threads=1, device="cuda")
        _print(console, f"{list(bench.HUGE)}, {torch.cuda.get_device_name()}", found, "F.cross_entropy")
        for timing in found:
            share = bench.bandwidth_fraction(timing.seconds, bench.HUGE, soft="class indices" not in timing.name)
            console.print(f"{share:6.0%} of the copy bandwidth  {timing.name}", markup=False)
    with console.status("the population"):
        found = bench.time_population(rounds=10 if quick else 40)
    shape = f"[{bench.SLOTS}, {bench.SMALL[0]}, {bench.SMALL[1]}]"
    _print(console, f"{bench.SLOTS} losses over {shape} in one call, one thread", found, "one of them alone")
    with console.status("memory"):
        memory = bench.measure_memory(names[:1] if quick else names, compiled=compiled)
    table = Table(title=f"Peak memory at {list(bench.HUGE)}, beside logits and targets", title_justify="left")
    table.add_column("loss", overflow="fold")
    table.add_column("MiB", justify="right")
    for row in memory:
        table.add_row(row.name, f"{row.mebibytes:.0f}")
    console.print(table)
    with console.status("import times"):
        found = bench.import_times(rounds=3 if quick else 10)
    _print(console, "Import, in new processes", found, "import torch")


def _print(console: Console, title: str, timings: Sequence[bench.Timing], reference: str) -> None:
    table = Table(title=f"{title}: median, and ratio to {reference}", title_justify="left")
    table.add_column("", overflow="fold")
    table.add_column("us", justify="right")
    table.add_column("ratio", justify="right")
    with_targets = all(timing.like is not None for timing in timings)
    if with_targets:
        table.add_column("same targets", justify="right")
        table.caption = "targets are probabilities where no class indices are named; 'same targets': F.cross_entropy's"
    for timing in timings:
        like = [f"{timing.like:.2f}"] if timing.like is not None and with_targets else []
        table.add_row(timing.name, f"{1e6 * timing.seconds:,.0f}", f"{timing.ratio:.2f}", *like)
    console.print(table)


def _threads(count: int) -> str:
    return "one thread" if count == 1 else f"{count} threads"
