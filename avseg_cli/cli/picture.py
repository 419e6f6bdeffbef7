"""Pictures in the terminal, where the terminal can show them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

NO_PICTURES = ("dumb", "linux")  # terminals that might print the question rather than answer it


def show_picture(path: Path, console: Console) -> None:
    """Show a picture in terminals with sixel (iTerm2, WezTerm, foot, ...) or kitty graphics; in others do nothing.

    The terminal itself is asked, so a person must sit at both ends of it: never with a pipe or a file at one.
    """
    terminal = sys.__stdout__
    ends = (sys.__stdin__, terminal, console.file)
    if os.environ.get("TERM", "dumb") in NO_PICTURES or not all(end is not None and end.isatty() for end in ends):
        return
    if terminal is None or 0 in os.get_terminal_size(terminal.fileno()):
        return  # a terminal of no size, as some programs make for what they run
    from textual_image.renderable import Image, SixelImage, TGPImage  # asks the terminal when it is imported

    if Image in (SixelImage, TGPImage):
        console.print(Image(path))
