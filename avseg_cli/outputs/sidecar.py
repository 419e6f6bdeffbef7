"""What lies beside pictures in a folder: which file belongs to which time, and what made them."""

from __future__ import annotations

from pathlib import Path

from avseg_cli.outputs.growing import GrowingDocument
from avseg_cli.outputs.writers import Job


class Sidecar(GrowingDocument):
    """Its list is ``frames``."""

    def __init__(self, path: Path, job: Job) -> None:
        super().__init__(path, {"format": "avseg-frames-1", **job.about, "video": job.video.to_dict()}, "frames")

    def add_frame(self, file: str, time: float) -> None:
        """One more picture: its name, and its time in seconds from the start of the video."""
        self.add({"file": file, "time": round(time, 6)})
