"""How the overlay looks."""

from __future__ import annotations

from dataclasses import dataclass

from avseg_cli.base.option_fields import check, option

LOOK = "How the overlay looks"  # the panel of these options


def read_colour(digits: str) -> tuple[int, int, int]:
    """Red, green and blue of six hexadecimal digits. Raises ``ValueError`` for others."""
    try:
        red, green, blue = bytes.fromhex(digits.removeprefix("#"))
    except ValueError as error:
        raise ValueError("not a colour; give six hexadecimal digits, as in ff2d78") from error
    return red, green, blue


@dataclass(frozen=True)
class Style:
    """A wash of colour, RGB, over what sounds, a contour around it, the rest dimmed, names if asked for.

    Raises ``InputError``.
    """

    color: tuple[int, int, int] = option(
        (255, 45, 120),
        "Colour of the highlight; where sources are told apart, of the first.",
        metavar="RRGGBB",
        read=read_colour,
        written="ff2d78",
        panel=LOOK,
    )
    opacity: float = option(0.45, "Of the colour, 0 to 1.", least=0, most=1, panel=LOOK)
    dim: float = option(
        0.3, "How much to darken what does not sound, 0 to 1.", least=0, most=1, panel=LOOK
    )  # while something sounds
    contour: bool = option(True, "Draw a line around what sounds.", panel=LOOK)
    labels: bool = option(False, "Write the name of each source at its top.", flags=("--labels",), panel=LOOK)

    def __post_init__(self) -> None:
        check(self)
