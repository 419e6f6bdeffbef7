"""avseg: what in this video is making the sound, pixel by pixel.

The library behind the command line::

    from avseg_cli import Segmenter, load_model, render, segment_video

    fast = Segmenter(load_model())
    for result in segment_video("clip.mp4", fast, fps=2):
        print(result.time, result.mask.mean())
    render("clip.mp4", fast, {"overlay": "out.mp4"})

Imports are lazy so that ``avseg --help`` does not pay for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from avseg_cli.base.errors import (
    AvsegError,
    CheckpointError,
    DataError,
    DeviceError,
    DownloadError,
    InputError,
    NoSoundError,
    OutputError,
)
from avseg_cli.base.version import __version__

if TYPE_CHECKING:
    from avseg_cli.checkpoints.checkpoint import load_model, save_checkpoint
    from avseg_cli.media.recording import Recording
    from avseg_cli.media.video import Video, probe
    from avseg_cli.outputs.cleanup import Cleanup
    from avseg_cli.outputs.results import MaskResult
    from avseg_cli.outputs.sources import Source
    from avseg_cli.outputs.style import Style
    from avseg_cli.segment.render import Rendered, render
    from avseg_cli.segment.runner import segment_video
    from avseg_cli.segment.segment_options import SegmentOptions
    from avseg_cli.segment.segmenter import Segmenter

__all__ = [
    "AvsegError", "CheckpointError", "Cleanup", "DataError", "DeviceError", "DownloadError", "InputError",
    "MaskResult", "NoSoundError", "OutputError", "Recording", "Rendered", "SegmentOptions", "Segmenter", "Source",
    "Style", "Video", "__version__", "load_model", "probe", "render", "save_checkpoint", "segment_video",
]  # fmt: skip

_HOMES = {
    "load_model": "checkpoints.checkpoint", "save_checkpoint": "checkpoints.checkpoint",
    "Recording": "media.recording", "Video": "media.video", "probe": "media.video", "Cleanup": "outputs.cleanup",
    "MaskResult": "outputs.results", "Source": "outputs.sources",
    "Style": "outputs.style", "Rendered": "segment.render", "render": "segment.render",
    "segment_video": "segment.runner", "SegmentOptions": "segment.segment_options", "Segmenter": "segment.segmenter",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"avseg_cli.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
