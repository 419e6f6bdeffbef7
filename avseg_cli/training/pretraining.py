"""The pretraining stages, for backbones without public weights: what is where, and what is heard when.

Their labels come with the data that ``avseg synth`` makes; their heads are thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.base.device_copies import to_device
from avseg_cli.base.sharing import Sharing
from avseg_cli.data.augment import augment, nearest
from avseg_cli.data.clips import Clip
from avseg_cli.data.dataset import ClipDataset, Sample, SoundDataset, batch_indices, load_batches
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.log_mel import EXAMPLE_FRAMES, EXAMPLE_SAMPLES, MEL_BANDS, SAMPLE_RATE, log_mel_spectrogram
from avseg_cli.training.tasks import Task, TaskSetup, stack_frames


class ImageModule(nn.Module):
    """The encoder as a dense classifier: SAM's upscaling and a thrown-away 1x1 convolution on top."""

    def __init__(self, model: AvsegModel, categories: int, device: torch.device) -> None:
        super().__init__()
        self.encoder, self.upscaling = model.image_encoder, model.mask_decoder.output_upscaling
        channels = model.config.out_chans
        self.classes = categories + 2  # background, the categories, objects without one
        self.coarse = nn.Conv2d(channels, self.classes, 1)
        self.fine = nn.Conv2d(channels // 8, self.classes, 1)
        self.image_size, self.low_res, self.device = model.config.image_size, model.config.low_res, device

    def logits(self, samples: Sequence[Sample]) -> Tensor:
        """(frames, classes, 4g, 4g): what the embedding says linearly, and details from the upscaling."""
        embeddings = self.encoder(stack_frames(samples, self.image_size, self.device))
        coarse = F.interpolate(self.coarse(embeddings), scale_factor=4, mode="bilinear", align_corners=False)
        return coarse + self.fine(self.upscaling(embeddings))

    def targets(self, samples: Sequence[Sample]) -> Tensor:
        """(frames, 4g, 4g) class numbers; 255 (an object without category) becomes the last class."""
        maps = torch.cat(
            [nearest(to_device(sample.object_maps, self.device), self.low_res) for sample in samples]
        ).long()
        return torch.where(maps == 255, self.classes - 1, maps)

    def forward(self, samples: Sequence[Sample]) -> Tensor:
        logits, targets = self.logits(samples).float(), self.targets(samples)
        loss = F.cross_entropy(logits, targets, reduction="none").mean((1, 2))
        return loss.view(len(samples), -1).mean(1)


def one_frame(sample: Sample, generator: torch.Generator) -> Sample:
    """A random frame of the clip, augmented: more different scenes in a batch of the same size."""
    assert sample.frames is not None and sample.object_maps is not None
    k = int(torch.randint(len(sample.frames), (), generator=generator))
    one = Sample(sample.index, sample.name, frames=sample.frames[k : k + 1], object_maps=sample.object_maps[k : k + 1])
    return augment(one, generator)


class ImagePretraining(Task):
    """Stage pretrain-image: which category is at which pixel, sounding or not, from ``avseg synth``'s object maps."""

    skips_parameters = False

    def __init__(
        self, model: AvsegModel, setup: TaskSetup, train: list[Clip], val: list[Clip], categories: int
    ) -> None:
        self.module: ImageModule = ImageModule(model, categories, setup.device)
        self.setup = setup
        wanted = ("frames", "object_maps")
        self.train, self.val = (ClipDataset(clips, wanted, workers=setup.workers) for clips in (train, val))

    def batch_count(self) -> int:
        return len(batch_indices(len(self.train), self.setup.recipe.batch_size, 0, 0, self.setup.sharing))

    def batches(self, epoch: int, first: int) -> Iterator[list[Sample]]:
        setup = self.setup
        indices = batch_indices(len(self.train), setup.recipe.batch_size, setup.seed, epoch, setup.sharing)
        return load_batches(self.train, indices[first:], setup.workers, one_frame, setup.seed, epoch)

    def loss(self, module: nn.Module, samples: list[Sample]) -> Tensor:
        return module(samples)

    @torch.inference_mode()
    def validate(self, sharing: Sharing) -> list[tuple[dict[str, float], float]]:
        """Pixel IoU of each category over the val split (middle frames), averaged over the categories present."""
        classes = self.module.classes
        confusion = torch.zeros(classes, classes, dtype=torch.float64)
        for samples in load_batches(self.val, [[i] for i in range(len(self.val))], self.setup.workers):
            sample = samples[0]
            assert sample.frames is not None and sample.object_maps is not None
            middle = len(sample.frames) // 2
            span = slice(middle, middle + 1)
            one = [Sample(0, sample.name, frames=sample.frames[span], object_maps=sample.object_maps[span])]
            with self.setup.autocast():
                predicted = self.module.logits(one).argmax(1).flatten()
            pairs = self.module.targets(one).flatten() * classes + predicted
            confusion += torch.bincount(pairs.cpu(), minlength=classes * classes).view(classes, classes)
        hit = confusion.diag()
        union = confusion.sum(0) + confusion.sum(1) - hit
        iou = (hit / union)[1:-1][confusion.sum(1)[1:-1] > 0]
        accuracy = float(hit.sum() / confusion.sum())
        return [
            (
                {"score": float(iou.mean()), "val_category_iou": float(iou.mean()), "val_accuracy": accuracy},
                1.0,
            )
        ]


class SoundModule(nn.Module):
    """VGGish as a classifier of each second, with a thrown-away linear on top."""

    def __init__(self, model: AvsegModel, categories: int, device: torch.device) -> None:
        super().__init__()
        self.vggish, self.device = model.vggish, device
        self.classify = nn.Linear(model.config.audio_dim, categories)

    def logits(self, log_mel: Tensor) -> Tensor:
        return self.classify(self.vggish(to_device(log_mel, self.device)))

    def forward(self, log_mel: Tensor, labels: Tensor) -> Tensor:
        """log_mel (clips, T, 1, 96, 64), labels (clips, T, K) -> one loss per clip."""
        logits = self.logits(log_mel.flatten(0, 1)).float()
        labels = to_device(labels.flatten(0, 1), self.device)
        loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        return loss.sum(1).view(log_mel.shape[:2]).mean(1)


class SoundPretraining(Task):
    """Stage pretrain-sound: which categories are heard in each second, with random gain, offset and mixing."""

    skips_parameters = False

    def __init__(
        self, model: AvsegModel, setup: TaskSetup,
        train: list[Clip], train_labels: Tensor, val: list[Clip], val_labels: Tensor,
    ) -> None:  # fmt: skip
        self.module = SoundModule(model, train_labels.shape[-1], setup.device)
        self.setup = setup
        self.names = [clip.name for clip in train]
        self.train, self.val = SoundDataset(train), SoundDataset(val)
        self.train_labels, self.val_labels = train_labels, val_labels

    def batch_count(self) -> int:
        return len(batch_indices(len(self.train), self.setup.recipe.batch_size, 0, 0, self.setup.sharing))

    def batches(self, epoch: int, first: int) -> Iterator[list[Sample]]:
        setup = self.setup
        indices = batch_indices(len(self.train), setup.recipe.batch_size, setup.seed, epoch, setup.sharing)
        for number, batch in enumerate(indices[first:], start=first):
            yield [Sample(i, f"{self.names[i]} (batch {epoch}:{number})") for i in batch]

    def loss(self, module: nn.Module, samples: list[Sample]) -> Tensor:
        indices = [sample.index for sample in samples]
        return module(*self._mixed(indices))

    def _mixed(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Augmented seconds of the clips: log-mel (clips, T, 1, 96, 64) and labels (clips, T, K).

        Randomness is torch's global one, which a resumed run restores.
        """
        waves = torch.stack([self.train[i] for i in indices])  # (B, samples)
        labels = self.train_labels[indices]
        seconds = cut_seconds(waves, torch.rand(labels.shape[:2]))  # (B, T, 15600)
        if self.setup.recipe.augment:
            partner = torch.randperm(len(indices))
            mixed = (torch.rand(labels.shape[:2]) < 0.4)[..., None].float()
            level = 10 ** (torch.rand(labels.shape[:2])[..., None] * 0.6 - 0.3)  # -6 to 6 dB
            seconds = seconds + mixed * level * seconds[partner]
            labels = torch.maximum(labels, mixed * labels[partner])
            seconds = seconds * 10 ** (torch.rand(labels.shape[:2])[..., None] * 1.0 - 0.7)  # -14 to 6 dB
        return seconds_log_mel(seconds), labels

    @torch.inference_mode()
    def validate(self, sharing: Sharing) -> list[tuple[dict[str, float], float]]:
        """Mean average precision over the categories heard in the val split, and the share of seconds all right."""
        scores = []
        for i in range(len(self.val)):
            seconds = cut_seconds(self.val[i][None], torch.zeros(1, self.val_labels.shape[1]))
            with self.setup.autocast():
                scores.append(self.module.logits(seconds_log_mel(seconds)[0]).float().cpu())
        logits, labels = torch.cat(scores), self.val_labels.flatten(0, 1)
        heard = labels.sum(0) > 0
        precision = average_precision(logits[:, heard], labels[:, heard])
        exact = float(((logits > 0) == (labels > 0.5)).all(1).float().mean())
        return [({"score": float(precision.mean()), "val_map": float(precision.mean()), "val_exact": exact}, 1.0)]


def cut_seconds(waves: Tensor, shift: Tensor) -> Tensor:
    """An example of each second: (B, samples), shift (B, T) in [0, 1] -> (B, T, 15600).

    Example k starts between k seconds (a video's clock, shift 0) and 0.96 k seconds (AVSBench's, shift 1).
    """
    count = shift.shape[1]
    seconds = torch.arange(count)
    start = (seconds - shift * seconds * 0.04) * SAMPLE_RATE
    start = start.round().long().clamp(max=waves.shape[1] - EXAMPLE_SAMPLES)  # (B, T)
    index = start[..., None] + torch.arange(EXAMPLE_SAMPLES)
    return waves.gather(1, index.flatten(1)).view(len(waves), count, EXAMPLE_SAMPLES)


def seconds_log_mel(seconds: Tensor) -> Tensor:
    """(B, T, 15600) -> (B, T, 1, 96, 64)."""
    spectrogram = log_mel_spectrogram(seconds.flatten(0, 1))
    return spectrogram.reshape(*seconds.shape[:2], 1, EXAMPLE_FRAMES, MEL_BANDS)


def average_precision(scores: Tensor, labels: Tensor) -> Tensor:
    """Area under precision-recall by the step rule, per column: (N, K) twice -> (K,)."""
    order = scores.argsort(0, descending=True)
    hits = labels.gather(0, order)
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)[:, None]
    return (precision * hits).sum(0) / hits.sum(0)
