"""Check that a segmented video has highlighted pictures, the source's sound, and its length."""

import sys

import av
import numpy as np


def facts(path: str) -> tuple[list[np.ndarray], float, int]:
    """Frames as RGB arrays, seconds of video, number of audio samples."""
    with av.open(path) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        seconds = float(container.streams.video[0].duration * container.streams.video[0].time_base)
    with av.open(path) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    return frames, seconds, samples


source, source_seconds, source_samples = facts(sys.argv[1])
result, result_seconds, result_samples = facts(sys.argv[2])
assert len(result) == len(source), f"{len(result)} frames, not {len(source)}"
assert abs(result_seconds - source_seconds) < 0.05, f"{result_seconds} s, not {source_seconds} s"
assert result_samples == source_samples, f"{result_samples} audio samples, not {source_samples}"


def redness(frame: np.ndarray) -> np.ndarray:
    """Red above green: the highlight raises it, dimming what is silent does not."""
    return frame[..., 0].astype(int) - frame[..., 1]


highlighted = [redness(b) - redness(a) > 40 for a, b in zip(source, result, strict=True)]
share = np.mean([h.mean() for h in highlighted])
assert 0.005 < share < 0.6, f"{share:.2%} of the pixels are highlighted"
print(
    f"{sys.argv[2]}: {len(result)} frames, {result_seconds:.2f} s, {result_samples} audio samples, "
    f"{share:.1%} of the pixels highlighted"
)
