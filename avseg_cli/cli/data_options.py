"""The two options every command on AVSBench-like data has: where it lies, and in which layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avseg_cli.base.text import either
from avseg_cli.cli.completion import one_of
from avseg_cli.data.subsets import SUBSETS

DATA_NEEDED = (
    "{} needs --data (or AVSEG_DATA): the folder that holds Single-source, Multi-sources, or the csv of another layout"
)
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="AVSEG_DATA",
        show_envvar=False,
        help="Data root (or AVSEG_DATA): the folder of Multi-sources/ or Single-source/.",
    ),
]
SubsetName = Annotated[
    str,
    typer.Option(help=either(SUBSETS, ", or data in that layout."), autocompletion=one_of(*SUBSETS)),
]
