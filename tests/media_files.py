"""Makers of small real videos of every kind, and a model whose masks are known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor, nn

from avseg_cli.model.backbones import preset
from avseg_cli.model.edge import ModelEdge
from avseg_cli.model.transforms import MEAN, STD

RED = (220, 30, 30)
GROUND = (60, 90, 60)

Place = Callable[[float], tuple[float, float]]  # time -> centre of the red square, as shares of width and height
Loudness = Callable[[np.ndarray], np.ndarray]  # times -> amplitude


def centre(time: float) -> tuple[float, float]:
    return 0.5, 0.5


def always(times: np.ndarray) -> np.ndarray:
    return np.full_like(times, 0.4)


@dataclass
class Clip:
    """A video to be written. times: of each frame in seconds (default: constant rate)."""

    size: tuple[int, int] = (160, 120)  # (width, height) as stored
    rate: int | Fraction = 10
    seconds: float = 3.0
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    options: dict[str, str] = field(default_factory=lambda: {"preset": "ultrafast", "crf": "10"})
    times: Sequence[float] | None = None
    time_base: Fraction | None = None
    sound: str | None = "aac"
    sound_rate: int = 44100
    layout: str = "stereo"
    sound_seconds: float | None = None
    sound_delay: float = 0.0  # seconds; negative: the pictures start later than the sound
    loudness: Loudness = always
    place: Place = centre
    rotation: int = 0  # degrees counter-clockwise, written as a display matrix
    tags: tuple[int, int, int, int] | None = None  # matrix, primaries, transfer, range
    format: str | None = None
    block: int = 1024  # samples that the sound's encoder is given at once
    second_sound: Loudness | None = None  # a second track
    timecode: str = ""  # of the first picture

    def write(self, path: Path) -> Path:
        options = {} if self.format in ("h264", "mpegts") else None
        with av.open(str(path), "w", format=self.format, options=options or {}) as container:
            if self.timecode:
                container.metadata["timecode"] = self.timecode
            pictures = self._picture_stream(container)
            tracks = [] if self.sound is None else [(self._sound_stream(container), self.loudness)]
            if self.second_sound:
                tracks.append((self._sound_stream(container), self.second_sound))
            packets = [*self._pictures(pictures)]
            for stream, loudness in tracks:
                packets += self._sound(stream, loudness)
            # headers are known once encoders have run; files are interleaved as players expect
            for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
                container.mux(packet)
        return path

    def frame_times(self) -> list[float]:
        if self.times is not None:
            return list(self.times)
        return [float(index / self.rate) for index in range(round(self.seconds * self.rate))]

    def picture(self, time: float) -> np.ndarray:
        """The stored picture (H, W, 3): a red square on a dull ground."""
        width, height = self.size
        image = np.empty((height, width, 3), np.uint8)
        image[:] = GROUND
        image[:, :: max(2, width // 8)] += 10  # some structure, so that shifts would show
        x, y = self.place(time)
        half = min(width, height) // 5
        left, top = round(x * width) - half, round(y * height) - half
        image[max(0, top) : top + 2 * half, max(0, left) : left + 2 * half] = RED
        return image

    def _picture_stream(self, container):
        stream = container.add_stream(self.codec, rate=self.rate, options=dict(self.options))
        stream.width, stream.height = self.size
        stream.pix_fmt = self.pixel_format
        stream.codec_context.time_base = stream.time_base = self.time_base or Fraction(1, 1000)
        if self.codec in ("mpeg2video", "mpeg4", "mjpeg"):
            stream.codec_context.time_base = Fraction(1, self.rate)
        if self.tags:
            context = stream.codec_context
            context.colorspace, context.color_primaries, context.color_trc, context.color_range = self.tags
        if self.rotation:
            stream.set_display_rotation(self.rotation)
        return stream

    def _pictures(self, stream):
        time_base = stream.codec_context.time_base
        late = max(0.0, -self.sound_delay)
        for time in self.frame_times():
            frame = av.VideoFrame.from_ndarray(self.picture(time), format="rgb24")
            frame = frame.reformat(format=self.pixel_format, dst_colorspace=1 if self.tags else None)
            frame.pts, frame.time_base = round((time + late) / time_base), time_base
            yield from stream.encode(frame)
        yield from stream.encode(None)

    def _sound_stream(self, container):
        options = {"strict": "experimental"} if self.sound in ("vorbis", "s302m") else {}
        stream = container.add_stream(self.sound, rate=self.sound_rate, layout=self.layout, options=options)
        stream.bit_rate = 128_000
        return stream

    def _sound(self, stream, loudness: Loudness):
        length = self.sound_seconds if self.sound_seconds is not None else self.frame_times()[-1] + 1 / self.rate
        times = np.arange(round(length * self.sound_rate)) / self.sound_rate
        wave = (np.sin(2 * np.pi * 440 * times) * loudness(times)).astype(np.float32)
        delay = round(max(0.0, self.sound_delay) * self.sound_rate)
        channels = stream.codec_context.channels
        for first in range(0, len(wave), self.block):
            block = np.ascontiguousarray(np.tile(wave[first : first + self.block], (channels, 1)))
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self.layout)
            frame.sample_rate, frame.pts, frame.time_base = self.sound_rate, first + delay, Fraction(1, self.sound_rate)
            yield from stream.encode(frame)
        yield from stream.encode(None)


class LoudRed(ModelEdge, nn.Module):
    """A stand-in for the model with its interface: what is red sounds, in seconds that are loud."""

    dtype = torch.float32

    def __init__(self) -> None:
        super().__init__()
        self.config = preset("tiny")
        self.scale = nn.Parameter(torch.ones(1))
        self.encoded: list[int] = []  # frames in each call of the encoder
        self.decoded: list[int] = []  # clips in each call of the decoder

    def embed_sound(self, log_mel: Tensor) -> Tensor:
        loud = log_mel.amax((-1, -2, -3)) > -2.0  # silence is log(0.01) = -4.6
        return loud.float()[:, None].expand(-1, self.config.audio_dim)

    def embed_frames(self, frames: Tensor, sound: Tensor) -> Tensor:
        self.encoded.append(len(frames))
        red, green = (frames[:, c] * STD[c] + MEAN[c] for c in (0, 1))
        redness = (red - green)[:, None]
        return nn.functional.adaptive_avg_pool2d(redness, self.config.low_res)

    def decode(self, embeddings: Tensor, sound: Tensor) -> Tensor:
        self.decoded.append(len(embeddings))
        logits = (embeddings[:, :, 0] - 0.3) * 40 * self.scale
        silent = sound[..., 0] == 0
        return torch.where(silent[..., None, None], -10.0, logits)


def retimed(source: Path, target: Path, later: float = 0.0, held: float | None = None) -> Path:
    """A copy in which all is ``later``, and the last picture is ``held``, in seconds."""
    with av.open(str(source)) as made, av.open(str(target), "w") as container:
        streams = [container.add_stream_from_template(stream) for stream in made.streams]
        packets = [packet for packet in made.demux() if packet.dts is not None]
        last = max((packet for packet in packets if packet.stream.type == "video"), key=lambda packet: packet.dts)
        for packet in packets:
            if packet is last and held is not None:
                packet.duration = round(held / packet.time_base)
            moved = round(later / packet.time_base)
            packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
            packet.stream = streams[packet.stream_index]
            container.mux(packet)
    return target


def frames_of(path: Path) -> list[av.VideoFrame]:
    """Every frame of a file."""
    with av.open(str(path)) as container:
        return list(container.decode(container.streams.video[0]))


def rgb_of(path: Path, matrix: int | None = None) -> list[np.ndarray]:
    """Every frame of a file as RGB."""
    return [frame.to_ndarray(format="rgb24", src_colorspace=matrix) for frame in frames_of(path)]


def sound_payload(path: Path, track: int = 0) -> list[bytes]:
    """The packets of a sound track, as bytes."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[track]) if packet.size]


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / max(1, (first | second).sum()))


def is_red(image: np.ndarray) -> np.ndarray:
    """Where the square of a picture is."""
    return (image[..., 0].astype(int) - image[..., 1]) > 90
