"""Whether networks can be compiled here."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

from avseg_cli.base.errors import DeviceError, named

COMPILERS = ("g++", "clang++", "cl")


def no_compiler(device: str) -> str | None:
    """Why nothing can be compiled for a kind of device here; None where it can be tried."""
    wanted = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    if device == "cpu" and not any(map(shutil.which, wanted)):
        return f"no C++ compiler here ({', '.join(wanted)})"
    if device == "cuda" and find_spec("triton") is None:
        return "no triton here, which makes torch's kernels"
    return None


def refuse_without_compiler(device: str) -> None:
    """Raises ``DeviceError`` where compiling was asked for and there is nothing to compile with."""
    missing = no_compiler(device)
    if missing:
        raise DeviceError(f"{named('compiled')}: {missing}; leave it out, results are the same")
