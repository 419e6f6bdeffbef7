"""What a video file holds, as ``avseg info`` tells it: every track, the times of its frames, its colours."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.reformatter import ColorPrimaries, ColorTrc

from avseg_cli.media.container import Damage, clock_zero, decode, demux, open_input, video_stream
from avseg_cli.media.video import HDR_TRANSFERS, Pictures

LOOKED_AT = 3000  # frames whose times are read, at most: a long video takes no longer than a short one
JITTER = 0.0021  # seconds: Matroska rounds the times of a constant rate to milliseconds
MATRICES = {0: "RGB", 1: "BT.709", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020"}


def tracks(path: Path) -> list[dict[str, Any]]:
    """Every track of a file in its own order: kind, codec, language, when it starts, and what fits its kind.

    Times are seconds since the clock's zero (see ``clock_zero``). Raises ``InputError`` for unreadable files.
    """
    with open_input(path) as container:
        zero = clock_zero(container)
        return [_track(container, stream, float(zero)) for stream in container.streams]


def _track(container: InputContainer, stream: Stream, zero: float) -> dict[str, Any]:
    context = stream.codec_context
    facts: dict[str, Any] = {"index": stream.index, "kind": stream.type, "codec": context.name if context else None}
    if stream.language not in (None, "", "und"):
        facts["language"] = stream.language
    if title := stream.metadata.get("title"):
        facts["title"] = title
    facts["default"] = bool(stream.disposition & Disposition.default)
    if stream.disposition & Disposition.attached_pic:
        facts["cover"] = True
    if stream.start_time is not None and stream.time_base:
        facts["start"] = round(float(stream.start_time * stream.time_base) - zero, 6)
    if stream.duration and stream.time_base:
        facts["duration"] = round(float(stream.duration * stream.time_base), 6)
    if context and context.bit_rate:
        facts["bit_rate"] = context.bit_rate
    if stream.type == "audio" and context:
        facts |= {
            "number": list(container.streams.audio).index(stream) + 1,
            "sample_rate": stream.rate,
            "channels": stream.channels,
            "layout": stream.layout.name,
        }
    elif stream.type == "video" and context:
        facts |= {"stored_size": [context.width, context.height]}
    return facts


def timing(path: Path) -> dict[str, Any]:
    """How regularly frames follow each other, from the times of the first ones: nothing is decoded.

    ``shortest`` and ``longest`` are the seconds between two frames; ``variable`` whether the rate is.
    """
    with open_input(path) as container:
        stream = video_stream(container, path)
        times = []
        for packet in demux(container, stream, Damage()):
            if packet.pts is not None:
                times.append(float(packet.pts * packet.time_base))
            if len(times) >= LOOKED_AT:
                break
    # frames come in the order of decoding: near the last one read, some shown earlier may be missing
    shown = sorted(times)[: len(times) if len(times) < LOOKED_AT else -32]
    steps = [after - before for before, after in zip(shown, shown[1:], strict=False) if after > before]
    if not steps:
        return {"frames_looked_at": len(times), "variable": None}
    variable = max(steps) - min(steps) > max(2 * JITTER, 0.1 * median(steps))
    return {
        "frames_looked_at": len(times),
        "variable": variable,
        "shortest": round(min(steps), 6),
        "longest": round(max(steps), 6),
    }


def interlaced(path: Path) -> bool:
    """Whether the first frame is made of two fields."""
    with open_input(path) as container:
        first = next(decode(container, video_stream(container, path), Damage()), None)
        return bool(first and first.interlaced_frame)


def colours(video: Pictures) -> dict[str, Any]:
    """The colour tags by name, and whether the picture is HDR."""
    return {
        "pixel_format": video.pixel_format,
        "matrix": MATRICES.get(video.matrix, "not tagged"),
        "primaries": _name(ColorPrimaries, video.primaries),
        "transfer": _name(ColorTrc, video.transfer),
        "range": "full" if video.full_range else "limited",
        "hdr": HDR_TRANSFERS.get(video.transfer),
    }


def _name(kind: Any, number: int) -> str:
    try:
        name = kind(number).name
    except ValueError:
        name = "UNSPECIFIED"
    return "not tagged" if name == "UNSPECIFIED" else name
