"""Timecode as cameras and editors write it: hours:minutes:seconds:frames."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

PATTERN = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)([:;.])(\d\d+)")
RATES = (24, 25, 30, 48, 50, 60, 100, 120, 150)  # frames a second for which FFmpeg keeps it
DROPPING = 30  # frames a second, and multiples of it, of which numbers are dropped to keep in step with the clock


@dataclass(frozen=True)
class Timecode:
    """That of a video's first picture. first: its number, counted at the nearest whole rate. drop: two numbers a minute
    (of 30 a second) are left out, but in every tenth."""

    rate: Fraction
    first: int = 0
    drop: bool = False

    @staticmethod
    def read(text: str | None, rate: Fraction) -> Timecode | None:
        """Of a text such as "01:00:00:12", or "…;12" with dropped numbers; None for what is none at that rate."""
        match, whole = PATTERN.fullmatch(text or ""), max(1, round(rate))
        if match is None or whole not in RATES or int(match[5]) >= whole or (match[4] != ":" and whole % DROPPING):
            return None
        hours, minutes, seconds, frame = (int(match[place]) for place in (1, 2, 3, 5))
        minutes += 60 * hours
        code = Timecode(rate, drop=match[4] != ":")
        dropped = code._dropped * (minutes - minutes // 10)
        return Timecode(rate, (60 * minutes + seconds) * whole + frame - dropped, code.drop)

    def at(self, frame: int) -> str:
        """The timecode of a picture, by how many come before it."""
        number, whole = self.first + frame, max(1, round(self.rate))
        if self.drop:
            tens, rest = divmod(number, 600 * whole - 9 * self._dropped)
            minutes = max(0, rest - self._dropped) // (60 * whole - self._dropped)
            number += self._dropped * (9 * tens + minutes)
        clock, frame = divmod(number, whole)
        mark = ";" if self.drop else ":"
        return f"{clock // 3600 % 24:02d}:{clock // 60 % 60:02d}:{clock % 60:02d}{mark}{frame:02d}"

    @property
    def _dropped(self) -> int:
        """Numbers left out in a minute."""
        return round(self.rate) // 15 if self.drop else 0
