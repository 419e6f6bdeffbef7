"""What `avseg synth` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avseg_cli.base.errors import DataError, named
from avseg_cli.base.option_fields import MAX_SEED, MOST_WORKERS, check, option
from avseg_cli.data.subsets import SUBSETS, made_subsets


def _about(name: str) -> str:
    return f"{name}: {'one source all along' if SUBSETS[name].single else 'sources come and go'}"


SPLITS = ("train", "val", "test", "test_unseen")


def read_shares(text: str) -> tuple[float, ...]:
    """The numbers of 80/10/10. Raises ``ValueError`` for other texts."""
    try:
        return tuple(float(part) for part in text.split("/"))
    except ValueError as error:
        raise ValueError("not numbers with / between, as in 80/10/10") from error


def read_sides(text: str) -> tuple[int, int]:
    """The numbers of 480x360. Raises ``ValueError`` for other texts."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise ValueError("not a width and a height, as in 480x360") from error
    return width, height


@dataclass(frozen=True)
class SynthOptions:
    """What to make from which media.

    shares: weights of train, val, test and test_unseen; ``clips`` is divided by them. video: also make real mp4
    files of this width and height, and take the frames from them. Raises ``InputError`` for a field out of its
    bounds, ``DataError`` for a layout, shares or a video that cannot be.
    """

    objects: Path = option(help="Cut-outs with alpha, a subfolder per category.")
    sounds: Path = option(help="Recordings, a subfolder per category.")
    backgrounds: Path = option(help="Photographs to put the cut-outs on.")
    out: Path = option(help="Folder to make; it must not exist.")
    clips: int = option(100, "How many clips in all.", least=1, most=10_000_000)
    seed: int = option(0, "The same seed makes the same bytes.", least=0, most=MAX_SEED)
    distractors: Path | None = option(None, "Cut-outs of things that never sound.")
    ambience: Path | None = option(None, "Background sounds that are nobody's.")
    layout: str = option("ms3", "; ".join(map(_about, made_subsets())) + ".", offers=tuple(made_subsets()))
    shares: tuple[float, ...] = option(
        (80, 10, 10, 0), "Shares of train/val/test/test_unseen (cut-outs never used in training).",
        flags=("--splits",), read=read_shares, written="80/10/10",
    )  # fmt: skip
    elsewhere: float = option(
        0.0, "Share of clips in which nothing that is seen sounds, but something else does (ms3).", least=0, most=1
    )
    size: int = option(224, "Side of the frames in pixels.", least=32, most=2048, unit="pixels")
    workers: int = option(1, least=1, most=MOST_WORKERS)
    video: tuple[int, int] | None = option(
        None, "Width and height of those videos in pixels.", flags=("--mp4-size",), read=read_sides, written="480x360"
    )
    every_frame: bool = option(False, "With --mp4: also the mask of every frame, as NAME.masks.mkv.")

    def __post_init__(self) -> None:
        check(self)
        if self.layout not in made_subsets():
            raise DataError(f"{named('layout')} {self.layout} is unknown; choose one of {', '.join(made_subsets())}")
        if not 1 <= len(self.shares) <= len(SPLITS) or min(self.shares) < 0 or sum(self.shares) <= 0:
            raise DataError(f"{named('shares')} needs one to four numbers from 0 up: train/val/test/test_unseen")
        if self.every_frame and not self.video:
            raise DataError(f"{named('every_frame')} is about the frames of real videos; make these too")
        if self.video and (min(self.video) < 64 or max(self.video) > 4096 or any(side % 2 for side in self.video)):
            raise DataError(f"{named('video')} needs even sides of 64 to 4096 pixels, as in 480x360")
