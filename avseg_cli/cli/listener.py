"""What ``avseg segment`` shows while it works: on stderr for people, on stdout for programs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from avseg_cli.base.text import counted
from avseg_cli.cli.options import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from avseg_cli.media.video import Video
    from avseg_cli.segment.batch import Outcome

ROWS = 40  # of the table at the end, at most
HEARD = ("overlay", "cutout", "side-by-side")  # formats with sound
COLOURS = {"done": "green", "skipped": "yellow", "planned": "cyan", "failed": "red"}


class _Speed(ProgressColumn):
    """Frames of the video a second."""

    def render(self, task: Task) -> Text:
        speed = (task.speed or 0) * task.fields.get("rate", 0)
        return Text(f"{speed:.1f} frames/s" if speed else "")


def progress_bar(console: Console, quiet: bool) -> Progress:
    """The bar of a video being worked on; on a terminal only."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        _Speed(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)


@contextmanager
def progress_of(source: Path, video: Video, quiet: bool) -> Iterator[Callable[[float], None]]:
    """A bar for one video; gives what is to be called with the seconds done."""
    with progress_bar(Console(stderr=True, highlight=False), quiet) as progress:
        task = progress.add_task(escape(source.name), total=video.duration, rate=float(video.rate))
        yield lambda seconds: progress.update(task, completed=seconds)


class Report:
    """The listener of a batch: a progress bar on a terminal, a line for each output, a table at the end."""

    def __init__(self, count: int, quiet: bool, as_json: bool) -> None:
        self.count, self.quiet, self.as_json = count, quiet, as_json
        self.console = Console(stderr=True, highlight=False)
        self._progress = progress_bar(self.console, quiet)
        self._tasks: dict[Path, TaskID] = {}

    def __enter__(self) -> Report:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, source: Path, video: Video) -> Callable[[float], None]:
        """Show a new bar; an unknown length makes it pulse."""
        task = self._progress.add_task(escape(source.name), total=video.duration, rate=float(video.rate))
        self._tasks[source] = task
        return lambda seconds: self._progress.update(task, completed=seconds)

    def ended(self, outcome: Outcome) -> None:
        """Say what became of an input."""
        if outcome.source in self._tasks:
            self._progress.remove_task(self._tasks.pop(outcome.source))
        if self.as_json:
            error = {"error": said(outcome.error)} if outcome.error else {}
            print(json.dumps(outcome.to_dict() | error), file=sys.stdout, flush=True)
        if outcome.error and self.count > 1:
            print(f"avseg: {said(outcome.error)}", file=sys.stderr)
        if self.quiet or outcome.error:
            return
        for warning in outcome.rendered.warnings if outcome.rendered else ():
            self._line(f"{outcome.source}: {warning}", "yellow")
        for name, path in outcome.outputs.items():
            self._line(f"{path}: {self._about(outcome, name)}")

    def index(self, path: Path, reports: list[tuple[Outcome, Path]], dry_run: bool) -> None:
        """Write the page that leads to all reports, and say so."""
        from avseg_cli.segment.index_page import write_index

        if not dry_run:
            write_index(path, reports)
        if not self.quiet:
            self._line(f"{path}: {'would be written' if dry_run else 'written'}, leads to all reports")

    def previews(self, outcomes: list[Outcome]) -> None:
        """Show the contact sheets that were made, in terminals that can."""
        from avseg_cli.cli.picture import show_picture

        for outcome in outcomes:
            if outcome.status == "done" and "preview" in outcome.outputs and not (self.quiet or self.as_json):
                show_picture(outcome.outputs["preview"], self.console)

    def model(self, outcomes: list[Outcome]) -> None:
        """Say which model was used and what it is for, where anything was made."""
        used = next((outcome.rendered.model for outcome in outcomes if outcome.rendered), None)
        if used and not self.quiet:
            self._line(f"model {used}")

    def summary(self, outcomes: list[Outcome]) -> None:
        """A table of all inputs, when there are several."""
        if self.quiet or len(outcomes) < 2:
            return
        if len(outcomes) > ROWS:
            self._totals(outcomes)
            outcomes = [outcome for outcome in outcomes if outcome.error][:ROWS]
        if not outcomes:
            return
        table = Table("input", "result", "seconds", "masks", "")
        for outcome in outcomes:
            rendered = outcome.rendered
            warned = counted(len(rendered.warnings), "warning") if rendered and rendered.warnings else ""
            table.add_row(
                escape(str(outcome.source)),
                Text(outcome.status, "yellow" if warned else COLOURS[outcome.status]),
                f"{outcome.seconds:.1f}",
                str(rendered.masks) if rendered else "",
                type(outcome.error).__name__ if outcome.error else warned,
            )
        self.console.print(table)

    def _totals(self, outcomes: list[Outcome]) -> None:
        """One line for a large batch; only what failed gets rows, and not all of very many."""
        counts = Counter(outcome.status for outcome in outcomes)
        told = [f"{counts[status]} {status}" for status in COLOURS if counts[status]]
        warned = sum(bool(outcome.rendered and outcome.rendered.warnings) for outcome in outcomes)
        told += [f"{warned} with warnings"] if warned else []
        shown = f"; the first {ROWS} that failed:" if counts["failed"] > ROWS else ""
        self._line(f"{counted(len(outcomes), 'input')}: {', '.join(told)}{shown}")

    def _about(self, outcome: Outcome, name: str) -> str:
        if outcome.status == "skipped":
            return "exists, skipped"
        if outcome.status == "planned":
            return "would be written"
        done = outcome.rendered
        sound = f", sound {done.sound}" if done.sound != "none" and name in HEARD else ""
        return f"written in {done.seconds:.1f} s, {counted(done.masks, 'mask')}{sound}"

    def _line(self, text: str, colour: str | None = None) -> None:
        self.console.print(Text(text, colour or ""), soft_wrap=True)
