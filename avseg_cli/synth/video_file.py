"""A clip as a real video, 25 frames a second in H.264 with AAC sound, and its frames read back from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from PIL import Image

from avseg_cli.media.codecs import H264, Codec, available
from avseg_cli.synth.compose import FRAME_TIMES, VIDEO_FPS, SynthClip, draw
from avseg_cli.synth.sound_files import SAMPLE_RATE
from avseg_cli.synth.sounds import SECONDS

TRUTH = ".masks.mkv"  # in place of .mp4


def write_video(clip: SynthClip, path: Path, truth: bool = False) -> None:
    """Draw all 125 frames of the clip's scene at the size of its frames and write them with its sound.

    truth: write beside it the mask of every frame, as a lossless grey video of 0 and 255 named ``TRUTH``.

    The bytes depend on the clip alone: one encoding thread, and no time of day in the file. The scene's JPEG
    quality becomes the video's: a clip that would have been squeezed as pictures is squeezed as a video.
    """
    scene = replace(clip.scene, jpeg_quality=None)
    height, width = clip.frames.shape[1:3]
    codec = available(H264)
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    kept = path.with_name(path.stem + TRUTH) if truth else None
    with (
        av.open(os.path.abspath(path), "w", format="mp4", options=options) as container,
        _masks_written(kept, height, width) as keep,
    ):
        pictures = container.add_stream(codec.name, rate=VIDEO_FPS, options=_coding(codec, clip.scene.jpeg_quality))
        pictures.width, pictures.height, pictures.pix_fmt = width, height, codec.pixel_format
        pictures.codec_context.thread_count = 1
        heard = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for number in range(SECONDS * VIDEO_FPS):
            pixels, labels = draw(scene, number / VIDEO_FPS, (height, width))
            keep(np.isin(labels, clip.sounding_labels[number // VIDEO_FPS]))
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(pictures.encode(None))
        sound = av.AudioFrame.from_ndarray(clip.waveform[None], "flt", "mono")
        sound.sample_rate = SAMPLE_RATE
        resampler = av.AudioResampler("fltp", "mono", SAMPLE_RATE, heard.codec_context.frame_size or 1024)
        for frame in [*resampler.resample(sound), *resampler.resample(None)]:
            container.mux(heard.encode(frame))
        container.mux(heard.encode(None))


@contextmanager
def _masks_written(path: Path | None, height: int, width: int) -> Iterator[Callable[[np.ndarray], None]]:
    """Gives what writes one mask after another, bool (H, W), without loss; without a path they are let go."""
    if path is None:
        yield lambda mask: None
        return
    with av.open(os.path.abspath(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("ffv1", rate=VIDEO_FPS)
        stream.height, stream.width, stream.pix_fmt = height, width, "gray"
        stream.codec_context.thread_count = 1

        def keep(mask: np.ndarray) -> None:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(mask.astype(np.uint8) * 255, "gray")))

        yield keep
        container.mux(stream.encode(None))


def read_masks(path: Path) -> np.ndarray:
    """The masks of every frame of a video that has them beside it: bool (125, H, W)."""
    with av.open(os.path.abspath(path.with_name(path.stem + TRUTH))) as container:
        return np.stack([frame.to_ndarray(format="gray") > 127 for frame in container.decode(video=0)])


def _coding(codec: Codec, jpeg_quality: int | None) -> dict[str, str]:
    """The encoder's options; x264's constant rate factor goes from 20 (fine) to 32 (coarse)."""
    crf = 20 + (95 - (jpeg_quality or 95)) // 5
    return codec.options | ({"crf": str(crf)} if "crf" in codec.options else {})


def read_frames(path: Path, size: int) -> np.ndarray:
    """AVSBench's five frames of a video, squashed to squares: uint8 (5, size, size, 3)."""
    wanted = {round(time * VIDEO_FPS) for time in FRAME_TIMES}
    with av.open(os.path.abspath(path)) as container:
        frames = [
            frame.to_image().resize((size, size), Image.Resampling.BILINEAR)
            for number, frame in enumerate(container.decode(video=0))
            if number in wanted
        ]
    return np.stack([np.asarray(frame) for frame in frames])


def squashed(maps: np.ndarray, size: int) -> np.ndarray:
    """Masks or object maps (5, H, W) at the size of the frames, without mixing neighbours."""
    pictures = [Image.fromarray(each).resize((size, size), Image.Resampling.NEAREST) for each in maps]
    return np.stack([np.asarray(picture) for picture in pictures])
