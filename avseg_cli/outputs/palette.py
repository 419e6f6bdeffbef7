"""The colours of sources: apart for every kind of colour vision, as far as so many can be; the first the farthest."""

from __future__ import annotations

RGB = tuple[int, int, int]

PALETTE: tuple[RGB, ...] = (
    (255, 45, 120),  # pink
    (45, 125, 255),  # blue
    (255, 216, 58),  # yellow
    (169, 255, 140),  # mint
    (190, 95, 0),  # brown
    (77, 255, 255),  # cyan
    (120, 90, 200),  # violet
)


def colour(source: int, first: RGB = PALETTE[0]) -> RGB:
    """The colour of the source of this number, from 1 up; ``first`` is that of source 1. After the last they repeat."""
    place = (source - 1) % len(PALETTE)
    return PALETTE[place] if place else first
