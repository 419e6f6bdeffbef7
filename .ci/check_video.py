"""Check that a segmented video has pictures that differ from its source's, the source's sound, and its length."""

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
changed = [np.abs(a.astype(int) - b.astype(int)).max(-1) > 24 for a, b in zip(source, result, strict=True)]
share = np.mean([c.mean() for c in changed])
assert share > 0.005, f"only {share:.2%} of the pixels are highlighted"
print(f"{sys.argv[2]}: {len(result)} frames, {result_seconds:.2f} s, {result_samples} audio samples, {share:.1%} of pixels changed")
