"""One small writer for each output format, behind ``open_writer``."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from PIL import Image

from avseg_cli.base.whole_files import commit, discard, partial_name
from avseg_cli.media.codecs import H264, PRORES_4444, Codec
from avseg_cli.media.movie import Movie
from avseg_cli.media.video import Picture, Video, even
from avseg_cli.outputs.overlay import Highlighter, Style, Upsampler, plane_array, upright
from avseg_cli.outputs.results import MaskResult, logit
from avseg_cli.outputs.rle import encode_rle


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
    encoder: tuple[Codec, ...] = H264  # of videos that leave it to the user, the first that is there


class Writer:
    """Takes masks as they are made, and, where ``draws``, every picture with the logits at its time.

    ``draw`` may run in another thread than the other methods, one call at a time and in order.
    """

    draws = False
    left_out = 0, 0.0  # packets of sound, and seconds, that could not be written
    sound_action = "none"  # what became of the sound: none, copied, re-encoded to AAC

    def __init__(self, path: Path, job: Job) -> None:
        self.path, self.job = path, job
        self.partial = partial_name(path)

    def take(self, result: MaskResult) -> None:
        """A mask of the grid."""

    def draw(self, picture: Picture, logits: np.ndarray) -> VideoFrame | None:
        """The picture to write, where there is one."""

    def write(self, frame: VideoFrame | None) -> None:
        """A picture that ``draw`` made."""

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

    def __init__(self, path: Path, job: Job) -> None:
        super().__init__(path, job)
        try:
            codecs = self.codecs or job.encoder
            self.movie = Movie(self.partial, path, job.video, codecs, job.span, self.copied_sound)
        except BaseException:
            discard(self.partial)
            raise

    @property
    def sound_action(self) -> str:
        """What becomes of the sound; known at the end where another program encodes."""
        return self.movie.sound_action

    @property
    def left_out(self) -> tuple[int, float]:
        return self.movie.left_out

    def write(self, frame: VideoFrame) -> None:
        self.movie.write(frame)

    def finish(self, summary: dict[str, Any]) -> None:
        self.movie.finish()

    def abort(self) -> None:
        try:
            self.movie.close()
        except (OSError, FFmpegError):
            pass  # the disk that refused to take the file may refuse its last bytes too
        finally:
            discard(self.partial)


class OverlayWriter(MovieWriter):
    """The video with what sounds highlighted: H.264, the original sound."""

    def __init__(self, path: Path, job: Job) -> None:
        self.highlighter = Highlighter(job.video, job.low_res, job.image_size, job.threshold, job.style)
        super().__init__(path, job)

    def draw(self, picture: Picture, logits: np.ndarray) -> VideoFrame:
        frame = upright(picture)
        self.highlighter.draw([plane_array(frame, index) for index in range(3)], logits)
        return frame


PRORES_MATRIX = {5: 6}  # ProRes knows BT.601 by this number alone, and has none for the full range


class CutoutWriter(MovieWriter):
    """What sounds on a transparent ground: ProRes 4444, which every editor opens, with the original sound."""

    codecs = PRORES_4444

    def __init__(self, path: Path, job: Job) -> None:
        size = even(job.video.height), even(job.video.width)
        self.upsampler = Upsampler(job.low_res, job.image_size, size)
        self.level = np.float32(logit(job.threshold))
        matrix = PRORES_MATRIX.get(job.video.matrix, job.video.matrix)
        super().__init__(path, replace(job, video=replace(job.video, matrix=matrix, full_range=False)))

    def draw(self, picture: Picture, logits: np.ndarray) -> VideoFrame:
        frame = upright(picture, "yuva444p10le", full_range=False)
        frame.colorspace = self.job.video.matrix  # the encoder writes what each frame says
        whole = slice(0, self.upsampler.size[0]), slice(0, self.upsampler.size[1])
        alpha = self.upsampler.part((logits - self.level) * np.float32(2 * 1023), whole)  # soft edge, as the overlay's
        alpha += np.float32(512)
        opaque = np.clip(alpha, 0, 1023, out=alpha).astype(np.uint16)
        hidden = opaque == 0
        for index, ground in enumerate((64, 512, 512)):  # black
            plane_array(frame, index, np.uint16)[hidden] = ground
        plane_array(frame, 3, np.uint16)[...] = opaque
        return frame


class MasksWriter(Writer):
    """A folder of PNGs, 0 and 255, one for each mask, named by number and time."""

    def __init__(self, path: Path, job: Job) -> None:
        super().__init__(path, job)
        self.partial.mkdir(parents=True)

    def take(self, result: MaskResult) -> None:
        pixels = result.mask.astype(np.uint8) * 255
        Image.fromarray(pixels, "L").save(self.partial / mask_name(result), compress_level=1)


def mask_name(result: MaskResult) -> str:
    """000003_00-00-03.933.png: the number of the mask, then hours, minutes, seconds of its frame."""
    milliseconds = round(max(0.0, result.time) * 1000)
    minutes, seconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{result.index:06d}_{hours:02d}-{minutes:02d}-{seconds // 1000:02d}.{seconds % 1000:03d}.png"


class JsonWriter(Writer):
    """One document: the video, the model, and every mask with its time, area, confidence and COCO run lengths.

    Masks are written as they come, so that the document of a long video never has to be held.
    """

    def __init__(self, path: Path, job: Job) -> None:
        super().__init__(path, job)
        head = {"format": "avseg-masks-1", **job.about, "video": job.video.to_dict()}
        self._file = open(self.partial, "w", encoding="utf-8")  # noqa: SIM115  closed by finish or abort
        self._file.write(json.dumps(head, indent=1)[:-2] + ',\n "masks": [')
        self._first = True

    def take(self, result: MaskResult) -> None:
        entry = {
            "index": result.index,
            "time": round(result.time, 6),
            "sound": [round(result.end - 1, 6), round(result.end, 6)],
            "area": result.area,
            "fraction": round(result.area / result.mask.size, 6),
            "confidence": round(result.confidence, 4),
            "rle": encode_rle(result.mask),
        }
        self._file.write(("\n  " if self._first else ",\n  ") + json.dumps(entry))
        self._first = False

    def finish(self, summary: dict[str, Any]) -> None:
        self._file.write("\n ],\n" + json.dumps(summary, indent=1)[2:] + "\n")
        self._file.close()

    def abort(self) -> None:
        with suppress(OSError):  # the disk that is full does not take the last bytes either
            self._file.close()
        super().abort()
