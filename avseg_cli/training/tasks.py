"""What one stage computes: the module whose loss is minimised, its batches, and its score on the val split.

A task's module takes a list of samples and returns one loss per clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from avseg_cli.base.device_copies import to_device
from avseg_cli.base.sharing import Sharing
from avseg_cli.data.augment import augment
from avseg_cli.data.clips import Clip
from avseg_cli.data.dataset import ClipDataset, Sample, batch_indices, load_batches
from avseg_cli.data.embedding_cache import EmbeddingCache
from avseg_cli.data.subsets import MASK_SIZE
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.transforms import prepare_frames
from avseg_cli.scoring.metrics import f_score, mask_iou
from avseg_cli.training.feed import fed
from avseg_cli.training.losses import LOSSES
from avseg_cli.training.recipe import Recipe


class Task(Protocol):
    """What the training loop needs to know of a stage."""

    module: nn.Module
    skips_parameters: bool  # whether some trained parameter may get no gradient

    def batch_count(self) -> int:
        """Batches of an epoch."""
        ...

    def batches(self, epoch: int, first: int) -> Iterator[list[Sample]]:
        """The batches of an epoch from number ``first`` on."""
        ...

    def loss(self, module: nn.Module, samples: list[Sample]) -> Tensor:
        """One loss per clip, (clips,); ``module`` is this task's, perhaps wrapped to share gradients."""
        ...

    def validate(self, sharing: Sharing) -> list[tuple[dict[str, float], float]]:
        """Figures and their weights, one pair for each part of the val split this process has; "score" decides."""
        ...

    def keep(self, folder: Path) -> None:
        """Write what a later stage needs beside the best checkpoint: most need nothing."""


class TaskSetup(Protocol):
    """The parts of a run that every task is made from."""

    recipe: Recipe
    seed: int
    workers: int
    sharing: Sharing
    device: torch.device
    dtype: torch.dtype

    def autocast(self) -> torch.autocast | nullcontext[None]: ...

    def track(self, items: Sequence[int], description: str) -> Iterable[int]: ...


def stack_frames(samples: Sequence[Sample], image_size: int, device: torch.device) -> Tensor:
    """The frames of all samples, prepared: (clips * T, 3, S, S). Clips may differ in size (crops do)."""
    frames = [to_device(sample.frames, device) for sample in samples]
    if len({f.shape for f in frames}) == 1:
        return prepare_frames(torch.cat(frames), image_size)
    return torch.cat([prepare_frames(f, image_size) for f in frames])


def on_device(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    """(B, ...) on ``device``, float32 if it was float16, which autocast in bf16 does not take."""
    there = [to_device(tensor, device) for tensor in tensors]
    if there[0].dtype == torch.float16:
        there = [tensor.float() for tensor in there]
    return there[0][None] if len(there) == 1 else torch.stack(there)


class Kept(Protocol):
    """Embeddings of clips, as ``EmbeddingCache`` has them."""

    def row(self, index: int) -> Tensor:
        """Of a clip, float16 (T, C, g, g)."""
        ...


def with_embeddings(
    batches: Iterable[list[Sample]], cache: Kept | None, device: torch.device
) -> Iterator[list[Sample]]:
    """The batches, with embeddings where they are kept: as they are for a GPU, which converts them, else float32."""
    for batch in batches:
        if cache is not None:
            for sample in batch:
                row = cache.row(sample.index)
                sample.embeddings = row if device.type == "cuda" else row.float()
        yield batch


class SegmentationModule(nn.Module):
    """Stages 1a, 1b and 2: from clips to their losses at 224x224, on the annotated frames."""

    def __init__(self, model: AvsegModel, loss: str, device: torch.device) -> None:
        super().__init__()
        self.model, self.loss, self.device = model, LOSSES[loss], device

    def logits(self, samples: Sequence[Sample]) -> Tensor:
        """Logits at 224x224, float32 (clips, T, 224, 224)."""
        log_mel = on_device([sample.log_mel for sample in samples], self.device)
        sound = self.model.embed_sound(log_mel)  # (B, T, 128)
        if samples[0].embeddings is not None:
            embeddings = on_device([sample.embeddings for sample in samples], self.device)
        else:
            frames = stack_frames(samples, self.model.config.image_size, self.device)
            heard = sound.flatten(0, 1) if self.model.config.adapters else None
            embeddings = self.model.embed_frames(frames, heard).unflatten(0, sound.shape[:2])
        low = self.model.decode(embeddings, sound)
        return self.model.upsample(low.flatten(0, 1), (MASK_SIZE, MASK_SIZE)).unflatten(0, low.shape[:2])

    def forward(self, samples: Sequence[Sample]) -> Tensor:
        """One loss per clip, the mean over its annotated frames: (clips,)."""
        truth = on_device([sample.masks for sample in samples], self.device).float()  # (B, A, H, W)
        annotated = truth.shape[1]
        logits = self.logits(samples)[:, :annotated]
        return self.loss(logits.flatten(0, 1), truth.flatten(0, 1)).view(-1, annotated).mean(1)


class SegmentationTask(Task):
    """Stages 1a (embeddings from the cache), 1b and 2 (through the encoder)."""

    skips_parameters = True  # biases of SAM's keys cancel in the softmax

    def __init__(
        self, model: AvsegModel, setup: TaskSetup, train: list[Clip], val: list[Clip],
        cached: bool, cache_root: Path,
    ) -> None:  # fmt: skip
        self.module = SegmentationModule(model, setup.recipe.loss, setup.device)
        self.setup = setup
        wanted = ("log_mel", "masks") if cached else ("log_mel", "masks", "frames")
        self.train, self.val = (ClipDataset(clips, wanted, workers=setup.workers) for clips in (train, val))
        self.train_cache = self.val_cache = None
        if cached:
            self.train_cache, self.val_cache = EmbeddingCache.prepared(cache_root, model, (train, val), setup)

    def batch_count(self) -> int:
        return len(batch_indices(len(self.train), self.setup.recipe.batch_size, 0, 0, self.setup.sharing))

    def batches(self, epoch: int, first: int) -> Iterator[list[Sample]]:
        setup = self.setup
        indices = batch_indices(len(self.train), setup.recipe.batch_size, setup.seed, epoch, setup.sharing)
        transform = augment if setup.recipe.augment and self.train_cache is None else None
        batches = load_batches(self.train, indices[first:], setup.workers, transform, setup.seed, epoch)
        return with_embeddings(batches, self.train_cache, setup.device)

    def loss(self, module: nn.Module, samples: list[Sample]) -> Tensor:
        return module(samples)

    @torch.inference_mode()
    def validate(self, sharing: Sharing) -> list[tuple[dict[str, float], float]]:
        """AVSBench's mIoU (the score) and F of each clip."""
        figures = []
        own = list(range(sharing.rank, len(self.val), sharing.world))
        chunks = [own[i : i + 4] for i in range(0, len(own), 4)]
        batches = with_embeddings(load_batches(self.val, chunks, self.setup.workers), self.val_cache, self.setup.device)
        for samples in fed(batches, self.setup.device, ahead=1):
            with self.setup.autocast():
                probability = self.module.logits(samples).sigmoid()
            for sample, p in zip(samples, probability, strict=True):
                truth = sample.masks
                p = p[: len(truth)]
                iou = float(mask_iou(p, truth).mean())
                figures.append(({"score": iou, "val_miou": iou, "val_f": f_score(p, truth)}, 1.0))
        return figures
