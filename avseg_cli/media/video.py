"""Reading pictures: what a video is, and its frames one by one, with their times, upright."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from itertools import chain
from math import ceil
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from avseg_cli.base.errors import InputError, named
from avseg_cli.base.threads import codec_threads
from avseg_cli.media.container import (
    Damage,
    audio_stream,
    clock_zero,
    decode,
    demux,
    open_input,
    seek,
    tick_of,
    video_stream,
)
from avseg_cli.media.frame_times import FrameTimes
from avseg_cli.media.scale import scaled
from avseg_cli.media.timecode import Timecode

DEFAULT_RATE = Fraction(25)  # frames a second, where a file says nothing
UNSPECIFIED = 2  # of matrix, primaries and transfer, in FFmpeg's numbering
BT709, BT601 = 1, 5  # matrices, in swscale's numbering
LIMITED_RANGE, FULL_RANGE = 1, 2
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
LARGEST = 100.0  # megapixels of a picture, unless the environment says otherwise: more is damage in nearly all cases
LARGEST_VARIABLE = "AVSEG_MAX_MEGAPIXELS"
EARLY = 1e-6  # seconds by which a picture may come before a time and still be at it
ENDS_EARLY = 1.0  # seconds missing at the end before a file is called truncated
TRACK_END = re.compile(r"([0-9]{1,6}):([0-9]{2}):([0-9]{2}(?:\.[0-9]+)?)")  # a tag of Matroska's tracks


@dataclass(frozen=True)
class Sound:
    """The sound that goes with a video: its own track, or one of another file."""

    path: Path
    track: int  # from 1, among the sound tracks of the file
    codec: str
    sample_rate: int  # Hz
    channels: int
    zero: Fraction  # container time, in seconds, that counts as 0


@dataclass(frozen=True)
class Pictures:
    """What is known of a video's pictures. Sizes are upright: rotation is already applied."""

    path: Path
    width: int  # pixels
    height: int
    rotation: int  # degrees counter-clockwise that make the stored picture upright
    rate: Fraction  # average frames a second
    time_base: Fraction  # seconds
    zero: Fraction  # container time, in seconds, that counts as 0
    duration: float | None  # seconds from 0 to the end, None where the file does not say
    codec: str
    pixel_format: str
    container: str
    aspect: Fraction  # of a pixel: width over height
    matrix: int  # colour tags, FFmpeg's numbering
    primaries: int
    transfer: int
    full_range: bool
    warnings: tuple[str, ...] = ()
    timecode: str | None = None  # of the first picture, where the file says it and it fits the rate
    source: str = ""  # what documents name, where ``path`` is a temporary copy of it
    begins: Fraction = Fraction(0)  # seconds from 0 to the first picture

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def frames(self) -> int | None:
        """About how many frames there are; None where the file does not say."""
        return None if self.duration is None else max(1, round(self.duration * self.rate))

    def frame_at(self, seconds: float) -> int:
        """How many pictures come before the first at ``seconds`` or later, where the rate is constant.

        Their times are whole ticks, the nearest to what the rate says.
        """
        ticks = ceil((Fraction(seconds) - Fraction(EARLY)) / self.time_base)
        return max(0, ceil(((ticks - Fraction(1, 2)) * self.time_base - self.begins) * self.rate))

    @property
    def guessed_matrix(self) -> int:
        """The matrix players assume: the tagged one, or BT.709 for HD and BT.601 for the rest."""
        if self.matrix not in (0, UNSPECIFIED):
            return self.matrix
        return BT709 if min(self.size) >= 720 else BT601

    def to_dict(self) -> dict[str, Any]:
        """The facts as JSON can hold them."""
        facts = asdict(self)
        for name in ("zero", "warnings", "source", "begins"):
            del facts[name]
        facts["path"] = self.source or str(self.path)
        facts["rate"], facts["aspect"] = float(self.rate), str(self.aspect)
        facts["time_base"] = str(self.time_base)
        return facts


@dataclass(frozen=True)
class Video(Pictures):
    """What is known of a video before it is segmented: its pictures, and the sound that they are seen with."""

    sound: Sound = field(kw_only=True)

    @property
    def pictures(self) -> Pictures:
        """The same without sound."""
        return Pictures(**{fact.name: getattr(self, fact.name) for fact in fields(Pictures)})

    def to_dict(self) -> dict[str, Any]:
        """The facts as JSON can hold them."""
        facts = super().to_dict()
        facts["sound"]["path"] = facts["path"] if self.sound.path == self.path else str(self.sound.path)
        del facts["sound"]["zero"]
        return facts


def probe(path: str | Path, audio: str | Path | None = None, audio_track: int | None = None) -> Video:
    """Look at a video: its first frame is decoded, nothing else.

    audio: another file whose sound is used; audio_track: which of the sound tracks (from 1).
    Raises ``InputError`` when the file is missing, is not a video, has no picture, no frame or no sound.
    """
    path = Path(path)
    with open_input(path) as container:
        stream = video_stream(container, path)
        sound = None if audio is not None else _sound(container, path, audio_track, stream)
        facts = _facts(path, container, stream)
    if audio is not None:
        with open_input(Path(audio)) as other:
            sound = _sound(other, Path(audio), audio_track, None)
    return Video(**facts, sound=sound)


def probe_pictures(path: str | Path) -> Pictures:
    """Look at the pictures alone, whatever sound there is. Raises ``InputError`` as ``probe`` does, but for sound."""
    path = Path(path)
    with open_input(path) as container:
        return Pictures(**_facts(path, container, video_stream(container, path)))


def _first_frame(path: Path, container: InputContainer, stream: Stream) -> VideoFrame:
    if stream.codec_context is None:
        raise InputError(
            f"{path}: its pictures are in a codec that cannot be decoded; convert them, to H.264 for example"
        )
    _limit_size(stream, path)
    first = next(decode(container, stream, damage := Damage()), None)
    if damage.encrypted:
        raise InputError(f"{path}: its pictures are encrypted (DRM); give a copy that is not")
    if first is None:
        raise InputError(f"{path}: has no frame that can be decoded; the file is damaged or unfinished")
    return first


def _limit_size(stream: Stream, path: Path) -> None:
    """Have the decoder refuse pictures beyond a size; raises ``InputError`` where the header claims such."""
    limit, context = largest_picture(), stream.codec_context
    if context.width * context.height > limit:
        claimed = f"{context.width} x {context.height}"
        raise InputError(
            f"{path}: claims pictures of {claimed} pixels, more than the {limit / 1e6:g} megapixels allowed; if it is "
            f"not damaged, set {LARGEST_VARIABLE}={-(-context.width * context.height // 1_000_000)}"
        )
    context.options = {"max_pixels": str(2 * limit)}  # decoders pad; for what grows on the way


def largest_picture() -> int:
    """Pixels that a picture may have; raises ``InputError`` where the environment's word for it is no number."""
    said = os.environ.get(LARGEST_VARIABLE) or LARGEST
    try:
        return min(max(1, int(float(said) * 1e6)), 2**31 - 1)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{LARGEST_VARIABLE}={said}: not a number of megapixels") from error


def _sound(container: InputContainer, path: Path, track: int | None, related: Stream | None) -> Sound:
    stream = audio_stream(container, path, track, related)
    context = stream.codec_context
    if context is None:
        raise InputError(f"{path}: its sound is in a codec that cannot be decoded; give it with {named('audio')} FILE")
    number = list(container.streams.audio).index(stream) + 1
    return Sound(path, number, context.name, stream.rate or 0, stream.channels or 0, clock_zero(container))


def _own_end(container: InputContainer, stream: Stream) -> float | None:
    """Seconds from the clock's zero to the end of the pictures, by their own track; None where it does not say."""
    if stream.duration and stream.time_base:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base - clock_zero(container))
    said = TRACK_END.fullmatch(stream.metadata.get("DURATION", ""))
    return said and _from_zero(3600 * int(said[1]) + 60 * int(said[2]) + float(said[3]), container)


def _duration(container: InputContainer, stream: Stream) -> float | None:
    """Seconds from the clock's zero to the end of the pictures; of the longest track, where their own does not say."""
    own = _own_end(container, stream)
    return own if own or not container.duration else _from_zero(container.duration / av.time_base, container)


def _from_zero(end: float, container: InputContainer) -> float:
    """What a header says of the end: Matroska's, by its own clock; those of others are lengths."""
    zero = float(clock_zero(container)) if "matroska" in container.format.name else 0.0
    return end - zero if end > zero else end


def _facts(path: Path, container: InputContainer, stream: Stream) -> dict[str, Any]:
    """The fields of ``Pictures``."""
    zero, duration = clock_zero(container), _duration(container, stream)
    first = _first_frame(path, container, stream)
    context = stream.codec_context
    rotation = round(first.rotation / 90) * 90 % 360
    sideways = rotation % 180 == 90
    rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
    aspect = stream.sample_aspect_ratio or Fraction(1)
    warnings = []
    if first.color_trc in HDR_TRANSFERS:
        warnings.append(
            f"HDR video ({HDR_TRANSFERS[first.color_trc]}): it is not tone-mapped, so the model sees flat colours "
            "and may find less; a standard-range copy works better"
        )
    return {
        "path": path,
        "width": first.height if sideways else first.width,
        "height": first.width if sideways else first.height,
        "rotation": rotation,
        "rate": rate if 0 < rate <= 1000 else DEFAULT_RATE,
        "time_base": stream.time_base,
        "zero": zero,
        "duration": duration,
        "codec": context.name,
        "pixel_format": first.format.name,
        "container": container.format.name,
        "aspect": 1 / aspect if sideways else aspect,
        **_colours(first),
        "warnings": tuple(warnings),
        "timecode": _timecode(container, stream, rate),
        "begins": Fraction(0) if first.pts is None else round(first.pts - zero / tick_of(stream)) * tick_of(stream),
    }


def _timecode(container: InputContainer, stream: Stream, rate: Fraction) -> str | None:
    """What the pictures, a track of its own or the file say of the first picture's timecode."""
    tags = [own.metadata for own in (stream, *container.streams.data, container)]
    said = [value for own in tags for name, value in own.items() if name.lower() == "timecode"]
    return next((text for text in said if Timecode.read(text, rate)), None)


def is_yuv(frame: VideoFrame) -> bool:
    """Whether pixels are brightness and colour rather than red, green and blue (or a palette of them)."""
    return not frame.format.is_rgb and not frame.format.name.startswith(("pal", "mono"))


def _colours(frame: VideoFrame) -> dict[str, Any]:
    """The tags that what we write carries: the source's own, or BT.709 where it is RGB."""
    if not is_yuv(frame):
        return {"matrix": BT709, "primaries": BT709, "transfer": BT709, "full_range": False}
    full = frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")
    matrix = frame.colorspace or UNSPECIFIED  # 0 is RGB's, which grey pictures of PNG have
    return {
        "matrix": matrix, "primaries": frame.color_primaries, "transfer": frame.color_trc, "full_range": full,
    }  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """One frame of a video, as decoded (not yet upright), at its own time."""

    frame: VideoFrame
    pts: int  # ticks of the video's time base since the clock's zero
    time: float  # seconds since the clock's zero
    video: Pictures

    def rgb(self) -> np.ndarray:
        """The upright picture as uint8 RGB (H, W, 3)."""
        known = self.frame.colorspace not in (0, UNSPECIFIED)
        matrix = None if known else self.video.guessed_matrix
        source_range = FULL_RANGE if self.video.full_range else None
        frame = scaled(self.frame, *self._stored_size, "rgb24", src_colorspace=matrix, src_color_range=source_range)
        return np.ascontiguousarray(np.rot90(frame.to_ndarray(), self.video.rotation // 90))

    def grey(self, size: tuple[int, int]) -> np.ndarray:
        """The upright picture in grey at another (height, width), uint8."""
        stored = size if self.video.rotation % 180 == 90 else size[::-1]
        frame = scaled(self.frame, *stored, "gray", interpolation=Interpolation.BILINEAR)
        return np.ascontiguousarray(np.rot90(frame.to_ndarray(), self.video.rotation // 90))

    @property
    def held(self) -> float:
        """Seconds for which the file says it is shown; 0 where it does not."""
        return float((self.frame.duration or 0) * tick_of(self.frame))

    @property
    def _stored_size(self) -> tuple[int, int]:
        """(width, height) of the first frame as stored; a later change of size is scaled to it."""
        width, height = self.video.width, self.video.height
        return (height, width) if self.video.rotation % 180 == 90 else (width, height)


class VideoReader:
    """Iterates over the pictures of a video without ever holding more than the decoder does.

    Only pictures at ``start`` seconds and later, and before ``end``, are given. ``damage`` counts what
    was lost. Each iteration opens the file anew and gives the same pictures.
    """

    def __init__(self, video: Pictures, start: float = 0.0, end: float | None = None) -> None:
        self.video, self.start, self.end = video, start, end
        self.damage = Damage()
        self._promised: float | None = None  # when the pictures end, in seconds, or the longest track

    def __iter__(self) -> Iterator[Picture]:
        # some formats land after the time they were asked for: then from further back, then from the beginning
        for back in (0.0, 10.0, None):
            with open_input(self.video.path) as container:
                pictures = self._pictures(container, back)
                first = next(pictures, None)
                early = first is not None and first.time <= self.start + EARLY
                if early or back is None or self.start <= 0:
                    yield from self._within(chain([] if first is None else [first], pictures))
                    return

    def _pictures(self, container: InputContainer, back: float | None) -> Iterator[Picture]:
        stream = video_stream(container, self.video.path)
        _limit_size(stream, self.video.path)
        self._promised = _duration(container, stream)
        stream.thread_type, stream.codec_context.thread_count = "AUTO", codec_threads()
        if back is not None and self.start > back and stream.start_time is not None:
            seek(container, Fraction(self.start - back) + self.video.zero)
        return _timed(self._decoded(container, stream), self.video, self.damage)

    def _decoded(self, container: InputContainer, stream: Stream) -> Iterator[VideoFrame]:
        for frame in _deinterlaced(decode(container, stream, self.damage), stream.time_base):
            self.damage.frames += frame.is_corrupt
            yield frame

    def _within(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        last, over, usual = None, 0.0, 1 / float(self.video.rate)
        for picture in pictures:
            if self.end is not None and picture.time >= self.end - EARLY:
                return
            last, over = picture.time, max(over, picture.time + max(usual, picture.held))
            if picture.time >= self.start - EARLY:
                yield picture
        if last is not None and self._promised and not self._is_whole(over, self._promised - ENDS_EARLY):
            where = f"pictures end at {last:.1f} s of {self._promised:.1f} s"
            self.damage.notes.append(f"{where}: the file is cut off or damaged")

    def _is_whole(self, over: float, least: float) -> bool:
        """Whether the pictures last until ``least`` seconds; where their track does not say its end, any track."""
        if over >= least:
            return True
        with open_input(self.video.path) as container:
            stream = video_stream(container, self.video.path)
            if _own_end(container, stream):
                return False
            others = [track.index for track in container.streams if track != stream and track.time_base]
        return any(_lasts(self.video.path, index, least) for index in others)


def _lasts(path: Path, index: int, until: float) -> bool:
    """Whether a track goes on until some second."""
    with open_input(path) as container:  # anew, and read from its beginning: not all formats can be moved in
        end = clock_zero(container) + Fraction(until)
        return any(
            packet.pts is not None and (packet.pts + (packet.duration or 0)) * tick_of(packet) >= end
            for packet in demux(container, container.streams[index], Damage())
        )


def _timed(frames: Iterator[VideoFrame], video: Pictures, damage: Damage) -> Iterator[Picture]:
    """Give each frame its time since the clock's zero."""
    step = max(1, round(1 / (video.rate * video.time_base)))
    times = FrameTimes(video.zero / video.time_base, step, video.time_base, damage)
    for frame, pts in times.of(frames):
        yield Picture(frame, pts, float(pts * video.time_base), video)


def _deinterlaced(frames: Iterator[VideoFrame], time_base: Fraction) -> Iterator[VideoFrame]:
    """Interlaced frames pass through FFmpeg's bwdif, progressive ones as they are, one out for each in."""
    graph: Graph | None = None
    shape: tuple | None = None
    for frame in frames:
        if graph is None and not frame.interlaced_frame:
            yield frame
            continue
        if (frame.width, frame.height, frame.format.name) != shape:
            if graph is not None:
                yield from _drain(graph, None, time_base)
            shape = (frame.width, frame.height, frame.format.name)
            graph = _bwdif(frame, time_base)
        yield from _drain(graph, frame, time_base)
    if graph is not None:
        yield from _drain(graph, None, time_base)


def _bwdif(frame: VideoFrame, time_base: Fraction) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
    return graph


def _drain(graph: Graph, frame: VideoFrame | None, time_base: Fraction) -> Iterator[VideoFrame]:
    graph.vpush(frame)
    while True:
        try:
            out = graph.vpull()
        except (BlockingIOError, EOFError, FFmpegError):
            return
        if out.pts is not None:
            out.pts, out.duration = (round(ticks * tick_of(out) / time_base) for ticks in (out.pts, out.duration))
            out.time_base = time_base
        yield out


def even(side: int) -> int:
    """The side of a picture padded to what 4:2:0 needs."""
    return side + side % 2
