"""The multi-source subset of the object release."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from avseg_cli.data.layouts import Layout, Places, Subset, object_maps


def places(files: Path, row: Mapping[str, str], frames: int) -> Places:
    """The clip of a row: frames of all splits lie together."""
    split, name = row["split"], row["name"]
    numbers = range(1, frames + 1)
    return Places(
        name,
        row.get("category") or "",
        frames=tuple(files / "visual_frames" / name / f"{name}.mp4_{k}.png" for k in numbers),
        masks=tuple(files / "gt_masks" / split / name / f"{name}_{k}.png" for k in numbers),
        wav=files / "audio_wav" / split / f"{name}.wav",
        log_mel=files / "audio_log_mel" / split / f"{name}.pkl",
        video=files / "raw_videos" / f"{name}.mp4",
        object_maps=object_maps(split, name, frames),
    )


LAYOUT = Layout(
    needed=("split",),
    places=places,
    columns=("name", "split"),
    told="with ms3_data/visual_frames/{name}/{name}.mp4_{1..5}.png, audio_wav/{split}/{name}.wav and "
    "gt_masks/{split}/{name}/{name}_{1..5}.png beside it",
)

SUBSETS = (
    Subset(
        name="ms3", title="multiple sources", layout=LAYOUT, folder="Multi-sources", metadata="ms3_meta_data.csv",
        files="ms3_data", published=(296, 64, 64),
    ),
)  # fmt: skip
