"""Lines on stderr, for people: names of files and what files say stand in them as they are, and nothing is obeyed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avseg_cli.base.text import printable

if TYPE_CHECKING:
    from rich.console import Console


def say(line: str, style: str = "", console: Console | None = None) -> None:
    """A line: no markup, no colours of numbers and paths, not wrapped, nothing that a terminal would obey.

    console: the one whose bar stands below; a new one otherwise.
    """
    from rich.console import Console
    from rich.text import Text

    (console or Console(stderr=True)).print(Text(printable(line), style), soft_wrap=True)
