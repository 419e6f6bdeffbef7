"""The later release: a folder for each clip, below that of its subset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from avseg_cli.data.layouts import Layout, Places


def places(files: Path, row: Mapping[str, str], frames: int) -> Places:
    """The clip of a row."""
    name = row.get("uid") or row["name"]
    clip, numbers = files / name, range(frames)
    return Places(
        name,
        row.get("a_obj") or "",
        frames=tuple(clip / "frames" / f"{k}.jpg" for k in numbers),
        masks=tuple(clip / "labels_rgb" / f"{k}.png" for k in numbers),
        wav=clip / "audio.wav",
    )


LAYOUT = Layout(
    needed=("split",),
    places=places,
    square=False,
    told="with {label}/{uid}/frames/{0..}.jpg, labels_rgb/{0..}.png and audio.wav beside it",
)
