"""What this machine's processor calls itself."""

from __future__ import annotations

import platform
from functools import lru_cache


@lru_cache(maxsize=2)
def processor_field(name: str) -> str:
    """A line of /proc/cpuinfo, like ``"vendor_id"`` or ``"model name"``; elsewhere what Python knows."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            found = [line.split(":", 1)[1].strip() for line in file if line.startswith(name)]
    except OSError:  # not Linux
        found = []
    return found[0] if found else platform.processor()
