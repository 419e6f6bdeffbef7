"""The options of every command that runs a model: which, on what, and in which precision.

The functions serve commands whose help is in panels.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from avseg_cli.cli.completion import DEVICES, PRECISIONS, checkpoints


def checkpoint_option(panel: str | None = None) -> Any:
    """--checkpoint."""
    return typer.Option(
        metavar="NAME|FILE",
        rich_help_panel=panel,
        autocompletion=checkpoints,
        help="The model: a name or a file of weights.",
    )


def device_option(panel: str | None = None) -> Any:
    """--device."""
    return typer.Option(
        rich_help_panel=panel,
        autocompletion=DEVICES,
        help="auto (an NVIDIA GPU if there is one, else cpu), cpu, cuda, cuda:1 or mps.",
    )


def precision_option(panel: str | None = None, automatic: str = "whichever is faster here") -> Any:
    """--precision."""
    return typer.Option(
        rich_help_panel=panel, autocompletion=PRECISIONS, help=f"fp32, bf16, fp16 or auto ({automatic})."
    )


DeviceName = Annotated[str, device_option()]
PrecisionName = Annotated[str, precision_option()]
TrainingPrecisionName = Annotated[
    str, precision_option(automatic="fp32 on a CPU, bf16 on a GPU, fp16 on one without it")
]
