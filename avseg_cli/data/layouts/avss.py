"""The later release: a folder for each clip, below that of its subset."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from avseg_cli.data.layouts import Layout, Places, Subset


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

_subset = partial(Subset, layout=LAYOUT, folder="", metadata="metadata.csv")
SUBSETS = (
    _subset(
        name="v1s", title="single source, later release", files="v1s", train_annotated=1, single=True, fusion_depth=5,
        published=(3452, 740, 740), figures="s4",
    ),
    _subset(
        name="v1m", title="multiple sources, later release", files="v1m", published=(296, 64, 64), figures="ms3",
    ),
    _subset(
        name="v2", title="ten seconds, later release", files="v2", frames=10, train_annotated=10,
        published=(4750, 500, 750),
    ),
)  # fmt: skip
