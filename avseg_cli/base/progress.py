"""Progress on stderr: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from avseg_cli.base.sharing import Sharing


def console() -> Console:
    return Console(stderr=True)


def progress_bar(sharing: Sharing) -> Progress:
    """A bar with what is done, the time taken and the time left; silent in all processes but the first."""
    terminal = console()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=terminal,
        transient=True,
        disable=sharing.rank > 0 or not terminal.is_terminal,
    )
