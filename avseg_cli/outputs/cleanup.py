"""What users can have done to masks before anything is written; ``tidy`` does it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from avseg_cli.base.errors import InputError, named
from avseg_cli.base.option_fields import check, option

CLEAN = "Clean-up of the masks"  # the panel of these options
AMOUNT = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(%|px)?")


class Amount(NamedTuple):
    """A number of pixels, or of percent of something."""

    number: float
    percent: bool

    def of(self, whole: float) -> float:
        """In pixels, where 100 % are ``whole``."""
        return self.number / 100 * whole if self.percent else self.number


@dataclass(frozen=True)
class Cleanup:
    """Clean-up of masks; the default leaves them as the model made them. Raises ``InputError``.

    Amounts are texts: pixels of the video as in "12", or percent as in "1.5%", of the picture for an area and of its
    height for a length. Order: outlines are fitted to the picture, small pieces go, holes are filled, the outline is
    moved, then softened.
    """

    refine: bool = option(
        False,
        "Fit the outlines of every frame to the edges of its picture. Costs about 10 ms a frame.",
        flags=("--refine",),
        panel=CLEAN,
    )
    min_area: str = option(
        "0", "Leave out pieces smaller than this: pixels, or percent of the picture as in 0.5%.", metavar="N|N%",
        panel=CLEAN,
    )  # fmt: skip
    fill_holes: bool = option(False, "Fill the holes in what sounds.", flags=("--fill-holes",), panel=CLEAN)
    grow: str = option(
        "0", "Move the outline outwards: pixels, or percent of the height as in 1%; below 0 inwards.", metavar="N|N%",
        panel=CLEAN,
    )  # fmt: skip
    feather: str | None = option(
        None,
        "Width of the soft edge: pixels, or percent of the height; 0 is crisp. Default: as the model is unsure. "
        "The outline, and so a black-and-white mask, stays where it is.",
        metavar="N|N%", panel=CLEAN,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)
        for name in ("min_area", "grow", "feather"):
            _ = getattr(self, name) is not None and self.amount(name)

    def amount(self, name: str) -> Amount:
        """What a field says; raises ``InputError`` for text that is no amount, or one out of bounds."""
        said = str(getattr(self, name)).strip()
        match = AMOUNT.fullmatch(said)
        if match is None:
            raise InputError(f"{named(name)} {said!r} is no amount; give pixels as in 12, or percent as in 1.5%")
        amount = Amount(float(match[1]), match[2] == "%")
        if amount.number < 0 and name != "grow":
            raise InputError(f"{named(name)} {said} is out of range; give 0 or more")
        if amount.percent and abs(amount.number) > 100:
            raise InputError(f"{named(name)} {said} is out of range; give at most 100%")
        return amount

    @property
    def idle(self) -> bool:
        """Whether masks stay exactly as they are."""
        lengths = self.amount("min_area").number, self.amount("grow").number
        return not any(lengths) and not self.refine and not self.fill_holes and self.feather is None

    def reach(self, size: tuple[int, int]) -> float:
        """Pixels by which masks can become larger to every side."""
        return max(0.0, self.amount("grow").of(size[0])) + (max(size) / 16 if self.refine else 0)
