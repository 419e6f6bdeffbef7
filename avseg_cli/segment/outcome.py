"""What became of one input, as the command line tells it and JSON has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avseg_cli.base.errors import AvsegError
from avseg_cli.media.video import Video
from avseg_cli.segment.render import Rendered


@dataclass
class Outcome:
    """What became of one input: done, skipped (and why), planned (dry run) or failed."""

    source: Path
    status: str
    outputs: dict[str, Path]
    video: Video | None = None
    rendered: Rendered | None = None
    error: AvsegError | None = None
    seconds: float = 0.0
    reason: str = ""  # why it was skipped
    worker: str | None = None  # machine and process of a cluster

    def to_dict(self) -> dict[str, Any]:
        """The outcome as one JSON object."""
        values: dict[str, Any] = {"input": str(self.source), "status": self.status}
        values["outputs"] = {name: str(path) for name, path in self.outputs.items()}
        if self.video:
            values |= {"duration": self.video.duration, "size": [self.video.width, self.video.height]}
        if self.rendered:
            values |= {
                "model": self.rendered.model,
                "masks": self.rendered.masks,
                "fps": self.rendered.fps,
                "frames": self.rendered.frames,
                "heard": self.rendered.heard,
                "unmarked": self.rendered.unmarked,
                "sound": self.rendered.sound,
                "warnings": self.rendered.warnings,
                "pace": _pace(self.rendered.pace),
            }
        if self.reason:
            values["reason"] = self.reason
        if self.error:
            values |= {"error": str(self.error), "exit_code": self.error.exit_code}
        if self.worker:
            values["worker"] = self.worker
        return values | {"seconds": round(self.seconds, 3)}


def _pace(stages: dict[str, float]) -> dict[str, Any]:
    """Which of the overlapping stages had the most work and so set the pace, and the seconds of each."""
    seconds = {name: round(spent, 3) for name, spent in stages.items()}
    return {"slowest": max(stages, key=stages.__getitem__, default=None), "seconds": seconds}
