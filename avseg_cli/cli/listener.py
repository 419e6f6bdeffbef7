"""What ``avseg segment`` shows while it works: on stderr for people, on stdout for programs."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from avseg_cli.base.say import say
from avseg_cli.base.text import clock, counted, printable
from avseg_cli.cli.batch_pace import BatchPace
from avseg_cli.cli.options import said
from avseg_cli.outputs.formats import FORMATS
from avseg_cli.outputs.unmarked import UNSEEN, in_words
from avseg_cli.segment.tally import FEW, NO_SOUND, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from avseg_cli.media.video import Video
    from avseg_cli.segment.outcome import Outcome
    from avseg_cli.segment.watch import Watch

EVERY = 30.0  # seconds between two lines of a log that say how far it is
COLOURS = {"done": "green", "skipped": "yellow", "planned": "cyan", "failed": "red"}


class _Speed(ProgressColumn):
    """Frames of the video a second."""

    def render(self, task: Task) -> Text:
        speed = (task.speed or 0) * task.fields.get("rate", 0)
        return Text(f"{speed:.1f} frames/s" if speed else "")


class _Left(TimeRemainingColumn):
    """The time left, of a whole batch by its own pace."""

    def render(self, task: Task) -> Text:
        return Text(_left(task.fields["pace"])) if "pace" in task.fields else super().render(task)


def _left(pace: BatchPace) -> str:
    return "" if pace.left is None else f"about {clock(round(pace.left))} left"


def progress_bar(console: Console, quiet: bool) -> Progress:
    """The bar of a video being worked on; on a terminal only."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        _Speed(),
        _Left(),
    )
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)


@contextmanager
def progress_of(source: Path, video: Video, quiet: bool) -> Iterator[Callable[[float], None]]:
    """A bar for one video; gives what is to be called with the seconds done."""
    with progress_bar(Console(stderr=True, highlight=False), quiet) as progress:
        task = progress.add_task(_as_it_is(source.name), total=video.duration, rate=float(video.rate))
        yield lambda seconds: progress.update(task, completed=seconds)


class Announcer:
    """The listener of a batch. A few inputs get a line for each output and a table; many get totals and what failed.

    On a terminal there is a bar for each video at work and one for all; in a log, for many, a line now and then.
    """

    def __init__(self, count: int | None, quiet: bool, as_json: bool) -> None:
        """count: of the inputs; None where nobody knows, so that each is told as it comes."""
        self.count, self.quiet, self.as_json = count, quiet, as_json
        self.many = count is not None and count > FEW
        self.tally = Tally()
        self.console = Console(stderr=True, highlight=False)
        self._began = self._logged = time.monotonic()
        self._pace = BatchPace(count or 0)
        self._progress = progress_bar(self.console, quiet)
        self._tasks: dict[Path, TaskID] = {}
        self._all: TaskID | None = None

    def __enter__(self) -> Announcer:
        if self.count and self.count > 1:
            self._all = self._progress.add_task("", total=self.count, pace=self._pace)
            self._tell_pace()
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, source: Path, video: Video) -> Callable[[float], None]:
        """Show a new bar; an unknown length makes it pulse."""
        task = self._progress.add_task(_as_it_is(source.name), total=video.duration, rate=float(video.rate))
        self._tasks[source] = task

        def progress(seconds: float) -> None:
            self._progress.update(task, completed=seconds)
            self._pace.at(source, seconds / video.duration if video.duration else 0.0)
            self._tell_pace()

        return progress

    def ended(self, outcome: Outcome) -> None:
        """Say what became of an input."""
        if outcome.source in self._tasks:
            self._progress.remove_task(self._tasks.pop(outcome.source))
        sentence = said(outcome.error) if outcome.error else ""
        self.tally.add(outcome, sentence)
        self._pace.end(outcome.source, outcome.status != "skipped")
        if self.as_json:
            error = {"error": sentence} if outcome.error else {}
            print(json.dumps(outcome.to_dict() | error), file=sys.stdout, flush=True)
        if outcome.error and self.count != 1:
            print(f"avseg: {printable(sentence)}", file=sys.stderr)
        if not (self.quiet or self.many or outcome.error):
            self._tell(outcome)
        self._tell_pace()

    def _tell(self, outcome: Outcome) -> None:
        """A line for each output."""
        if outcome.reason == NO_SOUND:
            self._line(f"{outcome.source}: skipped, it has no sound track", "yellow")
            return
        for warning in outcome.rendered.warnings if outcome.rendered else ():
            self._line(f"{outcome.source}: {warning}", "yellow")
        for name, path in outcome.outputs.items():
            self._line(f"{path}: {self._about(outcome, name)}")
        done = outcome.rendered
        if done and UNSEEN in done.unmarked:
            why = in_words(done.unmarked, done.masks)
            self._line(f"{outcome.source}: {why}; --no-faces marks people all the same", "yellow")

    def _tell_pace(self) -> None:
        """Move the bar of all; in a log, say now and then how far it is."""
        if self._all is not None:
            failed = self.tally.counts["failed"]
            words = f"{self._pace.ended} of {self.count}" + (f", {failed} failed" if failed else "")
            self._progress.update(self._all, completed=self._pace.done, description=words)
            if self.many and not (self.quiet or self.console.is_terminal) and time.monotonic() - self._logged > EVERY:
                self._logged = time.monotonic()
                self._line(", ".join(filter(None, (words, _left(self._pace)))))

    def watching(self, watch: Watch) -> None:
        """Say which folders are watched, and where what fails is noted."""
        if not self.quiet:
            folders = ", ".join(map(str, watch.folders))
            noted = f"; what fails is noted in {watch.notes.path}" if watch.notes.path else ""
            self._line(f"watching {folders} each {watch.every:g} s, until Ctrl-C{noted}")

    def remark(self, sentence: str) -> None:
        """Say what concerns no single input."""
        if not self.quiet:
            self._line(sentence, "yellow")

    def index(self, path: Path, reports: list[tuple[Path, Path]], dry_run: bool) -> None:
        """Write the page that leads to all reports (input, page), and say so."""
        from avseg_cli.segment.index_page import write_index

        if not dry_run:
            write_index(path, reports, self.tally.unmade)
        if not self.quiet:
            self._line(f"{path}: {'would be written' if dry_run else 'written'}, leads to all reports")

    def previews(self) -> None:
        """Show the contact sheets that were made, if they are few, in terminals that can."""
        from avseg_cli.cli.picture import show_picture

        for outcome in () if self.many or self.quiet or self.as_json else self.tally.few:
            for name, path in outcome.outputs.items():
                if outcome.status == "done" and FORMATS[name].shown:
                    show_picture(path, self.console)

    def model(self) -> None:
        """Say which model was used and what it is for, where anything was made."""
        if self.tally.model and not self.quiet:
            self._line(f"model {self.tally.model}")

    def summary(self, order: dict[Path, int] | None = None) -> None:
        """At the end of several inputs: a table of a few, in their ``order``; of many the totals and what failed."""
        if self.quiet or (self.count is not None and self.tally.total < 2):
            return
        if self.count is None or self.tally.total > FEW:
            self._totals()
            return
        notes = {id(outcome): self._note(outcome) for outcome in self.tally.few}
        table = Table("input", "result", "seconds", "masks", *[""] * any(notes.values()))
        for outcome in sorted(self.tally.few, key=lambda outcome: (order or {}).get(outcome.source, 0)):
            rendered = outcome.rendered
            warned = rendered is not None and rendered.warnings
            table.add_row(
                _as_it_is(str(outcome.source)),
                Text(outcome.status, "yellow" if warned else COLOURS[outcome.status]),
                f"{outcome.seconds:.1f}",
                str(rendered.masks) if rendered else "",
                *[_as_it_is(notes[id(outcome)])] * any(notes.values()),
            )
        self.console.print(table)

    def _note(self, outcome: Outcome) -> str:
        """Why it failed, without its name and the cure; why it was skipped; or how many warnings it got."""
        if outcome.error:
            return said(outcome.error).removeprefix(f"{outcome.source}: ").partition(";")[0]
        warnings = outcome.rendered.warnings if outcome.rendered else []
        return outcome.reason or (counted(len(warnings), "warning") if warnings else "")

    def _totals(self) -> None:
        """One line for a large batch, and again what failed, not all of very many."""
        failed, counts = self.tally.failed, self.tally.counts
        words = self.tally.words(time.monotonic() - self._began)
        shown = f"; the first {len(failed)} that failed" if counts["failed"] > len(failed) else ""
        self._line(f"{words}{shown}{':' if failed else ''}")
        for sentence in failed:
            self._line(f"  {sentence}", COLOURS["failed"])

    def _about(self, outcome: Outcome, name: str) -> str:
        if outcome.status == "skipped":
            return f"{outcome.reason}, skipped"
        done = outcome.rendered
        if outcome.status == "planned" or done is None:
            return "would be written"
        sound = f", sound {done.sound}" if done.sound != "none" and FORMATS[name].sounds else ""
        return f"written in {done.seconds:.1f} s, {counted(done.masks, 'mask')} ({done.fps:g} a second){sound}"

    def _line(self, text: str, colour: str | None = None) -> None:
        say(text, colour or "", self.console)


def _as_it_is(text: str) -> str:
    """Text for a table or a bar, where neither rich nor a terminal takes any of it for a wish."""
    return escape(printable(text))
