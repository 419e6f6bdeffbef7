"""Training steps, ours beside the straightforward ones: stage 1a from cached embeddings, stage 2 through the encoder.

The straightforward way computes the frozen embeddings anew in every step and keeps every activation; ours reads
them as `avseg train` does, ahead and in a thread. The row ``feed`` is that reading alone; ``recompute`` is a step of
ours with `--recompute on` and `off`. Dropout is off on both sides, so that their gradients can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.base.text import counted
from avseg_cli.bench.measure import Work
from avseg_cli.bench.parts import Part, build_model
from avseg_cli.bench.reference import MASK_SIZE, Reference
from avseg_cli.data.dataset import Sample
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import BACKBONES
from avseg_cli.model.config import ModelConfig
from avseg_cli.training.feed import fed
from avseg_cli.training.parameters import set_trainable, transfer
from avseg_cli.training.stages import STAGES
from avseg_cli.training.tasks import SegmentationModule, on_device, with_embeddings

LEARNING_RATE = 1e-4  # the paper's
FED = 8  # clips of the row "feed"
Steps = Callable[[], Iterator[Tensor]]  # the logits of an epoch's clips, one after the other

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
    """Builds the rows of training on random weights of ``config``, shared with no other row."""

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

    def feed(self) -> Iterator[Part]:
        """Kept embeddings from a file to the device: read and converted when they are wanted, or as in training."""
        shape = (FED, self.config.clip_frames, self.config.out_chans, self.config.grid, self.config.grid)
        with TemporaryDirectory(prefix="avseg-bench-") as folder:
            values = np.memmap(Path(folder) / "embeddings.f16", np.float16, "w+", shape=shape)
            values[:] = torch.randn(shape[1:], generator=torch.Generator().manual_seed(self.seed)).half().numpy()
            kept = _Kept(values)

            def reference() -> Tensor:
                for index in range(FED):
                    there = torch.from_numpy(values[index]).float().to(self.device)
                return there

            def ours() -> Tensor:
                for (sample,) in self._fed([Sample(index, "") for index in range(FED)], kept):
                    there = on_device([sample.embeddings], self.device)[0]
                return there

            yield Part(
                "feed", f"embeddings of {counted(FED, 'clip')}, from a file to the device", reference, ours, (0, 0)
            )

    def train_1a(self) -> Iterator[Part]:
        """An epoch of stage 1a from the second on: embeddings recomputed, or read from a file as in training."""
        model = self._trainable(replace(self.config, adapters=False), "1a")
        module = SegmentationModule(model, "bce", self.device)
        heard = self.log_mel.cpu()
        with TemporaryDirectory(prefix="avseg-bench-") as folder:
            kept = self._cached(model, Path(folder) / "embeddings.f16")

            def steps() -> Iterator[Tensor]:
                samples = [Sample(index, "", log_mel=own) for index, own in enumerate(heard)]
                for batch in self._fed(samples, kept):
                    with self._autocast(self.dtypes[1]):
                        logits = module.logits(batch)[0]
                    yield logits

            yield self._part("train_1a", "an epoch of stage 1a from the second on", "1a", model, steps)

    def recompute(self) -> Iterator[Part]:
        """A step of stage 2: the activations of the encoder's blocks computed twice, and kept."""
        twice, once = (
            self._epoch(model, COMPARED["2"][1], self._steps(model, dtype))
            for model, dtype in zip((self._joint(True), self._joint(False)), self.dtypes, strict=True)
        )
        what = (
            f"a step of stage 2 for each clip, activations computed twice and once, {counted(len(self.frames), 'clip')}"
        )
        yield Part("recompute", what, twice, once, (0, 0))

    def train_2(self) -> Iterator[Part]:
        """A step of stage 2, one clip: gradients go through the encoder to the adapters."""
        model = self._joint(BACKBONES[self.config.backbone].recompute)  # as in training
        yield self._part("train_2", "a step of stage 2 for each clip", "2", model, self._steps(model, self.dtypes[1]))

    def _joint(self, recompute: bool) -> AvsegModel:
        """What stage 2 trains."""
        model = self._trainable(self.config, "2")
        model.image_encoder.recompute = recompute
        return model

    def _steps(self, model: AvsegModel, dtype: torch.dtype) -> Steps:
        """Through the encoder."""

        def steps() -> Iterator[Tensor]:
            for index in range(len(self.frames)):
                with self._autocast(dtype):
                    logits = self._our_logits(model, index)
                yield logits

        return steps

    def _fed(self, samples: Sequence[Sample], kept: _Kept) -> Iterator[list[Sample]]:
        """Clips with their kept embeddings, as they come to a step of stage 1a."""
        return fed(with_embeddings(([sample] for sample in samples), kept, self.device), self.device)

    def _autocast(self, dtype: torch.dtype) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype) if dtype != torch.float32 else nullcontext()

    def _trainable(self, config: ModelConfig, stage: str) -> AvsegModel:
        model = AvsegModel(config)
        transfer(model, self._weights().state_dict())
        set_trainable(model.to(self.device), stage)
        return model.eval()  # no dropout

    def _part(self, name: str, what: str, stage: str, model: AvsegModel, steps: Steps) -> Part:
        clips, time = self.frames.shape[:2]
        reference = Reference(self._weights()).to(self.device).requires_grad_(False)
        for trained in REFERENCE_TRAINED[stage]:
            reference.get_submodule(trained).requires_grad_(True)
        theirs, ours = COMPARED[stage]

        def reference_steps() -> Iterator[Tensor]:
            for index in range(clips):
                with self._autocast(self.dtypes[0]):
                    logits = self._reference_logits(reference, stage, index)
                yield logits

        return Part(
            name,
            f"{what}, {counted(clips, 'clip')}",
            self._epoch(reference, theirs, reference_steps),
            self._epoch(model, ours, steps),
            (0, 0),
            encoded=(clips * time, 0) if STAGES[stage].caches else None,
        )

    def _weights(self) -> AvsegModel:
        """The same each time, and a copy each time: both sides change theirs."""
        return build_model(self.config, self.seed)

    def _cached(self, model: AvsegModel, path: Path) -> _Kept:
        clips, time = self.frames.shape[:2]
        shape = (clips, time, self.config.out_chans, self.config.grid, self.config.grid)
        values = np.memmap(path, np.float16, "w+", shape=shape)
        with torch.inference_mode():
            for index in range(clips):
                for frame in range(time):
                    one = model.embed_frames(self.frames[index, frame : frame + 1], None)
                    values[index, frame] = one[0].half().cpu().numpy()
        values.flush()
        return _Kept(values)

    def _epoch(self, module: nn.Module, compared: str, steps: Steps) -> Work:
        """Learn from the logits of each clip; gives the gradient of the parameter ``compared`` in the first step."""
        watched = module.get_parameter(compared)
        optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=LEARNING_RATE)

        def epoch() -> Tensor:
            first: Tensor | None = None
            for index, logits in enumerate(steps()):
                optimizer.zero_grad(set_to_none=True)
                F.binary_cross_entropy_with_logits(logits.float(), self.truth[index]).backward()
                assert watched.grad is not None, "the loss depends on it"
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

    def _our_logits(self, model: AvsegModel, index: int) -> Tensor:
        with torch.no_grad():
            sound = model.embed_sound(self.log_mel[index][None])  # (1, T, 128)
        embeddings = model.embed_frames(self.frames[index], sound[0])[None]
        return model.upsample(model.decode(embeddings, sound)[0], (MASK_SIZE, MASK_SIZE))


class _Kept:
    """Embeddings in a file, as ``EmbeddingCache`` hands them out."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def row(self, index: int) -> Tensor:
        return torch.from_numpy(self.values[index])
