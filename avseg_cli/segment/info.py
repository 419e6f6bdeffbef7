"""``avseg info``: what is known of a video before it is segmented, and what segmenting it would do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from avseg_cli.base.errors import AvsegError, InputError
from avseg_cli.base.text import counted
from avseg_cli.media.inspect import colours, interlaced, timing, tracks
from avseg_cli.media.video import Pictures, Video, even, probe, probe_pictures
from avseg_cli.segment.addresses import exists
from avseg_cli.segment.grid import Grid
from avseg_cli.segment.info_options import InfoOptions
from avseg_cli.segment.sampling import LEFTOVER


def describe_video(
    path: Path, named: Path, outputs: dict[str, Path], options: InfoOptions, say: Callable[[AvsegError], str] = str
) -> dict[str, Any]:
    """Everything as JSON can hold it. named: what stands for ``path``, ``-`` for a copy of stdin; outputs: format ->
    path, as ``segment`` would name them; say: a problem in words.

    Raises ``InputError`` for what is not a video; one without sound is described, with the problem named.
    """
    problem = None
    try:
        video: Pictures = probe(path, options.audio, options.audio_track)
    except InputError as error:
        problem, video = say(error), probe_pictures(path)
    times, all_tracks = timing(path), tracks(path)
    facts = {
        "container": video.container, "bytes": path.stat().st_size, "duration": video.duration,
        "size": [video.width, video.height], "rotation": video.rotation, "pixel_aspect": str(video.aspect),
        "codec": video.codec, "rate": round(float(video.rate), 6), "frames": video.frames,
        "time_base": str(video.time_base), "interlaced": interlaced(path), "timing": times, "colours": colours(video),
        "tracks": all_tracks,
    }  # fmt: skip
    would: dict[str, Any] = {"possible": problem is None, "warnings": _warnings(video, times, all_tracks, facts)}
    if problem:
        would["problem"] = problem
    if isinstance(video, Video):
        would |= {
            "sound": {"file": str(named if video.sound.path == path else video.sound.path), "track": video.sound.track},
            "masks": _masks(video, Grid(options.fps, options.consecutive)),
            "outputs": {name: {"path": str(out), "exists": exists(out)} for name, out in outputs.items()},
        }
    return facts | {"segment": would}


def _masks(video: Pictures, grid: Grid) -> int | None:
    """About how many masks there will be; None where the length is unknown."""
    return None if video.duration is None else max(1, int(video.duration / grid.step + 1 - LEFTOVER))


def _warnings(
    video: Pictures, times: dict[str, Any], all_tracks: list[dict[str, Any]], facts: dict[str, Any]
) -> list[str]:
    """What of the file is unusual, and how it is dealt with, a sentence each."""
    found = list(video.warnings)
    if video.duration is None:
        found.append("the file does not say how long it is: progress has no end to go by")
    if times["variable"]:
        found.append("variable frame rate: every frame keeps its own time in the output")
    if facts["interlaced"]:
        found.append("interlaced: frames are deinterlaced before they are looked at and drawn on")
    if video.rotation:
        found.append(f"stored turned by {video.rotation} degrees: outputs are upright")
    if (even(video.width), even(video.height)) != (video.width, video.height):
        found.append("odd width or height: the overlay is padded by a row or column")
    if isinstance(video, Video) and video.sound.path == video.path:
        found += _sound_warnings(video, [track for track in all_tracks if track["kind"] == "audio"])
    left = [track["kind"] for track in all_tracks if track["kind"] in ("subtitle", "data", "attachment")]
    if left:
        found.append(
            f"not copied into outputs: {', '.join(counted(left.count(k), f'{k} track') for k in sorted({*left}))}"
        )
    return found


def _sound_warnings(video: Video, sounds: list[dict[str, Any]]) -> list[str]:
    found = []
    if len(sounds) > 1:
        found.append(
            f"{len(sounds)} sound tracks: number {video.sound.track} is heard and copied; "
            "`avseg segment --audio-track N` takes another"
        )
    heard = sounds[video.sound.track - 1]
    if heard.get("start", 0) > 0.01:
        found.append(f"the sound starts {heard['start']:.2f} s after the pictures: until then there is silence")
    end = heard.get("start", 0) + heard.get("duration", 0)
    if video.duration and heard.get("duration") and end < video.duration - 0.5:
        found.append(f"the sound ends at {end:.1f} s of {video.duration:.1f} s: after that there is silence")
    return found
