"""A JSON document with one long list, which is written as it grows: that of a long video is never held."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any


class GrowingDocument:
    """An object: the fields of ``head``, the list ``name``, one item a line, then the fields of the summary."""

    def __init__(self, path: Path, head: dict[str, Any], name: str) -> None:
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115  closed by finish or close
        self._file.write(json.dumps(head, indent=1)[:-2] + f',\n "{name}": [')
        self.count = 0

    def add(self, item: dict[str, Any]) -> None:
        """One more item of the list."""
        self._file.write(("," if self.count else "") + "\n  " + json.dumps(item))
        self.count += 1

    def finish(self, summary: dict[str, Any]) -> None:
        """Write the rest and close."""
        self._file.write("\n ],\n" + json.dumps(summary, indent=1)[2:] + "\n")
        self._file.close()

    def close(self) -> None:
        """Close an unfinished file; a full disk does not take the last bytes either."""
        with suppress(OSError):
            self._file.close()
