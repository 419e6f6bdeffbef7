"""What `avseg segment` and `segment_video` can be told."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from avseg_cli.base.option_fields import COMPILE, MANY, MOST_SECONDS, check, option
from avseg_cli.outputs.cleanup import Cleanup
from avseg_cli.outputs.style import Style
from avseg_cli.segment.grid import MAX_FPS, Grid

WHAT = "What to segment"  # the panels of the command's help
HOW = "How the model looks"
OUT = "What is written"

LARGE_INPUT = 512  # pixels; models with larger inputs take their time
LARGE_INPUT_FPS = 4  # masks a second of such models on a GPU, where nothing else is asked for
STRIDE = 2  # frames between clips that overlap: each is seen in two or three, which agree as well as in five
SOURCES = ("auto", "merge", "split", "index")
ENCODERS = (
    "libx264", "libx265", "libsvtav1", "h264_nvenc", "hevc_nvenc", "av1_nvenc", "h264_qsv", "hevc_qsv", "h264_vaapi",
    "hevc_vaapi", "h264_videotoolbox", "hevc_videotoolbox", "h264_amf", "hevc_amf",
)  # fmt: skip


@dataclass(frozen=True)
class SegmentOptions:
    """How to segment a video, and how what is found looks in a video. Times are in seconds.

    Raises ``InputError`` naming the field that is out of its bounds.
    """

    fps: float | None = option(
        None,
        "Masks a second; between them masks follow the picture. auto: 1 on a CPU; on a GPU every frame, or 4 a second "
        "with models of large inputs.",
        above=0, most=MAX_FPS, unset="auto", metavar="RATE", offers=("auto",), panel=HOW,
    )  # fmt: skip
    consecutive: bool = option(
        False,
        "With --fps above 1: clips of neighbouring frames, rather than of frames one second apart as in "
        "training.",
        flags=("--consecutive",), panel=HOW,
    )  # fmt: skip
    stride: int = option(
        STRIDE,
        "Frames from one clip to the next. Overlapping clips are averaged: 1 looks at each frame in five clips, "
        "5 in one, which is faster. Frames are encoded once either way.",
        least=1, most=MANY, panel=HOW,
    )  # fmt: skip
    threshold: float = option(0.5, "Probability from which a pixel counts as sounding.", above=0, below=1, panel=HOW)
    batch_size: int | None = option(
        None, "Frames encoded together; less needs less memory.", least=1, most=MANY, panel=HOW
    )
    compiled: bool = option(False, COMPILE, flags=("--compile",), panel=HOW)
    sources: str = option(
        "auto",
        "Every source for itself, or one mask of all that sounds (merge). split and index: in --format masks too, as a "
        "folder for each source, or as PNGs whose values are the sources' numbers.",
        offers=SOURCES, only=True, metavar="|".join(SOURCES), panel=HOW,
    )  # fmt: skip
    faces: bool = option(
        True,
        "Whoever speaks or sings is marked only while a face is in the picture, within a second: a voice without one "
        "is a narrator's. --no-faces marks people seen from behind too. For models that know speech.",
        panel=HOW,
    )
    start: float = option(0.0, "Begin at this second.", least=0, most=MOST_SECONDS, unit="seconds", panel=WHAT)
    duration: float | None = option(
        None, "Segment this many seconds only.", above=0, most=MOST_SECONDS, unit="seconds", panel=WHAT
    )
    cleanup: Cleanup = field(default_factory=Cleanup)
    style: Style = field(default_factory=Style)
    encoder: str | None = option(
        None,
        "Encoder of the overlay and of --side-by-side: any of PyAV's FFmpeg (libx264, libx265, libsvtav1, "
        "h264_nvenc, hevc_videotoolbox, …), or else of your own ffmpeg. Default: H.264 by libx264.",
        metavar="NAME[:KEY=VALUE…]", offers=ENCODERS, panel=OUT,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)
        _ = self.grid

    @property
    def grid(self) -> Grid:
        """The instants at which the model looks; one a second as long as the rate is not chosen."""
        return Grid(1.0 if self.fps is None else self.fps, self.consecutive)

    def chosen(self, device: str, image_size: int, rate: float) -> SegmentOptions:
        """With the masks a second that suit the kind of device, the model's input in pixels and the frames a second."""
        if self.fps is not None:
            return self
        most = 1 if device != "cuda" else LARGE_INPUT_FPS if image_size > LARGE_INPUT else MAX_FPS
        return replace(self, fps=float(min(most, max(1, round(rate)))))

    @property
    def span(self) -> tuple[float, float | None]:
        """(start, end) in seconds."""
        return self.start, None if self.duration is None else self.start + self.duration

    def to_dict(self) -> dict[str, Any]:
        """What decides the masks, for the record; not how they look."""
        return {name: value for name, value in asdict(self).items() if name not in ("style", "encoder", "compiled")}
