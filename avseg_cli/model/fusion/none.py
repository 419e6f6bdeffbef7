"""No fusion: the decoder is prompted with the sound as it is."""

from __future__ import annotations

from avseg_cli.model.config import ModelConfig


def FUSION(config: ModelConfig) -> None:  # noqa: N802  what the other files call their classes
    """No module."""
