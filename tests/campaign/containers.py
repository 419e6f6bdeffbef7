"""Small real files of each container, and the ways to break them that need their packets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from media_files import Clip

CONTAINERS: dict[str, Clip] = {
    "mp4": Clip(),
    "mkv": Clip(sound="pcm_s16le"),
    "ts": Clip(format="mpegts"),
    "webm": Clip(codec="libvpx", options={"cpu-used": "16", "deadline": "realtime"}, sound="libopus", sound_rate=48000),
    "avi": Clip(codec="mpeg4", options={}, sound="libmp3lame"),
}


def small(kind: str, folder: Path, seconds: float = 1.5) -> Path:
    """A video of that container, 64x48, with sound."""
    made = CONTAINERS[kind]
    clip = Clip(**{**made.__dict__, "size": (64, 48), "seconds": seconds})
    return clip.write(folder / f"clip.{kind}")


def flipped(source: Path, target: Path, share: float, random: np.random.Generator) -> Path:
    """A copy in which the payload of ``share`` of the packets (one at least) is partly overwritten."""
    content = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [bytes(p) for p in container.demux() if p.size > 16]
    count = max(1, round(share * len(packets)))
    for number in random.choice(len(packets), count, replace=False):
        place = bytes(content).find(packets[number][:64])
        if place >= 0:  # transport streams cut packets up; a part of them is found
            at = place + int(random.integers(0, min(48, len(packets[number]))))
            content[at : at + 8] = random.bytes(8)
    target.write_bytes(content)
    return target


def retimed(source: Path, target: Path, change: Callable[[float], float]) -> Path:
    """A copy whose packets have other times: ``change`` maps seconds to seconds."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        streams = {s.index: writer.add_stream_from_template(s) for s in reader.streams}
        for packet in reader.demux():
            if packet.dts is None:
                continue
            base = packet.time_base
            packet.pts, packet.dts = (round(change(float(t * base)) / base) for t in (packet.pts, packet.dts))
            packet.stream = streams[packet.stream.index]
            writer.mux(packet)
    return target


def sounds(target: Path, tracks: list[tuple[str, int, str]], seconds: float = 1.0) -> Path:
    """A video with sound tracks of (codec, Hz, layout)."""
    with av.open(str(target), "w") as container:
        pictures = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        streams = [container.add_stream(codec, rate=rate, layout=layout) for codec, rate, layout in tracks]
        packets = []
        for number in range(round(seconds * 10)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number % 255, np.uint8), format="rgb24")
            frame.pts = number
            packets += pictures.encode(frame)
        packets += pictures.encode(None)
        for stream in streams:
            packets += _tone(stream, seconds)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return target


def _tone(stream: av.AudioStream, seconds: float) -> list[av.Packet]:
    context, packets = stream.codec_context, []
    rate, channels = context.sample_rate, context.channels
    wave = (0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)
    resampler = av.AudioResampler(context.format.name, context.layout, rate)
    for first in range(0, len(wave), 1024):
        block = np.repeat(wave[first : first + 1024], channels)[None]  # packed: planar frames hold 8 channels
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout=context.layout.name)
        frame.sample_rate, frame.pts = rate, first
        for ready in resampler.resample(frame):
            packets += stream.encode(ready)
    return packets + stream.encode(None)
