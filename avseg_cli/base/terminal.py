"""Terminals that may go away while a run goes on, as that of one which ignores SIGHUP does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from typing import TextIO


def outliving(stream: TextIO) -> TextIO:
    """The stream; of a terminal one that writes to nowhere from when the terminal is gone, rather than fail."""
    return cast("TextIO", _Outliving(stream)) if stream.isatty() else stream


class _Outliving:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._to_nowhere()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._to_nowhere()

    def _to_nowhere(self) -> None:
        self._stream = open(os.devnull, "w", encoding=self._stream.encoding)  # noqa: SIM115  open until the end
