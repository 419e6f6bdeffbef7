"""What lies beside pictures in a folder: which file belongs to which time, and what made them."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from avseg_cli.outputs.writers import Job


class Sidecar:
    """A JSON document whose ``frames`` are written as they come, so that those of a long video are never held."""

    def __init__(self, path: Path, job: Job) -> None:
        head = {"format": "avseg-frames-1", **job.about, "video": job.video.to_dict()}
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115  closed by finish or close
        self._file.write(json.dumps(head, indent=1)[:-2] + ',\n "frames": [')
        self.count = 0

    def add(self, file: str, time: float) -> None:
        """One more picture: its name, and its time in seconds from the start of the video."""
        entry = json.dumps({"file": file, "time": round(time, 6)})
        self._file.write(f"{',' if self.count else ''}\n  {entry}")
        self.count += 1

    def finish(self, summary: dict[str, Any]) -> None:
        """Write the rest and close."""
        self._file.write("\n ],\n" + json.dumps(summary, indent=1)[2:] + "\n")
        self._file.close()

    def close(self) -> None:
        """Close an unfinished file; a full disk does not take the last bytes either."""
        with suppress(OSError):
            self._file.close()
