"""The options of every command that runs a model: on what, and in which precision."""

from __future__ import annotations

from typing import Annotated

import typer

from avseg_cli.cli.completion import DEVICES, PRECISIONS

DeviceName = Annotated[
    str, typer.Option(help="auto (a GPU if there is one), cpu, cuda, cuda:1 or mps.", autocompletion=DEVICES)
]
PrecisionName = Annotated[str, typer.Option(help="auto, fp32 or bf16.", autocompletion=PRECISIONS)]
