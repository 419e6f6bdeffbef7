"""Training steps, ours beside the straightforward ones: stage 1a from cached embeddings, stage 2 through the encoder.

The straightforward way computes the frozen embeddings anew in every step and keeps every activation; ours reads
them as `avseg train` does. Dropout is off on both sides, so that their gradients can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.bench.measure import Work
from avseg_cli.bench.parts import Part, build_model
from avseg_cli.bench.reference import MASK_SIZE, Reference
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import BACKBONES
from avseg_cli.model.config import ModelConfig
from avseg_cli.training.parameters import set_trainable, transfer
from avseg_cli.training.stages import STAGES

LEARNING_RATE = 1e-4  # the paper's

# The modules of ``Reference`` that train in each stage: those of training/parameters.py under its names.
REFERENCE_TRAINED = {
    "1a": ("audio_embed_layer", "layers", "mask_decoder"),
    "2": ("image_encoder.prompt_generator", "audio_embed_layer", "layers", "mask_decoder"),
}
# The parameter whose gradient is compared, in ``Reference`` and in ours: the furthest from the loss.
COMPARED = {
    "1a": ("audio_embed_layer.weight", "audio_embed.weight"),
    "2": ("image_encoder.prompt_generator.shared_mlp.weight", "image_encoder.adapters.shared.weight"),
}


class TrainingParts:
    """Builds the rows ``train_1a`` and ``train_2`` on random weights of ``config``, shared with no other row."""

    def __init__(
        self,
        config: ModelConfig,
        seed: int,
        frames: Tensor,
        log_mel: Tensor,
        device: torch.device,
        dtypes: tuple[torch.dtype, torch.dtype],
    ) -> None:
        """frames (clips, T, 3, S, S), log_mel (clips, T, 1, 96, 64); dtypes: the reference's and ours, by autocast."""
        self.config, self.seed, self.device, self.dtypes = config, seed, device, dtypes
        self.frames, self.log_mel = frames.clone(), log_mel.clone()  # inference tensors cannot be trained on
        random = torch.Generator().manual_seed(seed)
        self.truth = (torch.rand(*frames.shape[:2], MASK_SIZE, MASK_SIZE, generator=random) < 0.1).float().to(device)

    def train_1a(self) -> Iterator[Part]:
        """An epoch of stage 1a from the second on: embeddings recomputed, or read from a file as in training."""
        model = self._trainable(replace(self.config, adapters=False), "1a")
        with TemporaryDirectory(prefix="avseg-bench-") as folder:
            cache = self._cached(model, Path(folder) / "embeddings.f16")
            yield self._part("train_1a", "an epoch of stage 1a from the second on", "1a", model, cache)

    def train_2(self) -> Iterator[Part]:
        """A step of stage 2, one clip: gradients go through the encoder to the adapters."""
        model = self._trainable(self.config, "2")
        model.image_encoder.recompute = BACKBONES[self.config.backbone].recompute  # as in training
        yield self._part("train_2", "a step of stage 2 for each clip", "2", model, None)

    def _trainable(self, config: ModelConfig, stage: str) -> AvsegModel:
        model = AvsegModel(config)
        transfer(model, self._weights().state_dict())
        set_trainable(model.to(self.device), stage)
        return model.eval()  # no dropout

    def _part(self, name: str, what: str, stage: str, model: AvsegModel, cache: np.ndarray | None) -> Part:
        clips, time = self.frames.shape[:2]
        reference = Reference(self._weights()).to(self.device).requires_grad_(False)
        for trained in REFERENCE_TRAINED[stage]:
            reference.get_submodule(trained).requires_grad_(True)
        theirs, ours = COMPARED[stage]
        return Part(
            name,
            f"{what}, {clips} clip(s)",
            self._epoch(reference, theirs, lambda i: self._reference_logits(reference, stage, i), self.dtypes[0]),
            self._epoch(model, ours, lambda i: self._our_logits(model, cache, i), self.dtypes[1]),
            (0, 0),
            encoded=(clips * time, 0) if STAGES[stage].caches else None,
        )

    def _weights(self) -> AvsegModel:
        """The same each time, and a copy each time: both sides change theirs."""
        return build_model(self.config, self.seed)

    def _cached(self, model: AvsegModel, path: Path) -> np.ndarray:
        clips, time = self.frames.shape[:2]
        shape = (clips, time, self.config.out_chans, self.config.grid, self.config.grid)
        values = np.memmap(path, np.float16, "w+", shape=shape)
        with torch.inference_mode():
            for index in range(clips):
                for frame in range(time):
                    one = model.embed_frames(self.frames[index, frame : frame + 1], None)
                    values[index, frame] = one[0].half().cpu().numpy()
        values.flush()
        return values

    def _epoch(self, module: nn.Module, compared: str, logits: Callable[[int], Tensor], dtype: torch.dtype) -> Work:
        """A step for each clip; gives the gradient of the parameter ``compared`` in the first one."""
        watched = module.get_parameter(compared)
        optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=LEARNING_RATE)

        def epoch() -> Tensor:
            first: Tensor | None = None
            for index in range(len(self.frames)):
                optimizer.zero_grad(set_to_none=True)
                with torch.autocast(self.device.type, dtype) if dtype != torch.float32 else nullcontext():
                    out = logits(index)
                F.binary_cross_entropy_with_logits(out.float(), self.truth[index]).backward()
                first = watched.grad.clone() if first is None else first
                optimizer.step()
            assert first is not None, "there are frames"
            return first

        def outside_inference() -> Tensor:
            with torch.inference_mode(False), torch.enable_grad():
                return epoch()

        return outside_inference

    def _reference_logits(self, reference: Reference, stage: str, index: int) -> Tensor:
        with torch.no_grad():
            sound = reference.vggish(self.log_mel[index])
        frames = self.frames[index]
        if STAGES[stage].caches:
            with torch.no_grad():  # SAM's own encoder, frame after frame
                embeddings = torch.cat([reference.image_encoder(frame) for frame in frames.split(1)])
        else:
            embeddings = reference.encode(frames, sound)
        dense, sparse = reference.fuse(embeddings.float(), reference.embed_audio(sound))
        return reference.decode(embeddings, dense, sparse)

    def _our_logits(self, model: AvsegModel, cache: np.ndarray | None, index: int) -> Tensor:
        with torch.no_grad():
            sound = model.embed_sound(self.log_mel[index][None])  # (1, T, 128)
        if cache is None:
            embeddings = model.embed_frames(self.frames[index], sound[0])[None]
        else:
            embeddings = torch.from_numpy(cache[index]).to(self.device, torch.float32)[None]
        return model.upsample(model.decode(embeddings, sound)[0], (MASK_SIZE, MASK_SIZE))
