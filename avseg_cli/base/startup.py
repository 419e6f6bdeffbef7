"""What a process of the command line does first and last, so that its libraries take less of the processor."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import suppress
from typing import NoReturn

THRESHOLDS = (100_000, 20, 20)  # objects, then collections, between searches for unreachable cycles


def spare_the_processor() -> None:
    """Fewer searches for garbage, and threads that sleep while they wait. Changes no result.

    Importing PyTorch makes a million objects that stay: with Python's own thresholds they are searched hundreds of
    times. OpenMP's threads spin by themselves, which takes the cores from decoder
    and encoder beside them; ``OMP_WAIT_POLICY`` says otherwise where it is set.
    """
    gc.set_threshold(*THRESHOLDS)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def leave(code: int) -> NoReturn:
    """End the process, after what was to be done at its end, without taking PyTorch's objects apart one by one."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or what reads it is gone
            stream.flush()
    os._exit(code)
