"""Folders that are watched: what comes into them is segmented when it is whole.

By looking now and then, which works on every disk, also on those of other machines. What is to be done follows from
what is there, so a watch that was stopped goes on where it was; what failed is noted in a file.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avseg_cli.base.errors import InputError, named
from avseg_cli.base.json_text import parse_json
from avseg_cli.base.whole_files import write_json
from avseg_cli.media.video import LARGEST_VARIABLE
from avseg_cli.segment.addresses import is_url
from avseg_cli.segment.inputs import InputVideo, each_once, is_there, plan_outputs, videos_in
from avseg_cli.segment.tally import NO_SOUND

if TYPE_CHECKING:
    from avseg_cli.segment.batch import Batch, Work
    from avseg_cli.segment.outcome import Outcome

Stamp = tuple[int, int]  # bytes, and nanoseconds of the last change
NOTES = ".avseg-watch.json"
SHARE = 0.1  # of the time, at most, that is spent on looking


class Watch:
    """The feed (``processes.Feed``) of the videos that come into ``folders``; it is never over.

    output, formats: as for ``plan_outputs``. every: seconds from one look to the next; a file whose size and time are
    the same in both is whole. settings: the ``deciding`` ones; what failed with others is tried again. A video whose
    outputs are all there is left alone, unless it changed during this watch or is newer than they are. tell: is told
    of a folder that is away, and that it is back. Raises ``InputError`` for what is no folder of this machine.
    """

    over = False

    def __init__(
        self, folders: list[str], recursive: bool, output: str | None, formats: list[str], every: float,
        settings: dict[str, Any], now: Callable[[], float] = time.monotonic,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:  # fmt: skip
        for name in folders:
            if is_url(name) or not os.path.isdir(name):
                raise InputError(f"{name}: not a folder of this machine; {named('watch')} looks at folders")
        plan_outputs([], output, formats)
        self.folders, self.recursive, self.every, self.pause = [Path(f) for f in folders], recursive, every, every
        self.output, self.formats, self._now, self._tell = output, formats, now, tell
        self.notes = _Notes(self.folders[0] if output is None else None if is_url(output) else Path(output), settings)
        self._next_look = now()
        self._seen: dict[Path, Stamp] = {}  # as they were at the last look
        self._settled: dict[Path, Stamp] = {}  # nothing is to be done about these, as long as they stay so
        self._first: dict[Path, Stamp] = {}  # as this watch found them
        self._changed: set[Path] = set()  # since then
        self._away: set[Path] = set()  # folders
        self._at_work: dict[Path, Stamp] = {}  # given and not yet noted, as they were taken
        self._ready: deque[tuple[Work, Stamp]] = deque()

    def take(self) -> Work | None:
        """The next video that is whole and not yet done; None where there is none now."""
        if not self._ready and self._now() >= self._next_look:
            began = self._now()
            self._look()
            self._next_look = self._now() + max(self.every, (self._now() - began) * (1 - SHARE) / SHARE)
        while self._ready:
            work, stamp = self._ready.popleft()
            if _stamp(work[0].path) == stamp:
                self._at_work[work[0].path] = stamp
                return work
            self._settled.pop(work[0].path, None)  # it went on growing, or is gone
        return None

    def note(self, outcome: Outcome) -> None:
        """Remember what cannot be segmented, over restarts where that is the file's own fault.

        What was replaced while it was at work may be taken again from here on.
        """
        stamp = self._at_work.pop(outcome.source, None)
        if _stamp(outcome.source) is None:  # when it is back it is tried again
            self._settled.pop(outcome.source, None)
        own = outcome.reason == NO_SOUND or isinstance(outcome.error, InputError)
        if own and os.access(outcome.source, os.R_OK):  # one that cannot be opened now may be later
            self.notes.add(outcome.source, stamp, str(outcome.error or NO_SOUND))

    def _look(self) -> None:
        """Queue the videos that have not changed since the last look and whose outputs are not all there."""
        sources = each_once(source for folder in self.folders for source in self._videos_in(folder))
        looked_at = {source.path for source in sources} - self._at_work.keys()
        stamps = {path: stamp for path in looked_at if (stamp := _stamp(path))}
        self._changed |= {path for path, stamp in stamps.items() if self._first.setdefault(path, stamp) != stamp}
        waiting = {path for path, stamp in stamps.items() if self._settled.get(path) != stamp}
        whole = {path for path in waiting if self._seen.get(path) == stamps[path]}
        self._seen = {path: stamps[path] for path in waiting}
        if not whole:
            return
        # of all of them: a name depends on whether another video has it too
        for source, outputs in zip(sources, plan_outputs(sources, self.output, self.formats), strict=True):
            if source.path in whole:
                self._consider(source, outputs, stamps[source.path])

    def _videos_in(self, folder: Path) -> list[InputVideo]:
        """None of a folder that cannot be looked into, as one of another machine now and then; told once."""
        try:
            os.scandir(folder).close()  # one that is not there would only look empty
            videos = videos_in(folder, self.recursive)
        except OSError as error:
            if folder not in self._away:
                self._tell(f"{folder}: cannot be looked into ({error.strerror or error}); the watch waits for it")
            self._away.add(folder)
            return []
        if folder in self._away:
            self._tell(f"{folder}: is there again")
            self._away.remove(folder)
        return videos

    def _consider(self, source: InputVideo, outputs: dict[str, Path], stamp: Stamp) -> None:
        self._settled[source.path] = stamp
        anew = source.path in self._changed
        missing = {
            name: path for name, path in outputs.items() if anew or not is_there(name, path) or _is_older(path, stamp)
        }
        if missing and not self.notes.has(source.path, stamp):
            self._ready.append(((source, missing), stamp))


def _stamp(path: Path) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:  # gone meanwhile
        return None
    return found.st_size, found.st_mtime_ns


def _is_older(output: Path, stamp: Stamp) -> bool:
    """Whether an output was made before the video changed last; a time to come says nothing."""
    made = None if is_url(output) else _stamp(output)
    return made is not None and made[1] < stamp[1] <= time.time_ns()


def deciding(batch: Batch) -> dict[str, Any]:
    """The settings that may be why a video fails, as JSON has them, without those that are not set."""
    options, audio = batch.options, batch.audio
    given = {
        "audio": audio and [os.path.abspath(audio), *(_stamp(audio) or ())],
        "audio_track": batch.audio_track,
        "start": options.start,
        "duration": options.duration,
        "stride": options.stride,
        LARGEST_VARIABLE: os.environ.get(LARGEST_VARIABLE),
    }
    return {name: value for name, value in given.items() if value}


class _Notes:
    """Which files could not be segmented with these settings, and why.

    Kept in ``folder``; without one, only as long as the watch runs.
    """

    def __init__(self, folder: Path | None, settings: dict[str, Any]) -> None:
        self.path, self.settings = None if folder is None else folder / NOTES, settings
        self._notes = {} if self.path is None else _read(self.path)

    def has(self, video: Path, stamp: Stamp) -> bool:
        """Whether the file, as it is now, is known to fail."""
        said = self._notes.get(os.path.abspath(video), {})
        return said.get("settings") == self.settings and (said["bytes"], said["mtime_ns"]) == stamp

    def add(self, video: Path, stamp: Stamp | None, why: str) -> None:
        """Note a file as it was when it was taken."""
        if stamp is None:
            return
        said = {"bytes": stamp[0], "mtime_ns": stamp[1], "settings": self.settings, "why": why}
        self._notes[os.path.abspath(video)] = said
        if self.path:
            with suppress(OSError):  # a full disk is told of by what is lost on it
                self.path.parent.mkdir(parents=True, exist_ok=True)
                write_json(self.path, self._notes)


def _read(path: Path) -> dict[str, dict]:
    """The notes of earlier watches; none where there is no file, or somebody damaged it."""
    try:
        notes = parse_json(path.read_text(encoding="utf-8"))
        return {video: said for video, said in notes.items() if {"bytes", "mtime_ns"} <= set(said)}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
