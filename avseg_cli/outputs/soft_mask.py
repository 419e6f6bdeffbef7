"""The mask as one kind of output has it: at its size, in its range of values, with a soft edge at the threshold."""

from __future__ import annotations

import numpy as np

from avseg_cli.outputs.drawing import Upsampler, opacity
from avseg_cli.outputs.logits import logit
from avseg_cli.outputs.writers import Job


class SoftMask:
    """For a job's logits and threshold, at ``size`` (H, W): ``ground`` where nothing sounds to ``ground + top``."""

    def __init__(self, job: Job, size: tuple[int, int], top: int, ground: int = 0) -> None:
        self._upsampler = Upsampler(job.low_res, job.image_size, size)
        self._level, self._top, self._ground = np.float32(logit(job.threshold)), top, ground

    def of(self, logits: np.ndarray) -> np.ndarray:
        """(h, w) float32 -> (H, W), uint8 where that is enough, else uint16."""
        return opacity(self._upsampler.full(logits - self._level), self._top, self._ground)
