"""Names of outputs that follow from names of others."""

from __future__ import annotations

from pathlib import Path


def report_video(page: Path) -> Path:
    """Where the video of a report lies that is too large to be part of the page."""
    return page.with_name(f"{page.stem.removesuffix('.avseg')}.avseg.video.mp4")
