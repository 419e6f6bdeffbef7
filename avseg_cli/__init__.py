"""avseg: what in this video is making the sound, pixel by pixel.

The library behind the command line::

    from avseg_cli import load_model, segment_video

    model = load_model()
    for result in segment_video("clip.mp4", model):
        print(result.time, result.mask.mean())

Imports are lazy so that ``avseg --help`` does not pay for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avseg_cli.base.version import __version__

__all__ = ["__version__", "load_model", "segment_video"]

if TYPE_CHECKING:
    from avseg_cli.checkpoints.checkpoint import load_model
    from avseg_cli.segment.runner import segment_video


def __getattr__(name: str):
    if name == "load_model":
        from avseg_cli.checkpoints.checkpoint import load_model

        return load_model
    if name == "segment_video":
        from avseg_cli.segment.runner import segment_video

        return segment_video
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
