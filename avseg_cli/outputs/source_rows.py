"""The sources of a video, as timelines and legends show them."""

from __future__ import annotations

from typing import Any, NamedTuple

from avseg_cli.outputs.heard import in_plain
from avseg_cli.outputs.palette import RGB, colour, palette

ROWS = 12  # sources with a line of their own, at most


class SourceRow(NamedTuple):
    """A line of the timeline: the stretches in which one source sounds, as (since, end) in seconds."""

    name: str
    colour: str  # as CSS has it, that of the overlay
    times: list[tuple[float, float]]


def source_rows(tracks: list[dict[str, Any]], first: RGB) -> list[SourceRow]:
    """The sources that sound longest, at most ``ROWS``, by their numbers; ``first``: the colour of source 1."""
    longest = sorted(tracks, key=lambda track: -sum(end - since for since, end in track["times"]))[:ROWS]
    return [
        SourceRow(source_name(track["id"], track["label"]), source_css(track["id"], first), track["times"])
        for track in sorted(longest, key=lambda track: track["id"])
    ]


def source_name(number: int, label: str | None) -> str:
    """What people call a source: "source 2: race car"."""
    return f"source {number}" + (f": {in_plain(label)}" if label else "")


def source_css(number: int, first: RGB) -> str:
    """The colour of a source as CSS and matplotlib have it."""
    return "#{:02x}{:02x}{:02x}".format(*colour(number, palette(first)))
