"""What `avseg info` can be told: how `segment` would be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avseg_cli.base.option_fields import MOST_TRACKS, check, option
from avseg_cli.segment.segment_options import SegmentOptions


@dataclass(frozen=True)
class InfoOptions:
    """What ``segment`` would be told: see its options of these names. Raises ``InputError`` as they do."""

    fps: float = option(1.0, "Masks a second that segment would make.")
    consecutive: bool = option(False, "As segment's: clips of neighbouring frames; --fps need not be whole.")
    audio: Path | None = option(None, "The file segment would take the sound from.", metavar="FILE")
    audio_track: int | None = option(
        None, "The sound track it would use, from 1.", least=1, most=MOST_TRACKS, metavar="N"
    )

    def __post_init__(self) -> None:
        check(self)
        SegmentOptions(fps=self.fps, consecutive=self.consecutive)  # raises for what no video can be asked for
