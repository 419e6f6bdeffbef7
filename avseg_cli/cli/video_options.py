"""The options of the commands that take a video through the model and write what they find."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from avseg_cli.base.option_fields import MOST_TRACKS

OUT = "What is written"  # the panel of these

Overwrite = Annotated[bool, typer.Option("--overwrite", rich_help_panel=OUT, help="Replace outputs that exist.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=OUT, help="Say nothing but errors.")]


def audio_option(panel: str) -> Any:
    """--audio."""
    return typer.Option(metavar="FILE", rich_help_panel=panel, help="Take the sound from this file instead.")


def audio_track_option(panel: str) -> Any:
    """--audio-track."""
    return typer.Option(
        min=1, max=MOST_TRACKS, metavar="N", rich_help_panel=panel, help="Which sound track to use, from 1."
    )
