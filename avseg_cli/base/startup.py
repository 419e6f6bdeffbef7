"""What a process of the command line does before it loads its libraries, so that they take less of the processor."""

from __future__ import annotations

import atexit
import gc
import os

THRESHOLDS = (100_000, 20, 20)  # objects, then collections, between searches for unreachable cycles


def spare_the_processor() -> None:
    """Fewer searches for garbage, none at the end, and threads that sleep while they wait. Changes no result.

    Importing PyTorch makes a million objects that stay: with Python's own thresholds they are searched hundreds of
    times, and once more when the process ends. OpenMP's threads spin by themselves, which takes the cores from decoder
    and encoder beside them; ``OMP_WAIT_POLICY`` says otherwise where it is set.
    """
    gc.set_threshold(*THRESHOLDS)
    atexit.register(gc.freeze)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
