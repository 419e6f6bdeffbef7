"""What a job can be told, said once: an options dataclass whose fields carry their help, unit and bounds.

The library checks the bounds when the options are made; the command line is made from the same fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from avseg_cli.base.errors import InputError, named
from avseg_cli.base.threads import cores

MAX_SEED = 2**32 - 1  # what numpy's and torch's generators both take, with numbers of clips and epochs mixed in
MANY = 65_536  # more than anyone puts into one batch
MOST_TRACKS = 1000  # of sound, in one file
MOST_SECONDS = 10**9  # of a video: thirty years, which its clock can still count
MOST_CLIPS = 10**9
MOST_ROUNDS = 1_000_000  # epochs, and what is counted in them
MOST_WORKERS = max(8, 4 * cores())  # processes; more only wait for each other
COMPILE = "Compile the image encoder: minutes at first, worth it for thousands of frames on a GPU; not on a CPU."
TF32 = "Round what matrix products in fp32 take to 10 bits (NVIDIA GPUs): faster, less exact."  # in several jobs' help


@dataclass(frozen=True)
class Option:
    """What is known of one field. Bounds: ``least`` and ``most`` are allowed, ``above`` and ``below`` not."""

    help: str = ""
    unit: str = ""
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    offers: tuple[str, ...] = ()  # words that a shell completes
    only: bool = False  # whether other words than those are refused
    flags: tuple[str, ...] = ()  # on the command line, where they are not the field's name with hyphens
    unset: str | None = None  # the word that stands for None, on the command line and in configuration files
    metavar: str | None = None
    variable: str | None = None  # of the environment, besides the one that every option has
    panel: str | None = None  # of the command's help
    read: Callable[[str], Any] | None = None  # the value that a text stands for; ValueError says what would do
    written: str = ""  # the default as such a text

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, and the cure: the end of a sentence that begins with the field; else None."""
        if self.only and value not in self.offers:
            return f"is {value!r}; give one of {', '.join(self.offers)}"
        if isinstance(value, tuple):
            return next(filter(None, map(self.problem, value)), None)
        if type(value) not in (int, float):
            return None
        outside = (
            (type(value) is float and not math.isfinite(value))
            or (self.least is not None and value < self.least)
            or (self.most is not None and value > self.most)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
        )
        shown = f"{value:g}" if type(value) is float or abs(value) < 10**6 else _shortened(value)
        return f"{shown} is out of range; give {self.range_text()}" if outside else None

    def range_text(self) -> str:
        """The values allowed, in words: "1 or more", "more than 0 and at most 120 masks a second"."""
        unit = f" {self.unit}" if self.unit else ""
        if self.above is not None and self.below is not None:
            return f"a value between {self.above:g} and {self.below:g}, not {self.above:g} or {self.below:g}"
        if self.least is not None and self.most is not None:
            return f"{_plain(self.least)} to {_plain(self.most)}{unit}"
        if self.least is not None and self.below is None:
            return f"{self.least:g} or more{unit and ' (' + self.unit + ')'}"
        parts = (("at least", self.least), ("more than", self.above), ("at most", self.most), ("less than", self.below))
        said = [f"{words} {_plain(value)}" for words, value in parts if value is not None]
        return (" and ".join(said) or "a finite number") + unit


def _plain(value: float) -> str:
    """A bound without an exponent where it is a whole number: 1000000000, not 1e+09."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:g}"


def _shortened(value: int) -> str:
    """A whole number, which may be too long to be read or even to be a float."""
    if abs(value) < 10**20:
        return str(value)
    return f"{'-' if value < 0 else ''}(a number of more than 20 digits)"


def option(default: Any = MISSING, help: str = "", **facts: Any) -> Any:
    """A field of an options dataclass; ``facts`` are those of ``Option``."""
    return field(default=default, metadata={"option": Option(help, **facts)})


def options_of(kind: type) -> dict[str, Option]:
    """What is known of each field of the dataclass ``kind`` that was declared with ``option``, in their order."""
    return {f.name: f.metadata["option"] for f in fields(kind) if "option" in f.metadata}


def check(options: Any, but: Iterable[str] = ()) -> None:
    """Raise ``InputError`` for the first field of ``options`` that is out of its bounds; None is left to the job."""
    for name, facts in options_of(type(options)).items():
        value = getattr(options, name)
        if name not in but and value is not None and (problem := facts.problem(value)):
            raise InputError(f"{named(name)} {problem}")
