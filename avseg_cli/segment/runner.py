"""The main job: a video in, a mask of what sounds for every instant of a grid out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from avseg_cli.base.errors import DeviceError, InputError, named
from avseg_cli.base.free_memory import free_bytes
from avseg_cli.base.prefetch import Prefetch
from avseg_cli.base.text import counted
from avseg_cli.checkpoints.face_weights import load_faces
from avseg_cli.media.audio import SoundReader
from avseg_cli.media.recording import Recording, RecordingReader, RecordingSound
from avseg_cli.media.shared_pictures import SharedPictures
from avseg_cli.media.video import Video, VideoReader, probe
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import BACKBONES
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.kinds import VOICES
from avseg_cli.motion.cuts import Cuts
from avseg_cli.motion.onset import spectrum
from avseg_cli.motion.trail import Trail
from avseg_cli.outputs.heard import Heard, listed, loudness
from avseg_cli.outputs.logits import logit
from avseg_cli.outputs.refine import fine, fitted
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.specks import without_specks
from avseg_cli.outputs.tidy import guide_from
from avseg_cli.outputs.unmarked import PAUSE, UNSEEN
from avseg_cli.segment.grid import Grid
from avseg_cli.segment.on_screen import SURE, OnScreen, with_next, without_absent
from avseg_cli.segment.pauses import FAINT, pauses
from avseg_cli.segment.sampling import ClipSequence, GridFrame, sample
from avseg_cli.segment.segment_options import SegmentOptions
from avseg_cli.segment.segmenter import Segmenter
from avseg_cli.segment.steady import REACH, steadied
from avseg_cli.tracks.naming import Placed, placed
from avseg_cli.tracks.tracker import Tracker

LOADED_AHEAD = 8  # frames at most, 6 MB each at 1080p
NOTHING = -20.0  # the logit of what surely does not sound

Result = TypeVar("Result")


class Segmentation(Iterator[MaskResult]):
    """The masks of one video in order of time, made while they are asked for.

    ``video`` holds the facts of the input; ``warnings`` what was found wrong with it, complete at the end. ``trail``
    is how its pictures move, where that is asked for or used; ``pictures.behind()``, asked for before the first mask,
    gives those of a file once more.
    """

    def __init__(
        self,
        video: Video | Recording,
        model: AvsegModel,
        options: SegmentOptions,
        batch_size: int,
        keep_frames: bool,
        follow: bool,
    ) -> None:
        self.video = video
        self._reader, self._sound = _readers(video, options)
        self._runner = Runner(model, batch_size)
        steady = options.grid.step < 1
        self.trail = Trail(video.size) if follow or steady else None
        self._cuts = self.trail.cuts if self.trail else Cuts(video.size)
        self.pictures = SharedPictures(self._reader, _lead(self._runner, options.grid), free_bytes(torch.device("cpu")))
        pictures = (self.trail or self._cuts).record(self.pictures)
        self._frames = self._runner.loaded(sample(pictures, options.grid, self._reader.end, self._reader.damage))
        self._results = _results(self._frames, self._sound, self._runner, options, video, keep_frames, self._cuts)
        if self.trail is not None and steady:
            self._results = steadied(self._results, self.trail, forget=not follow)
        self._tracker = None if options.sources == "merge" else Tracker()
        self._busy, self._told = 0.0, float("-inf")

    @property
    def warnings(self) -> list[str]:
        """What was found wrong with the input so far, a sentence each."""
        heard = [f"sound: {warning}" for warning in self._sound.damage.warnings()]
        return [*self.video.warnings, *self._reader.damage.warnings(), *heard, *self._runner.warnings()]

    @property
    def pace(self) -> dict[str, float]:
        """Seconds of work so far, of stages that overlap: reading the model's frames, and the model itself."""
        return {"read": self._frames.made - self.pictures.held, "model": self._busy - self._frames.waited}

    def __next__(self) -> MaskResult:
        began = perf_counter()
        try:
            return self._told_apart(next(self._results))
        finally:
            self._busy += perf_counter() - began

    def _told_apart(self, result: MaskResult) -> MaskResult:
        """The result with its cuts and its sources, whose numbers go on from the results before it."""
        cuts, self._told = self._cuts.between(self._told, result.time), result.time
        if self._tracker is None:
            return replace(result, cuts=cuts)
        mask = result.logits > logit(result.threshold)
        tracked = self._tracker.step(result.moment, mask, result.placed, cut=bool(cuts))
        return replace(result, cuts=cuts, tracked=tracked)

    def close(self) -> None:
        """Close the files; an unfinished segmentation needs it."""
        self.pictures.close()
        self._results.close()
        self._sound.close()


def segment_video(
    path: str | Path | Video | Recording,
    model: AvsegModel | Segmenter,
    options: SegmentOptions | None = None,
    *,
    audio: str | Path | None = None,
    audio_track: int | None = None,
    keep_frames: bool = False,
    follow: bool = False,
    **changes: Any,
) -> Segmentation:
    """Find what sounds in a video: an iterator over its masks, holding a few seconds at a time.

    path: a video file (or what ``probe`` said of one), or a ``Recording`` of arrays. model: a plain one, or a
    ``Segmenter``, which is faster. options: how to look; ``changes`` are fields of them, as in
    ``segment_video("clip.mp4", model, fps=4)``. audio: a file whose sound is used; audio_track: which of its tracks,
    from 1. keep_frames: each result has its picture in ``frame``, 6 MB at 1080p. follow: keep how the pictures move,
    for a ``Timeline`` of the results. Raises ``InputError`` for unusable inputs at once, ``DeviceError`` when memory
    runs out.
    """
    options = replace(options or SegmentOptions(), **changes)
    model = model.model if isinstance(model, Segmenter) else model
    check_stride(options.stride, model.config)
    video = path if isinstance(path, Video | Recording) else probe(path, audio, audio_track)
    check_span(video, options.start)
    options = options.chosen(model.device.type, model.config.image_size, float(video.rate))
    return Segmentation(video, model, options, options.batch_size or _batch_size(model), keep_frames, follow)


def check_stride(stride: int, config: ModelConfig) -> None:
    """Raise ``InputError`` when clips so far apart would leave frames out."""
    if stride > (length := config.clip_frames):
        frames = counted(length, "frame")
        raise InputError(f"{named('stride')} {stride} is out of range; clips have {frames}: give 1 to {length}")


def check_span(video: Video | Recording, start: float) -> None:
    """Raise ``InputError`` when nothing of the video is left after ``start`` seconds."""
    if video.duration is not None and start >= video.duration:
        raise InputError(
            f"{video.path}: lasts {video.duration:.2f} s, so nothing is left after {named('start')} {start:g}"
        )


def _readers(video: Video | Recording, options: SegmentOptions) -> tuple[VideoReader | RecordingReader, SoundReader]:
    """What reads the pictures and the sound of the span asked for."""
    if isinstance(video, Recording):
        return RecordingReader(video, *options.span), RecordingSound(video, options.start)
    return VideoReader(video, *options.span), SoundReader(video.sound, options.start)


def _lead(runner: Runner, grid: Grid) -> float:
    """Seconds by which the reading of pictures gets ahead of the masks: a clip and one frame more of its sequence, a
    batch, what is loaded ahead, the frame in hand and the one after it; and what steadying looks at."""
    together = runner.batch_size
    frames = (runner.model.config.clip_frames + 1) * grid.phases + together + min(together, LOADED_AHEAD) + 2
    return frames * grid.step + (REACH if grid.step < 1 else 0.0)


def _batch_size(model: AvsegModel) -> int:
    """Frames encoded together, unless the user says otherwise."""
    return 16 if model.device.type == "cuda" else 1  # cores gain nothing, and read less far ahead


@dataclass(frozen=True)
class Loaded:
    """A grid frame ready for the model: its picture uint8 RGB (H, W, 3), in pinned memory for a model on CUDA."""

    index: int
    time: float
    end: float
    pixels: Tensor


@dataclass(frozen=True)
class Encoded:
    """A grid frame after the encoders: all that clips need of it."""

    index: int
    time: float
    end: float
    embedding: Tensor  # (C, g, g)
    sound: Tensor  # (128,)
    heard: Heard  # the kinds of sounds, where the model names them
    loudness: float  # dB of full scale
    placed: Placed  # where kinds of things are seen and heard, (g, g) each
    spectrum: np.ndarray  # of that second, (rows, bands)
    narrated: bool  # whether all that can be told of its sound is the voice of nobody in the picture
    paused: list[bool] = field(default_factory=list)  # whether it is a pause, in each clip that was decoded
    dying: list[bool] = field(default_factory=list)  # whether it is too quiet for a name, likewise

    @property
    def ruled_out(self) -> str:
        """Why nothing of it is marked: of clips that differ, at least half."""
        if self.narrated:
            return UNSEEN
        return PAUSE if _half(self.paused) else ""

    @property
    def faint(self) -> bool:
        """Whether it is too quiet for a name, in at least half of its clips."""
        return _half(self.dying)


def _half(clips: list[bool]) -> bool:
    return bool(clips) and 2 * sum(clips) >= len(clips)


class Runner:
    """Runs the two halves of the model: each frame is encoded once, each clip decoded once.

    When memory runs out the batch is halved and the work goes on; the model remembers what fitted, so that the
    next video of a run begins with it.
    """

    _fitting: ClassVar[WeakKeyDictionary[AvsegModel, int]] = WeakKeyDictionary()

    def __init__(self, model: AvsegModel, batch_size: int) -> None:
        self.model, self.device = model, model.device
        self.asked = min(max(1, batch_size), self._fitting.get(model, batch_size))
        self.batch_size = self.asked
        self._copies = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def warnings(self) -> list[str]:
        """What memory made of the batch, in one sentence."""
        if self.batch_size == self.asked:
            return []
        return [
            f"out of memory on {self.device} with {counted(self.asked, 'frame')} together, so it went on with "
            f"{self.batch_size}; a batch size of {self.batch_size} avoids the detour"
        ]

    def loaded(self, frames: Iterator[GridFrame]) -> Prefetch[Loaded]:
        """The frames as the model takes them, decoded and converted in a thread while the model works."""
        return Prefetch(map(self._load, frames), min(self.batch_size, LOADED_AHEAD))

    def _load(self, frame: GridFrame) -> Loaded:
        pixels = torch.from_numpy(frame.picture.rgb())
        if self._copies is not None:
            with suppress(RuntimeError), torch.cuda.device(self.device):  # without page-locked memory it is slower
                pixels = pixels.pin_memory()
        return Loaded(frame.index, frame.picture.time, frame.end, pixels)

    def _upload(self, pixels: Tensor) -> Tensor:
        """To the device; on CUDA on a stream of its own, while the pictures before it are being resized."""
        if self._copies is None:
            return pixels.to(self.device)
        with torch.cuda.stream(self._copies):
            moved = pixels.to(self.device, non_blocking=True)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self._copies)
        moved.record_stream(computing)  # its memory belongs to the copying stream, which must not reuse it too early
        return moved

    def encode(
        self, frames: list[Loaded], waves: list[np.ndarray], near: list[Callable[[], bool]] | None = None
    ) -> list[Encoded]:
        """The frames with the second of sound of each, through the encoders.

        near: of each frame, whether whoever speaks may be in it; None: the voice is always that of somebody seen.
        """
        return self._in_batches(len(frames), lambda part: self._encode(frames[part], waves[part], near and near[part]))

    def decode(self, clips: list[list[Encoded]]) -> list[np.ndarray]:
        """The logits of each clip, (T, h, w) float32."""
        return self._in_batches(len(clips), lambda part: self._decode(clips[part]))

    def _in_batches(self, count: int, run: Callable[[slice], list[Result]]) -> list[Result]:
        done: list[Result] = []
        while len(done) < count:
            try:
                done += run(slice(len(done), len(done) + self.batch_size))
                continue
            except OutOfMemory:
                if self.batch_size == 1:
                    raise
            # after the except clause, which keeps the failed call's tensors alive
            self.batch_size = self._fitting[self.model] = self.batch_size // 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        return done

    def _encode(
        self, frames: list[Loaded], waves: list[np.ndarray], near: list[Callable[[], bool]] | None
    ) -> list[Encoded]:
        with inference(self.device):
            ready = torch.cat([self.model.preprocess(self._upload(f.pixels)[None]) for f in frames])  # (N, 3, S, S)
            log_mel = torch.cat([self.model.front_end(wave) for wave in waves])  # (N, 1, 96, 64)
            sound = self.model.embed_sound(log_mel.to(self.device))  # (N, 128)
            heard = self._heard(sound)
            narrated = [False] * len(frames)
            if near is not None:
                sound, narrated = without_absent(sound, self.model.config.kinds, near)
            embeddings, maps = self.model.embed_and_place(ready, sound)  # (N, C, g, g), (N, S, g, g)
            places = placed(self.model.config.seen_kinds, maps, len(frames))
        return [
            Encoded(
                frame.index,
                frame.time,
                frame.end,
                embedding,
                vector,
                kinds,
                loudness(wave),
                where,
                spectrum(mel),
                voice,
            )
            for frame, wave, (mel,), embedding, vector, kinds, where, voice in zip(
                frames, waves, log_mel, embeddings, sound, heard, places, narrated, strict=True
            )
        ]

    def _heard(self, sound: Tensor) -> list[Heard]:
        """The kinds of each second of sound, (N, audio_dim), in their order in the configuration."""
        kinds = self.model.config.kinds
        return [listed(kinds, vector) for vector in sound[:, : len(kinds)].float().cpu().tolist()]

    def _decode(self, clips: list[list[Encoded]]) -> list[np.ndarray]:
        with inference(self.device):
            embeddings = torch.stack([torch.stack([item.embedding for item in clip]) for clip in clips])
            sound = torch.stack([torch.stack([item.sound for item in clip]) for clip in clips])
            logits = self.model.decode(embeddings, sound).float().cpu().numpy()  # (B, T, h, w)
        if self.model.config.kinds:
            for clip in clips:
                levels = [item.loudness for item in clip]
                for item, paused, dying in zip(clip, pauses(levels), pauses(levels, FAINT), strict=True):
                    item.paused.append(paused)
                    item.dying.append(dying)
        return list(logits)


class OutOfMemory(DeviceError):
    """The memory of the device ran out."""


@contextmanager
def inference(device: torch.device) -> Iterator[None]:
    """No gradients, and running out of memory said with its cure."""
    try:
        with torch.inference_mode():
            yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(device) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "out of memory" in str(error):
            raise _out_of_memory(device) from error
        raise


def _out_of_memory(device: torch.device) -> OutOfMemory:
    other = f"{named('device')} cpu" if device.type != "cpu" else "closing other programs"
    cures = f"{named('batch_size')} 1, {named('precision')} bf16, a smaller checkpoint, or {other}"
    return OutOfMemory(f"out of memory on {device}; try {cures}")


def _results(
    frames: Prefetch[Loaded], sound: SoundReader, runner: Runner, options: SegmentOptions, video: Video | Recording,
    keep_frames: bool, cuts: Cuts,
) -> Generator[MaskResult]:  # fmt: skip
    """Frames and sound -> embeddings, once per frame -> clips -> logits, averaged -> results in order."""
    config, grid = runner.model.config, options.grid
    sequences = [ClipSequence[Encoded](config.clip_frames, options.stride) for _ in range(grid.phases)]
    waiting: deque[tuple[int, Callable[[np.ndarray], MaskResult]]] = deque()  # (index, what lacks its mean logits)
    coarse, level = BACKBONES[config.backbone].coarse, logit(options.threshold)
    means: list[deque[np.ndarray]] = [deque() for _ in sequences]  # known, by sequence
    until = partial(grid.heard_until, start=options.start, over=video.duration)

    def finished() -> Iterator[MaskResult]:
        while waiting and means[waiting[0][0] % grid.phases]:
            index, result = waiting.popleft()
            yield result(means[index % grid.phases].popleft())

    def without_logits(item: Encoded, pixels: Tensor) -> Callable[[np.ndarray], MaskResult]:
        rest = partial(
            MaskResult, item.index, item.time, item.end, size=video.size, image_size=config.image_size,
            threshold=options.threshold, heard=item.heard, loudness=item.loudness, ahead=until(item.end) - item.end,
            spectrum=item.spectrum, placed=item.placed, frame=pixels.numpy() if keep_frames else None,
            cleanup=options.cleanup, guide=guide_from(pixels.numpy(), options.cleanup),
        )  # fmt: skip
        seen = fine(pixels.numpy()) if coarse else None

        def result(logits: np.ndarray) -> MaskResult:  # what rules it out is known once its clips were decoded
            if item.ruled_out:
                logits = np.full_like(logits, NOTHING)
            shown = logits if seen is None else without_specks(fitted(logits, seen, level), level, config.grid**2)
            return rest(logits=shown, ruled_out=item.ruled_out, faint=item.faint)

        return result

    on_screen = _on_screen(runner, cuts) if options.faces else None
    pairs = with_next(frames)
    try:
        while batch := list(islice(pairs, runner.batch_size)):
            waves = [sound.second(until(frame.end)) for frame, _ in batch]
            near = on_screen and [cache(partial(on_screen.near, *pair)) for pair in batch]  # asked once, in order
            encoded = runner.encode([frame for frame, _ in batch], waves, near)
            waiting.extend(
                (item.index, without_logits(item, frame.pixels))
                for item, (frame, _) in zip(encoded, batch, strict=True)
            )
            _advance(sequences, means, runner, encoded)
            yield from finished()
    finally:
        frames.close()
        sound.close()
    _finish(sequences, means, runner)
    yield from finished()


def _on_screen(runner: Runner, cuts: Cuts) -> OnScreen | None:
    """Who looks for faces; None for a model that does not know voices."""
    if not set(VOICES) & set(runner.model.config.kinds):
        return None
    detector = load_faces(str(runner.device))
    return OnScreen(
        lambda picture: detector.probability(picture.to(runner.device), SURE),
        lambda before, after: bool(cuts.noted_between(before, after)),
    )


def _advance(
    sequences: list[ClipSequence[Encoded]], means: list[deque[np.ndarray]], runner: Runner, encoded: list[Encoded]
) -> None:
    """Give new frames to their sequences, decode the clips they complete, and collect what is settled."""
    clips = []
    for item in encoded:
        sequence = sequences[item.index % len(sequences)]
        clips += [(sequence, *clip) for clip in sequence.push(item)]
    _decode(runner, clips)
    for sequence, ready in zip(sequences, means, strict=True):
        ready.extend(sequence.release())


def _finish(sequences: list[ClipSequence[Encoded]], means: list[deque[np.ndarray]], runner: Runner) -> None:
    _decode(runner, [(sequence, *clip) for sequence in sequences for clip in sequence.finish()])
    for sequence, ready in zip(sequences, means, strict=True):
        ready.extend(sequence.release(finished=True))


def _decode(runner: Runner, clips: list[tuple[ClipSequence[Encoded], int, list[Encoded]]]) -> None:
    for (sequence, start, _), logits in zip(clips, runner.decode([clip for *_, clip in clips]), strict=True):
        sequence.add(start, logits)
