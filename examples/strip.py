"""Make the README's picture: frames of a segmented video, one a second, with the sound's waveform under them.

    avseg segment examples/takes-turns.mp4 -o out.mp4 && python examples/strip.py out.mp4 examples/strip.png
"""

import sys

import av
import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT, WAVE = 320, 240, 70  # pixels of one frame, and of the waveform's height


def main(video: str, picture: str) -> None:
    """Read ``video``, write ``picture``; the frame shown is the one at 0.9 of each second."""
    with av.open(video) as container:
        frames = {int(f.time): f.to_image() for f in container.decode(video=0) if f.time % 1 <= 0.9}
    with av.open(video) as container:
        sound = np.concatenate([f.to_ndarray().mean(0) for f in container.decode(audio=0)])
    strip = Image.new("RGB", (WIDTH * len(frames), HEIGHT + WAVE), "#14141c")
    for second, frame in sorted(frames.items()):
        strip.paste(frame.resize((WIDTH - 4, HEIGHT), Image.Resampling.LANCZOS), (WIDTH * second + 2, 0))
    draw = ImageDraw.Draw(strip)
    columns = np.array_split(sound, strip.width)
    loudest = max(np.abs(sound).max(), 1e-9)
    for x, column in enumerate(columns):
        half = np.abs(column).max() / loudest * (WAVE / 2 - 4)
        middle = HEIGHT + WAVE / 2
        draw.line([(x, middle - half), (x, middle + half)], fill="#ff5c94")
    strip.save(picture, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
