"""What `avseg attention` can be told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from avseg_cli.base.errors import InputError, named
from avseg_cli.base.option_fields import MANY, MOST_SECONDS, check, option

if TYPE_CHECKING:
    from avseg_cli.attention.maps import FusionMaps, Maps
    from avseg_cli.model.config import ModelConfig

WHAT = "What to look at"  # the panels of the command's help
WHICH = "Which maps"
HOW = "How the model runs"


@dataclass(frozen=True)
class MapChoice:
    """Which maps to show: all blocks or the heads of one, the mean of the heads or one of them (from 1)."""

    block: int | None = option(
        None, "The heads of block N, rather than all blocks.", least=1, most=MANY, metavar="N", panel=WHICH
    )
    head: int | None = option(
        None, "Head N, rather than the mean of the heads.", least=1, most=MANY, metavar="N", panel=WHICH
    )
    average: bool = option(False, "Of --block, only the mean of its heads.", panel=WHICH)

    def check(self, config: ModelConfig) -> None:
        """Raises ``InputError`` for a block or head that the model does not have."""
        there = (("block", self.block, config.fusion_depth), ("head", self.head, config.fusion_heads))
        for name, value, count in there:
            if value is not None and not 1 <= value <= count:
                raise InputError(
                    f"{named(name)} {value} is not there; this model has {count} {name}s: give 1 to {count}"
                )
        if self.head is not None and self.average:
            raise InputError(f"{named('head')} and {named('average')} contradict each other; give one of them")

    def of(self, maps: FusionMaps) -> Iterator[tuple[str, Maps, int | None]]:
        """(label, maps, head or None for the mean) of each row, from what enters ST-BAVA to what leaves it."""
        if self.block is None:
            blocks = [(f"block {number}", block) for number, block in enumerate(maps.blocks, 1)]
            for label, stage in (("before ST-BAVA", maps.before), *blocks, ("after ST-BAVA", maps.after)):
                yield label, stage, None if self.head is None else self.head - 1
            return
        block = maps.blocks[self.block - 1]
        if self.head is not None:
            yield f"block {self.block}, head {self.head}", block, self.head - 1
            return
        yield f"block {self.block}, mean", block, None
        if not self.average:
            for head in range(block.space.shape[2]):
                yield f"head {head + 1}", block, head


@dataclass(frozen=True)
class AttentionOptions:
    """Which part of a video to look at, in seconds, and which maps. Raises ``InputError`` for what is out of bounds."""

    start: float = option(0.0, "Begin at this second.", least=0, most=MOST_SECONDS, panel=WHAT)
    duration: float | None = option(
        None, "Look at this many seconds only.", least=1e-3, most=MOST_SECONDS, unit="seconds", panel=WHAT
    )
    batch_size: int = option(1, "Frames encoded together; more need more memory.", least=1, most=MANY, panel=HOW)
    choice: MapChoice = field(default_factory=MapChoice)

    def __post_init__(self) -> None:
        check(self)

    @property
    def span(self) -> tuple[float, float | None]:
        """(start, end) in seconds."""
        return self.start, None if self.duration is None else self.start + self.duration
