"""``--dry-run`` of the commands that write: everything is checked, and what would be done is said, on stderr."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check what was given and say what would be done; write nothing.")
]


def say_plan(lines: Iterable[str]) -> None:
    """Say what would be done, a line each."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    for line in lines:
        console.print(Text(f"would {line}"), soft_wrap=True)
