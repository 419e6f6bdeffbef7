"""``avseg prepare``: frames and sound of raw AVSBench videos, by the official rule.

Frame l (from 0) is the video's frame number int(l * fps + 15/16 * fps), fps rounded, the last one if there
are fewer, at 224x224; the sound is 16 kHz mono, the mean of its channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
import torch
from PIL import Image

from avseg_cli.base.errors import AvsegError, DataError, named
from avseg_cli.base.pool import killed_is_told
from avseg_cli.base.threads import cores
from avseg_cli.base.whole_files import write_whole
from avseg_cli.data.clips import Clip, all_clips
from avseg_cli.data.prepare_options import PrepareOptions
from avseg_cli.data.subsets import MASK_SIZE, find_subset
from avseg_cli.media.audio import mono
from avseg_cli.media.container import Damage, audio_stream, decode, open_input, video_stream
from avseg_cli.model.log_mel import SAMPLE_RATE, clip_log_mel

Job = tuple[Clip, Path, bool, bool]  # clip, its raw video, overwrite, log-mel too
VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov")


@dataclass(frozen=True)
class Made:
    """What became of one clip: "made", "kept" (it was complete), or the error that stopped it."""

    clip: str
    outcome: str
    error: str = ""


def prepare(
    options: PrepareOptions, track: Callable[[Iterable[Made], int], Iterable[Made]] = lambda made, count: made
) -> list[Made]:
    """Make what the subset's clips lack; a clip that fails does not stop the others.

    Raises ``DataError`` when the root is wrong or the layout has no raw videos, ``DeviceError`` when one of several
    processes is killed.
    """
    jobs, workers = _jobs(options), options.workers or cores()
    if workers == 1:
        return list(track(map(_prepare_clip, jobs), len(jobs)))
    with killed_is_told(options.data, "frames"), ProcessPoolExecutor(workers) as pool:
        return list(track(pool.map(_prepare_clip, jobs, chunksize=4), len(jobs)))


def plan(options: PrepareOptions) -> dict[str, int]:
    """How many clips ``prepare`` would make, would keep as they are, and could not make for want of a raw video."""
    counts = {"make": 0, "keep": 0, "fail for want of the raw video of": 0}
    for clip, video, *wanted in _jobs(options):
        frames, sound, spectrogram = _lacks(clip, *wanted)
        if not (frames or sound or spectrogram):
            counts["keep"] += 1
        elif (frames or sound) and not video.is_file():
            counts["fail for want of the raw video of"] += 1
        else:
            counts["make"] += 1
    return counts


def _jobs(options: PrepareOptions) -> list[Job]:
    subset = find_subset(options.subset)
    clips = all_clips(options.data, subset)
    if any(clip.video is None for clip in clips):
        raise DataError(
            f"{subset.name} is published as frames and sound, there are no raw videos; use {named('check')}"
        )
    return [(clip, raw_video(clip), options.overwrite, options.log_mel) for clip in clips]


def raw_video(clip: Clip) -> Path:
    """Where the raw video of a clip lies, whatever its suffix."""
    assert clip.video is not None, "layouts without raw videos are refused before"
    candidates = [clip.video.with_name(clip.name + suffix) for suffix in VIDEO_SUFFIXES]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _lacks(clip: Clip, overwrite: bool, log_mel: bool) -> tuple[bool, bool, bool]:
    """Whether frames, sound and log-mel are to be made."""
    frames = overwrite or not all(path.is_file() for path in clip.frames)
    sound = overwrite or not clip.wav.is_file()
    spectrogram = log_mel and clip.log_mel is not None and (overwrite or not clip.log_mel.is_file())
    return frames, sound, spectrogram


def _prepare_clip(job: Job) -> Made:
    clip, video, overwrite, log_mel = job
    try:
        lacks_frames, lacks_sound, lacks_log_mel = _lacks(clip, overwrite, log_mel)
        if not (lacks_frames or lacks_sound or lacks_log_mel):
            return Made(clip.name, "kept")
        if (lacks_frames or lacks_sound) and not video.is_file():
            raise DataError(f"{video}: the raw video of {clip.name} is missing")
        if lacks_frames:
            _write_frames(clip, video)
        if lacks_sound:
            _write_sound(clip, video)
        if lacks_log_mel:
            _write_log_mel(clip)
        return Made(clip.name, "made")
    except (AvsegError, OSError) as error:
        return Made(clip.name, "failed", str(error))


def frame_numbers(fps: float, seconds: int, count: int) -> list[int]:
    """The official choice: 15/16 into each second, counted in whole frames per second, clamped to the last frame."""
    rate = round(fps)
    return [min(int(second * rate + 15 / 16 * rate), count - 1) for second in range(seconds)]


def _write_frames(clip: Clip, video: Path) -> None:
    with open_input(video) as container:
        stream = video_stream(container, video)
        fps = float(stream.average_rate or stream.guessed_rate or 25)
        last_wanted = frame_numbers(fps, len(clip.frames), 1 << 60)[-1]
        decoded: list[np.ndarray] = []
        for frame in decode(container, stream, Damage()):
            turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4)
            image = Image.fromarray(np.ascontiguousarray(turned))
            decoded.append(np.asarray(image.resize((MASK_SIZE, MASK_SIZE), Image.Resampling.BILINEAR)))
            if len(decoded) > last_wanted:
                break
    if not decoded:
        raise DataError(f"{video}: has no frame that can be decoded; get it again")
    clip.frames[0].parent.mkdir(parents=True, exist_ok=True)
    for path, number in zip(clip.frames, frame_numbers(fps, len(clip.frames), len(decoded)), strict=True):
        write_whole(path, lambda partial, number=number: Image.fromarray(decoded[number]).save(partial, format="PNG"))


def _write_sound(clip: Clip, video: Path) -> None:
    with open_input(video) as container:
        stream = audio_stream(container, video, None, None)
        rate = stream.rate
        pieces = [mono(frame) for frame in decode(container, stream, Damage()) if isinstance(frame, av.AudioFrame)]
    waveform = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    if rate != SAMPLE_RATE and len(waveform):
        waveform = soxr.resample(waveform, rate, SAMPLE_RATE)
    clip.wav.parent.mkdir(parents=True, exist_ok=True)
    samples = np.clip(waveform, -1, 1)
    write_whole(clip.wav, lambda partial: soundfile.write(partial, samples, SAMPLE_RATE, "PCM_16", format="WAV"))


def _write_log_mel(clip: Clip) -> None:
    """AVSBench's own file: a tensor (T, 1, 96, 64), readable by ``torch.load``."""
    waveform, rate = soundfile.read(clip.wav, dtype="float32", always_2d=True)
    if rate != SAMPLE_RATE:
        waveform = soxr.resample(waveform, rate, SAMPLE_RATE)
    tensor = clip_log_mel(waveform.mean(1), len(clip.frames))
    assert clip.log_mel is not None, "only asked for where it has a place"
    clip.log_mel.parent.mkdir(parents=True, exist_ok=True)
    write_whole(clip.log_mel, lambda partial: torch.save(tensor, partial))
