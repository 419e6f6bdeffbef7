"""What `avseg segment` can be told of folders and of many videos."""

from __future__ import annotations

from dataclasses import dataclass

from avseg_cli.base.option_fields import check, option
from avseg_cli.segment.segment_options import WHAT


@dataclass(frozen=True)
class ManyOptions:
    """How the videos of a folder are gone through. Raises ``InputError`` naming the field that is out of its bounds."""

    no_sound: str | None = option(
        None,
        "Videos without a sound track: skip leaves them out and counts them, fail makes each an error. "
        "Default: fail for one video that is named, else skip.",
        offers=("skip", "fail"), only=True, panel=WHAT,
    )  # fmt: skip
    watch: bool = option(
        False,
        "Stay, and segment what comes into the folders, when it is whole; Ctrl-C ends it.",
        flags=("--watch",), panel=WHAT,
    )  # fmt: skip
    watch_every: float = option(
        5.0,
        "Seconds between two looks; a file is whole when size and time have not changed from one to the next.",
        least=0.1, most=86_400, unit="seconds", panel=WHAT,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)
