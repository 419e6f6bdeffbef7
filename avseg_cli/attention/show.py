"""The job of ``avseg attention``: what ST-BAVA looks at in a video, as a picture of one clip and a video of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avseg_cli.attention.attention_options import AttentionOptions, MapChoice
from avseg_cli.attention.film import AttentionMovie, Screen
from avseg_cli.attention.instants import ClipLook
from avseg_cli.attention.looks import Looks
from avseg_cli.attention.sheet import draw_sheet, save_sheet
from avseg_cli.base.errors import InputError, named
from avseg_cli.base.prefetch import Prefetch
from avseg_cli.base.whole_files import commit, discard, partial_name
from avseg_cli.base.writing import writing
from avseg_cli.media.video import Video, VideoReader
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.outputs.output_kind import MOVIES, Kind

KINDS = {
    "picture": Kind(suffix=".avseg.attention.png", files=(".png",)),
    "video": Kind(suffix=".avseg.attention.mp4", files=MOVIES),
}
AHEAD = 2  # clips, or pictures, made before they are needed

Progress = Callable[[float], None]  # told how far we are, in seconds of the video


@dataclass
class Shown:
    """What was made of one video. instants: a record for each second looked at, ready for JSON."""

    outputs: dict[str, Path]
    instants: list[dict[str, Any]] = field(default_factory=list)
    frames: int = 0
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """All of it as one JSON object."""
        outputs = {name: str(path) for name, path in self.outputs.items()}
        return {"outputs": outputs, "frames": self.frames, "warnings": self.warnings, "instants": self.instants}


def show_attention(
    video: Video,
    model: AvsegModel,
    outputs: dict[str, Path],
    options: AttentionOptions | None = None,
    progress: Progress = lambda seconds: None,
) -> Shown:
    """Write ``outputs``, all of them whole or none: "picture" (PNG, of the first clip) and "video" (of all clips).

    Raises ``InputError``, ``CheckpointError`` (for a fusion that
    is not ST-BAVA), ``OutputError`` or ``DeviceError``; whatever is raised, nothing partial is left.
    """
    options = options or AttentionOptions()
    looks = Looks(video, model, options)
    shown = Shown(dict(outputs))
    partials = {name: partial_name(path) for name, path in outputs.items()}
    try:
        clips = _noted(looks, shown)
        first = next(clips, None)
        if first is None:
            raise InputError(
                f"{video.path}: has no picture from {named('start')} {options.start:g} on; give an earlier one"
            )
        for path in outputs.values():
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
        if "picture" in outputs:
            with writing(outputs["picture"]):
                save_sheet(draw_sheet(first, title(first, options.choice, model)), partials["picture"])
        if "video" in outputs:
            paths = partials["video"], outputs["video"]
            _write_video(_chained(first, clips), video, options.span, paths, shown, progress)
        shown.warnings = [*looks.warnings, *shown.warnings]
        for name, path in outputs.items():
            with writing(path):
                commit(partials[name], path)
    finally:
        looks.close()
        for partial in partials.values():
            discard(partial)
    return shown


def title(clip: ClipLook, choice: MapChoice, model: AvsegModel) -> str:
    """What a sheet shows, in one line."""
    heads = f"head {choice.head}" if choice.head else f"mean of {model.config.fusion_heads} heads"
    what = heads if choice.block is None else f"block {choice.block} of {model.config.fusion_depth}"
    return f"What ST-BAVA looks at · {clip.instants[0].end - 1:.1f} to {clip.instants[-1].end:.1f} s · {what}"


def _noted(looks: Iterator[ClipLook], shown: Shown) -> Iterator[ClipLook]:
    for clip in looks:
        shown.instants += _records(clip)
        yield clip


def _chained(first: ClipLook, rest: Iterator[ClipLook]) -> Iterator[ClipLook]:
    yield first
    yield from rest


def _records(clip: ClipLook) -> Iterator[dict[str, Any]]:
    """For each new instant: its time, how much of the picture sounds, and a line for each row of maps.

    inside_mask: the share of the sound's look that lies in the predicted mask; own_frame, own_sound: how much of
    its look over time goes to its own second, in multiples of an even share.
    """
    for index in range(len(clip.instants) - clip.new, len(clip.instants)):
        instant = clip.instants[index]
        rows = []
        for row in clip.rows:
            record: dict[str, Any] = {"row": row.label, "inside_mask": round(instant.inside(row.space[index])[0], 4)}
            for name, maps in (("own_frame", row.time), ("own_sound", row.listening)):
                if maps is not None:
                    record[name] = round(float(maps[index].mean()), 4)
            rows.append(record)
        area = instant.inside(clip.rows[0].space[index])[1]
        yield {"time": round(instant.time, 6), "mask": round(area, 4), "rows": rows}


def _write_video(
    clips: Iterator[ClipLook],
    video: Video,
    span: tuple[float, float | None],
    paths: tuple[Path, Path],
    shown: Shown,
    progress: Progress,
) -> None:
    """Every picture of the video on its screen; the model runs a clip ahead in a thread of its own."""
    partial, path = paths
    ahead = Prefetch(clips, AHEAD)
    pictures = Prefetch(VideoReader(video, *span), AHEAD)
    movie: AttentionMovie | None = None
    try:
        with writing(path):
            movie = AttentionMovie(partial, path, video, span, Screen(ahead))
            for picture in pictures:
                movie.write(picture)
                shown.frames += 1
                progress(picture.time)
            movie.movie.finish()
            shown.warnings += movie.movie.losses
            movie = None
    finally:
        pictures.close()
        ahead.close()
        if movie is not None:
            with suppress(OSError):  # the disk that refused to take the file may refuse its last bytes too
                movie.movie.close()
