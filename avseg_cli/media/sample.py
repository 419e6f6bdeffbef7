"""A small video made on the spot, to measure and to try the tool with."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FRAME_RATE = 10
SIZE = (320, 240)
SOUND_RATE = 16_000


def make_video(path: Path, seconds: float) -> Path:
    """A small picture that changes, and a tone: (320, 240) at 10 frames a second."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=FRAME_RATE)
        pictures.width, pictures.height, pictures.pix_fmt = *SIZE, "yuv420p"
        sound = container.add_stream("aac", rate=SOUND_RATE, layout="mono")
        ramp = np.linspace(0, 255, SIZE[0], dtype=np.uint8)
        for number in range(round(seconds * FRAME_RATE)):
            row = np.roll(ramp, 7 * number)
            picture = np.broadcast_to(row[None, :, None], (SIZE[1], SIZE[0], 3))
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(pictures.encode(None))
        tone = 0.3 * np.sin(2 * np.pi * 330 * np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE)
        frame = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = SOUND_RATE, Fraction(1, SOUND_RATE), 0
        for packet in (*sound.encode(frame), *sound.encode(None)):
            container.mux(packet)
    return path
