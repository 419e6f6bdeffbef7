"""Logits: what a model says of a pixel before it is made a probability."""

from __future__ import annotations

import numpy as np

from avseg_cli.base.errors import InputError, named

EDGE = 2.0  # slope of a mask's soft edge, in units of opacity per unit of logit


def logit(probability: float) -> float:
    """The logit of a probability; raises ``InputError`` unless it lies between 0 and 1."""
    if not 0 < probability < 1:
        raise InputError(
            f"{named('threshold')} {probability:g} is out of range; give a value between 0 and 1, not 0 or 1"
        )
    return float(np.log(probability / (1 - probability)))


def probability(logits: np.ndarray) -> np.ndarray:
    """The probabilities of logits of any shape."""
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
