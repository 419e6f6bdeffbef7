"""Many videos, one model: each is tried, whatever became of the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from avseg_cli.base.errors import AvsegError, NoSoundError, OutputError, debugging
from avseg_cli.base.limits import about_memory
from avseg_cli.media.container import spooled
from avseg_cli.media.video import Video, probe
from avseg_cli.segment.addresses import delivered, fetched, is_url, open_name
from avseg_cli.segment.inputs import InputVideo, check_outputs, is_there
from avseg_cli.segment.outcome import Outcome
from avseg_cli.segment.render import Progress, render
from avseg_cli.segment.runner import check_span
from avseg_cli.segment.segment_options import SegmentOptions
from avseg_cli.segment.segmenter import Segmenter
from avseg_cli.segment.tally import EXISTS, NO_SOUND

Work = tuple[InputVideo, dict[str, Path]]  # a video, and where its outputs go: format -> path


class Listener(Protocol):
    """Told how a batch goes on; the command line shows it."""

    def started(self, source: Path, video: Video) -> Progress:
        """A video is about to be segmented; gives what is to be called with its progress."""
        ...

    def ended(self, outcome: Outcome) -> None:
        """A video is done with, one way or another."""


@dataclass
class Batch:
    """The options shared by all inputs of a run. ``load`` makes the model when the first input needs it.

    skip_silent: a video without a sound track is left out, which is no failure. Where ``load`` can be pickled, so can
    the batch: other processes run it as well.
    """

    load: Callable[[], Segmenter]
    options: SegmentOptions = field(default_factory=SegmentOptions)
    checkpoint: str = "default"
    audio: Path | None = None
    audio_track: int | None = None
    overwrite: bool = False
    skip_existing: bool = False
    dry_run: bool = False
    skip_silent: bool = False

    def is_done(self, outputs: dict[str, Path]) -> bool:
        """Whether nothing is to be made: all is there, and what is there is to be kept."""
        return self.skip_existing and all(is_there(name, path) for name, path in outputs.items())

    def run(self, work: Iterable[Work], listener: Listener) -> Iterator[Outcome]:
        """Segment each source into its outputs; an error ends only the input it concerns."""
        model: Segmenter | None = None

        def loaded() -> Segmenter:
            nonlocal model
            model = model or self.load()
            return model

        for source, outputs in work:
            began = time.perf_counter()
            outcome = Outcome(source.path, "failed", outputs)
            try:
                self._one(source, outcome, loaded, listener)
            except Exception as error:
                if self._leaves_out(error):
                    outcome.status, outcome.reason = "skipped", NO_SOUND
                else:
                    outcome.error = _explained(error, source.path)
            outcome.seconds = time.perf_counter() - began
            listener.ended(outcome)
            yield outcome

    def _leaves_out(self, error: Exception) -> bool:
        """Whether the error is a silent video's own; a silent ``audio`` file would be everybody's."""
        return self.skip_silent and self.audio is None and isinstance(error, NoSoundError)

    def _one(self, source: InputVideo, outcome: Outcome, loaded: Callable[[], Segmenter], listener: Listener) -> None:
        missing = {name: path for name, path in outcome.outputs.items() if not is_there(name, path)}
        if self.skip_existing and not missing:
            outcome.status, outcome.reason = "skipped", EXISTS
            return
        if self.skip_existing:
            outcome.outputs = missing
        check_outputs(source, outcome.outputs, self.overwrite or self.skip_existing)  # what is half there is redone
        opened = fetched if is_url(source.path) else spooled
        with opened(source.path) as path, _named(path, source.path):
            video = probe(path, self.audio, self.audio_track)
            video = outcome.video = video if path == source.path else replace(video, source=open_name(source.path))
            check_span(video, self.options.start)
            if self.dry_run:
                outcome.status = "planned"
                return
            progress = listener.started(source.path, video)
            with delivered(outcome.outputs) as places:
                outcome.rendered = render(video, loaded(), places, self.options, self.checkpoint, progress)
                outcome.rendered.outputs = outcome.outputs
        outcome.status = "done"


@contextmanager
def _named(copy: Path, source: Path) -> Iterator[None]:
    """Errors about a temporary copy name what it is a copy of."""
    try:
        yield
    except AvsegError as error:
        if copy == source:
            raise
        raise type(error)(error.args[0].replace(str(copy), str(source))) from error


def _explained(error: Exception, path: Path) -> AvsegError:
    """The error as a sentence about ``path``; one nobody expected, too, must not cost the other inputs."""
    error = about_memory(error, f"{path}: ") or error
    if isinstance(error, AvsegError):
        return error
    if debugging():
        raise error
    if isinstance(error, OSError):
        return OutputError(f"{error.filename or path}: {error.strerror or error}")
    said = " ".join(str(error).split())[:200]
    return AvsegError(
        f"{path}: avseg failed in a way it should not ({type(error).__name__}: {said}); "
        "please report it with the output of `avseg --debug segment`"
    )
