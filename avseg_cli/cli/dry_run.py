"""``--dry-run`` of the commands that write: everything is checked, and what would be done is said, on stderr."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from avseg_cli.base.say import say

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check what was given and say what would be done; write nothing.")
]


def say_plan(lines: Iterable[str]) -> None:
    """Say what would be done, a line each."""
    for line in lines:
        say(f"would {line}")
