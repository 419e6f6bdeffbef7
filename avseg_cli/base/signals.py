"""Which of the system's signals a process is to answer."""

from __future__ import annotations

import signal


def heard(*names: str) -> list[signal.Signals]:
    """Those of these names that there are (Windows lacks SIGHUP) and that are not ignored, as SIGHUP is under nohup."""
    there = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [number for number in there if signal.getsignal(number) != signal.SIG_IGN]
