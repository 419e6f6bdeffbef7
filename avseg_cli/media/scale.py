"""Frames in another size, format or range, by FFmpeg's scaler."""

from __future__ import annotations

import threading
from typing import Any

from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

MOST = 8  # scalers kept by a thread: a video needs two or three

_kept = threading.local()


def scaled(frame: VideoFrame, width: int, height: int, pixel_format: str, **how: Any) -> VideoFrame:
    """The frame as ``width`` x ``height`` pixels of ``pixel_format``; how: further arguments of PyAV's reformatter.

    To set up a scaler takes ten times as long as to use it on a frame, so a thread keeps those it used.
    """
    scalers: dict[tuple[object, ...], VideoReformatter] = _kept.__dict__.setdefault("scalers", {})
    change = width, height, pixel_format, *how.items()
    if change not in scalers:
        if len(scalers) == MOST:
            del scalers[next(iter(scalers))]
        scalers[change] = VideoReformatter()
    return scalers[change].reformat(frame, width, height, pixel_format, threads=1, **how)
