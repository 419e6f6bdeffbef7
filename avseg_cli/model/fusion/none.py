"""No fusion: the decoder is prompted with the sound as it is."""

from __future__ import annotations

from avseg_cli.model.fusion import Fusion

FUSION = Fusion()
