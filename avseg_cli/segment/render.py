"""One video to its outputs: the model once, then every format asked for, in step with the source's frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame

from avseg_cli.base.errors import InputError, named
from avseg_cli.base.prefetch import Prefetch
from avseg_cli.base.version import __version__
from avseg_cli.base.writing import writing
from avseg_cli.checkpoints.precision import precision_name
from avseg_cli.media.encoders import chosen_codecs
from avseg_cli.media.recording import Recording
from avseg_cli.media.shared_pictures import SharedPictures
from avseg_cli.media.video import Picture, Video, probe
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.motion.onset import onset
from avseg_cli.motion.timeline import Instant, Timeline
from avseg_cli.outputs.borders import Borders
from avseg_cli.outputs.formats import FORMATS, open_writer
from avseg_cli.outputs.logits import logit
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.tidy import guide_of, tidied
from avseg_cli.outputs.writers import Job, Writer
from avseg_cli.segment.runner import Segmentation, segment_video
from avseg_cli.segment.segment_options import SegmentOptions
from avseg_cli.segment.segmenter import Segmenter
from avseg_cli.tracks.track_list import TrackList

MASKS_AHEAD = 4  # each is small
LOGITS, TERRITORIES = attrgetter("logits"), attrgetter("territories")
PICTURES_AHEAD = 3  # 3 MB each at 1080p, 12 MB at 4K


@dataclass
class Rendered:
    """What was made of one video."""

    outputs: dict[str, Path]
    model: str = ""  # which it was and what it is for, in one line
    masks: int = 0
    fps: float = 1.0  # masks a second
    frames: int = 0
    seconds: float = 0.0
    heard: dict[str, int] = field(default_factory=dict)  # kinds of sounds, and in how many masks each is heard
    unmarked: dict[str, int] = field(default_factory=dict)  # why nothing is marked, and in how many masks
    sound: str = "none"  # what became of it in a video output: copied, re-encoded to AAC or Opus
    warnings: list[str] = field(default_factory=list)
    pace: dict[str, float] = field(default_factory=dict)  # seconds each stage worked, while others did


Progress = Callable[[float], None]  # told how far we are, in seconds of the video


def render(
    video: str | Path | Video,
    model: AvsegModel | Segmenter,
    outputs: Mapping[str, str | Path],
    options: SegmentOptions | None = None,
    checkpoint: str = "default",
    progress: Progress = lambda seconds: None,
) -> Rendered:
    """Segment ``video`` and write ``outputs`` (format -> path), all of them whole or none of them.

    video: a file, or what ``probe`` said of one. checkpoint: what the record says the model was; progress: told how
    far we are, in seconds.
    Raises ``InputError``, ``OutputError`` or ``DeviceError``; whatever is raised, Ctrl-C too, no partial
    output is left.
    """
    began = time.perf_counter()
    options = options or SegmentOptions()
    if isinstance(video, Recording):
        raise InputError(
            f"{video.path}: render() writes files that go with a video file; for a Recording take "
            "segment_video(…), whose results have save() and overlay()"
        )
    video = video if isinstance(video, Video) else probe(video)
    model = model.model if isinstance(model, Segmenter) else model
    options = options.chosen(model.device.type, model.config.image_size, float(video.rate))
    outputs = {name: Path(path) for name, path in outputs.items()}
    drawing = any(getattr(FORMATS[name].writer, "draws", False) for name in outputs)
    masks = segment_video(video, model, options, follow=drawing)
    done, tracks = Rendered(outputs, told(model, checkpoint)), TrackList()
    done.fps = options.grid.fps
    writers: list[Writer] = []
    try:
        job = _job(video, model, options, checkpoint)
        for name, path in outputs.items():
            writers.append(open_writer(name, path, job))
        _run(masks, writers, options, done, tracks, progress)
        if not done.masks:
            raise InputError(
                f"{video.path}: has no picture from {named('start')} {options.start:g} on; give an earlier one"
            )
        _end(writers, done)
        done.seconds = time.perf_counter() - began
        summary: dict[str, Any] = {"masks_count": done.masks, "unmarked": done.unmarked, "warnings": done.warnings}
        if options.sources != "merge":
            summary["tracks"] = [track.to_dict() for track in tracks]
        for writer in writers:
            with writing(writer.path):
                writer.finish(summary)
        done.sound = next((writer.sound_action for writer in writers if writer.sound_action != "none"), "none")
        for writer in writers:
            with writing(writer.path):
                writer.commit()
    except BaseException:
        for clean_up in (masks.close, *(writer.abort for writer in writers)):
            with suppress(Exception):  # one that fails neither keeps the others from it nor hides the cause
                clean_up()
        raise
    return done


def told(model: AvsegModel, checkpoint: str) -> str:
    """Which model it is and what it is for, in one line: "default (small): finds people, animals and instruments"."""
    purpose = f": {model.about}" if model.about else ""
    return f"{Path(checkpoint).name} ({model.config.backbone}){purpose}"


def _job(video: Video, model: AvsegModel, options: SegmentOptions, checkpoint: str) -> Job:
    config, sound = model.config, video.sound
    about = {
        "avseg": __version__,
        "model": {
            "checkpoint": checkpoint, "sha256": model.sha256 or None, "told": told(model, checkpoint),
            "config": config.to_dict(), "device": str(model.device), "precision": precision_name(model.dtype),
        },
        "settings": options.to_dict(),
        **({"audio": str(sound.path)} if sound and sound.path != video.path else {}),
    }  # fmt: skip
    return Job(
        video,
        options.span,
        config.low_res,
        config.image_size,
        options.threshold,
        options.style,
        about,
        options.sources,
        chosen_codecs(options.encoder),
    )


def _run(
    masks: Segmentation, writers: list[Writer], options: SegmentOptions, done: Rendered, tracks: TrackList,
    progress: Progress,
) -> None:  # fmt: skip
    """The pictures twice, in step: a few seconds ahead for the model, then for the writers."""
    results = Prefetch(masks, MASKS_AHEAD)
    drawing = [writer for writer in writers if writer.draws]
    try:
        taken = _taken(_asked_for(results, masks.pictures), writers, done, tracks, Borders(options.start))
        if drawing:
            timeline = partial(Timeline, taken, masks.trail, onset, logit(options.threshold))
            _write_pictures(masks.pictures, timeline, drawing, done, options, progress)
            done.pace["draw"] -= results.waited  # drawing asks for the masks
        for result in taken:
            progress(result.time)
    finally:
        results.close()
    done.pace = {**masks.pace, **done.pace}
    done.warnings = [*masks.warnings]


def _end(writers: list[Writer], done: Rendered) -> None:
    """Close the videos: what became of their sound is known only then."""
    drawing = [writer for writer in writers if writer.draws]
    for writer in drawing:
        with writing(writer.path):
            writer.end()
    done.warnings += dict.fromkeys(sentence for writer in drawing for sentence in writer.losses)


def _asked_for(results: Iterator[MaskResult], pictures: SharedPictures) -> Iterator[MaskResult]:
    """Pass the masks on; while one is waited for, its pictures are read."""
    while True:
        with pictures.awaited():
            result = next(results, None)
        if result is None:
            return
        yield result


def _taken(
    results: Iterator[MaskResult], writers: list[Writer], done: Rendered, tracks: TrackList, borders: Borders
) -> Iterator[MaskResult]:
    """Pass each mask on after the writers took it."""
    for result in results:
        for writer in writers:
            with writing(writer.path):
                writer.take(result)
        done.masks += 1
        if result.tracked:
            border = borders.step(result)
            tracks.take(border.seen, result.end, result.sketches, border.gone)
        for kind, _ in result.known:
            done.heard[kind] = done.heard.get(kind, 0) + 1
        if result.unmarked:
            done.unmarked[result.unmarked] = done.unmarked.get(result.unmarked, 0) + 1
        yield result


def _write_pictures(
    pictures: SharedPictures,
    timeline: Callable[[], Timeline[MaskResult]],
    writers: list[Writer],
    done: Rendered,
    options: SegmentOptions,
    progress: Progress,
) -> None:
    decoded = Prefetch(pictures.behind(), PICTURES_AHEAD)
    drawn = Prefetch(_drawn(decoded, timeline, writers, options), PICTURES_AHEAD)
    began = time.perf_counter()
    try:
        for seconds, frames in drawn:
            for writer, frame in zip(writers, frames, strict=True):
                with writing(writer.path):
                    writer.write(frame)
            done.frames += 1
            progress(seconds)
        done.pace = {
            "decode": decoded.made - pictures.waited,
            "draw": drawn.made - decoded.waited,
            "encode": time.perf_counter() - began - drawn.waited,
        }
    finally:
        drawn.close()
        pictures.close()  # masks are taken no more, so that no picture would come either
        decoded.close()


def _drawn(
    pictures: Iterator[Picture],
    timeline: Callable[[], Timeline[MaskResult]],
    writers: list[Writer],
    options: SegmentOptions,
) -> Iterator[tuple[float, list[VideoFrame | None]]]:
    masks, level = timeline(), logit(options.threshold)  # the first mask takes its time: in the thread that draws
    for picture in pictures:
        instant = masks.at(picture.time)
        guide = guide_of(picture, options.cleanup)
        logits = tidied(instant.between(LOGITS), level, picture.video.size, options.cleanup, guide)
        numbers = _numbers(instant)
        yield picture.time, [writer.draw(picture, logits, numbers) for writer in writers]


def _numbers(instant: Instant[MaskResult]) -> np.ndarray:
    """The number of the nearest source at each place, (h, w); what fades out to silence keeps its own."""
    numbers = instant.chosen(TERRITORIES)
    sounding = [result.territories for result in (instant.before, instant.after) if result.territories.any()]
    return np.where(numbers == 0, sounding[0], numbers) if sounding and not numbers.all() else numbers
