"""What the writers of all formats have in common."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame

from avseg_cli.base.whole_files import commit, discard, partial_name
from avseg_cli.media.codecs import H264, Codec
from avseg_cli.media.movie import Movie
from avseg_cli.media.timecode import Timecode
from avseg_cli.media.video import Picture, Video
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.style import Style


@dataclass(frozen=True)
class Job:
    """What every writer needs to know of the run."""

    video: Video
    span: tuple[float, float | None]  # (start, end) in seconds
    low_res: int
    image_size: int
    threshold: float
    style: Style
    about: dict[str, Any]  # the model and settings, for the record
    sources: str = "auto"  # auto, merge, split or index: how what sounds is told apart
    encoder: tuple[Codec, ...] = H264  # of videos that leave it to the user, the first that is there

    @property
    def provenance(self) -> str:
        """What made the masks, in a line for the comment of a video: avseg's version, the model and what it ran on,
        what decides the masks, and the sound if it is another file's."""
        model = {name: self.about["model"].get(name) for name in ("checkpoint", "sha256", "device", "precision")}
        said = {"avseg": self.about.get("avseg"), "model": model, "settings": self.about["settings"]}
        return json.dumps(said | {name: self.about[name] for name in ("audio",) if name in self.about})


class Writer:
    """Takes masks as they are made, and, where ``draws``, every picture with the logits at its time.

    ``draw`` may run in another thread than the other methods, one call at a time and in order.
    """

    draws = False
    sound_action = "none"  # what became of the sound: none, copied, re-encoded to AAC or Opus

    def __init__(self, path: Path, job: Job) -> None:
        self.path, self.job = path, job
        self.partial = partial_name(path)

    def take(self, result: MaskResult) -> None:
        """A mask of the grid."""

    def draw(self, picture: Picture, logits: np.ndarray, numbers: np.ndarray) -> VideoFrame | None:
        """The picture to write, where there is one; numbers: of the nearest source at each place, (h, w)."""

    def write(self, frame: VideoFrame | None) -> None:
        """A picture that ``draw`` made."""

    def end(self) -> None:
        """After the last picture, of a writer that draws."""

    @property
    def losses(self) -> list[str]:
        """What of the sound is not in the output, a sentence each; known at the end of the pictures."""
        return []

    def finish(self, summary: dict[str, Any]) -> None:
        """Write the rest, close and check."""

    def commit(self) -> None:
        """Put the finished output in its place."""
        commit(self.partial, self.path)

    def abort(self) -> None:
        """Leave nothing behind."""
        discard(self.partial)


class MovieWriter(Writer):
    """Writes a video whose pictures ``draw`` makes."""

    draws = True
    codecs: tuple[Codec, ...] | None = None  # None: the job's
    copied_sound: frozenset[str] | None = None  # codecs of sound that are copied; None: all the container takes
    timecoded = False  # whether it has the source's timecode, so that editors lay both over each other

    def __init__(self, path: Path, job: Job) -> None:
        super().__init__(path, job)
        try:
            codecs = self.codecs or job.encoder
            code = Timecode.read(job.video.timecode, job.video.rate) if self.timecoded else None
            told = job.provenance, code.at(job.video.frame_at(job.span[0])) if code else ""
            self.movie = Movie(self.partial, path, job.video, codecs, job.span, self.copied_sound, *told)
        except BaseException:
            discard(self.partial)
            raise

    @property
    def sound_action(self) -> str:
        """What becomes of the sound; known at the end where another program encodes."""
        return self.movie.sound_action

    @property
    def losses(self) -> list[str]:
        return self.movie.losses

    def write(self, frame: VideoFrame) -> None:
        self.movie.write(frame)

    def end(self) -> None:
        self.movie.finish()

    def abort(self) -> None:
        try:
            self.movie.close()
        except (OSError, FFmpegError):
            pass  # the disk that refused to take the file may refuse its last bytes too
        finally:
            discard(self.partial)
