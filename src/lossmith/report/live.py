"""Progress on the terminal while something runs: a few lines that are redrawn, or now and then a line of a log."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lossmith.report import words
from lossmith.search.run import Progress

_REDRAW = 0.25  # seconds between redraws
_LINE = 10.0  # seconds between lines where the output is no terminal


class _Display(ABC):
    """Redraws at most four times a second; a call of `_changed` in between costs about a microsecond."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._interval = _REDRAW if self._console.is_terminal else _LINE
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._next = 0.0
        self._dirty = False

    def __enter__(self) -> Self:
        self._next = time.monotonic() + (0.0 if self._live else self._interval)
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._dirty:
            self._show()  # the last state stays on the screen
        if self._live:
            self._live.stop()

    def _changed(self) -> None:
        self._dirty = True
        if time.monotonic() >= self._next:
            self._show()
            self._next = time.monotonic() + self._interval

    def _show(self) -> None:
        self._dirty = False
        if self._live:
            self._live.update(self._drawing(), refresh=True)
        else:
            # one line however long: it is read from a log, and wrapping would only break it up
            self._console.print(Text(self._line()), soft_wrap=True)

    @abstractmethod
    def _drawing(self) -> RenderableType:
        """The state, for a terminal."""

    @abstractmethod
    def _line(self) -> str:
        """The state in one line."""


class LiveProgress(_Display):
    """The progress of a search; pass `update` to `lossmith.search.run.search`."""

    _progress: Progress | None = None

    def update(self, progress: Progress) -> None:
        self._progress = progress
        self._changed()

    def _drawing(self) -> RenderableType:
        progress = self._progress
        if progress is None:
            return Text("")
        bar = _bar(
            progress.stage.value,
            progress.told,
            progress.total,
            f"{progress.told:,}/{progress.total:,}",
            f"{progress.rate:.1f} evaluations/s",
            self._left(),
        )
        best = Text("best ", no_wrap=True, overflow="ellipsis")
        if progress.best is None:
            best.append("none yet on the search's own task", "dim")
        else:
            best.append(words.percent(progress.best), "bold green")
            best.append(f"  {progress.best_formula}")
        verdicts = Text(f"verdicts {_verdicts(progress)}", no_wrap=True, overflow="ellipsis", style="dim")
        return Group(bar, best, verdicts)

    def _line(self) -> str:
        progress = self._progress
        if progress is None:
            return ""
        share = words.percent(progress.told / max(progress.total, 1), 0)
        best = (
            "no best yet"
            if progress.best is None
            else f"best {words.percent(progress.best)} {words.truncated(progress.best_formula, 80)}"
        )
        rate = f"{progress.rate:.1f} evaluations/s"
        done = f"{progress.told}/{progress.total} ({share})"
        return f"{progress.stage.value} {done}, {rate}, {best}, {_verdicts(progress)}, {self._left()}"

    def _left(self) -> str:
        seconds = self._progress.seconds_left if self._progress else None
        return "time left unknown" if seconds is None else f"{words.duration(seconds)} left"


class TrainingProgress(_Display):
    """The progress of trainings; pass `update` to `lossmith.study.trainings.Trainings`."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        super().__init__(console)
        self._title = title
        self._began = time.monotonic()
        self._done, self._total = 0, 0

    def update(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        self._changed()

    def _drawing(self) -> RenderableType:
        return _bar(self._title, self._done, self._total, f"{self._done:,}/{self._total:,}", self._left())

    def _line(self) -> str:
        return f"{self._title} {self._done}/{self._total}, {self._left()}"

    def _left(self) -> str:
        if not self._done:
            return "time left unknown"
        elapsed = time.monotonic() - self._began
        return f"{words.duration(elapsed / self._done * (self._total - self._done))} left"


class DecodingProgress(_Display):
    """The progress of decoding images; pass `update` to `lossmith.train.data.load_dataset`."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console)
        self._done, self._total = 0, 0

    def update(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        self._changed()

    def _drawing(self) -> RenderableType:
        return _bar("decoding images", self._done, self._total, f"{self._done:,}/{self._total:,}")

    def _line(self) -> str:
        return f"decoding images {self._done}/{self._total}"


class DownloadProgress(_Display):
    """The progress of a download; pass `update` to `lossmith.train.data.fetch_fashion_mnist`."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console)
        self._files: dict[str, tuple[int, int | None]] = {}  # bytes so far, bytes in all

    def update(self, name: str, received: int, total: int | None) -> None:
        self._files[name] = received, total
        self._changed()

    def _drawing(self) -> RenderableType:
        return Group(*(_bar(name, *sizes, _megabytes(*sizes)) for name, sizes in self._files.items()))

    def _line(self) -> str:
        return ", ".join(f"{name} {_megabytes(*sizes)}" for name, sizes in self._files.items())


def _bar(title: str, done: int, total: int | None, *figures: str) -> Table:
    """One line: a title, a bar that takes the room there is (empty while the total is not known), and figures."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1, min_width=8)
    for _ in figures:
        grid.add_column(no_wrap=True, justify="right")
    bar = ProgressBar(total=total or 1, completed=done if total else 0)
    grid.add_row(Text(title, "bold"), bar, *map(Text, figures))
    return grid


def _verdicts(progress: Progress) -> str:
    return ", ".join(f"{count:,} {reason.value}" for reason, count in progress.verdicts.most_common()) or "none yet"


def _megabytes(received: int, total: int | None) -> str:
    return f"{received / 1e6:.1f}/{total / 1e6:.1f} MB" if total else f"{received / 1e6:.1f} MB"
