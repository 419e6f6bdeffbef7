"""The single-source subset of the object release: a folder for each category."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from avseg_cli.data.layouts import Layout, Places, Subset, object_maps


def places(files: Path, row: Mapping[str, str], frames: int) -> Places:
    """The clip of a row: its files lie below split and category."""
    split, name, category = row["split"], row["name"], row["category"]
    inside, numbers = Path(split) / category, range(1, frames + 1)
    return Places(
        name,
        category,
        frames=tuple(files / "visual_frames" / inside / name / f"{name}_{k}.png" for k in numbers),
        masks=tuple(files / "gt_masks" / inside / name / f"{name}_{k}.png" for k in numbers),
        wav=files / "audio_wav" / inside / f"{name}.wav",
        log_mel=files / "audio_log_mel" / inside / f"{name}.pkl",
        video=files / "raw_videos" / inside / f"{name}.mp4",
        object_maps=object_maps(split, name, frames),
    )


LAYOUT = Layout(
    needed=("split", "category"),
    places=places,
    columns=("name", "start", "category", "split"),
    told="with s4_data/visual_frames/{split}/{category}/{name}/{name}_{1..5}.png, audio_wav/{split}/{category}/"
    "{name}.wav and gt_masks/{split}/{category}/{name}/{name}_{1..5}.png beside it",
)

SUBSETS = (
    Subset(
        name="s4", title="single source", layout=LAYOUT, folder="Single-source", metadata="s4_meta_data.csv",
        files="s4_data", train_annotated=1, single=True, fusion_depth=5, published=(3452, 740, 740),
    ),
)  # fmt: skip
