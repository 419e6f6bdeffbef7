"""The model's edge: pictures and sound as they come in, probabilities as they go out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from avseg_cli.model.log_mel import log_mel_examples
from avseg_cli.model.transforms import prepare_frames, upsample_logits

if TYPE_CHECKING:
    from avseg_cli.model.config import ModelConfig


class ModelEdge:
    """What callers need of a model with ``config``, ``embed_sound``, ``embed_frames`` and ``decode``."""

    config: ModelConfig
    about: str = ""  # what it is for, in its maker's words
    sha256: str = ""  # of the checkpoint file that it was read from

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.parameters()).device  # type: ignore[attr-defined]  every model is a module

    @property
    def dtype(self) -> torch.dtype:
        """The precision of encoder, fusion and decoder."""
        return next(self.mask_decoder.parameters()).dtype  # type: ignore[attr-defined]

    def front_end(self, waveform: np.ndarray | Tensor) -> Tensor:
        """Mono sound at 16 kHz -> the sound network's examples, one each 0.96 s: (K, 1, 96, 64)."""
        return log_mel_examples(waveform)

    def embed_and_place(self, frames: Tensor, sound: Tensor) -> tuple[Tensor, Tensor | None]:
        """``embed_frames``, and where in each frame every kind of thing is both seen and heard.

        The latter are probabilities (N, S, g, g) of ``config.seen_kinds`` in their order, or None from a model that
        cannot tell.
        """
        return self.embed_frames(frames, sound), None  # type: ignore[attr-defined]

    def preprocess(self, frames: Tensor) -> Tensor:
        """uint8 RGB (N, H, W, 3) of any size -> normalised float32 (N, 3, S, S), on the model's device."""
        return prepare_frames(frames.to(self.device), self.config.image_size)

    def postprocess(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits (N, 4g, 4g) -> probabilities float32 (N, H, W) that a pixel sounds, at ``size`` (H, W)."""
        return self.upsample(logits, size).sigmoid()

    def upsample(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits (N, 4g, 4g) -> logits float32 (N, H, W), at ``size`` (H, W)."""
        return upsample_logits(logits.float(), self.config.image_size, size)

    def predict(self, frames: np.ndarray | Tensor, seconds: Sequence[np.ndarray]) -> Tensor:
        """A clip and its sound -> the probability of every pixel that it sounds, float32 (T, H, W) on the CPU.

        frames: uint8 RGB (T, H, W, 3). seconds: for each frame, at least 0.96 s of mono sound at 16 kHz, the second
        that the frame is seen with. Gradients are not kept.
        """
        pictures = torch.as_tensor(frames)
        with torch.inference_mode():
            examples = [self.front_end(second)[:1] for second in seconds]
            sound = torch.cat(examples).to(self.device)
            heard = self.embed_sound(sound)  # type: ignore[attr-defined]  (T, 128)
            embeddings = self.embed_frames(self.preprocess(pictures), heard)  # type: ignore[attr-defined]
            logits = self.decode(embeddings[None], heard[None])[0]  # type: ignore[attr-defined]  (T, 4g, 4g)
            return self.postprocess(logits, (pictures.shape[1], pictures.shape[2])).cpu()
