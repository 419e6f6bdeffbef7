"""Files appear whole or not at all: written beside their place, then moved there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in place: whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        write(partial)
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Indented JSON, whole or not at all."""
    write_whole(path, lambda partial: partial.write_text(json.dumps(content, indent=1) + "\n"))
