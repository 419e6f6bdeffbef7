"""Stage pretrain-image of a model that sees kinds: the neck learns from photographs with masks where each kind is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.base.errors import DataError
from avseg_cli.base.sharing import Sharing
from avseg_cli.data.dataset import Sample
from avseg_cli.data.photo_features import VIEWS, PhotoFeatures
from avseg_cli.data.photo_views import UNKNOWN
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.training.drawn import DrawnTask
from avseg_cli.training.tasks import TaskSetup, on_device

ENOUGH = 8  # views of a kind: with fewer, ImageNet's word is left as it is, where it has one
EVEN = 40  # views up to which all kinds are drawn alike
SELDOM = 0.15  # the chance of what shows no kind, against that of a rare one
DOUBTED = 0.3  # weight of ground where a mask may not be complete
# Kinds of things that look like another: where one is marked, nothing is said of these
ALIKE = {
    "car": ("race_car", "siren"), "race_car": ("car",), "bus": ("siren", "car"), "siren": ("car", "bus"),
    "bird": ("rooster", "duck", "owl"), "duck": ("bird",), "owl": ("bird",), "rooster": ("bird",),
    "acoustic_guitar": ("electric_guitar",), "drums": ("tabla", "cymbal"), "tabla": ("drums",), "cymbal": ("drums",),
    "dog": ("wolf",), "cat": ("lion",), "glockenspiel": ("mallets", "bell"), "bell": ("glockenspiel",),
    "flute": ("clarinet",), "clarinet": ("flute",),
}  # fmt: skip


@dataclass
class SeenSample(Sample):
    """A view: features at strides 16 and 32, and for each kind where it is and how far that is known, (S, g, g)."""

    middle: Tensor | None = None
    last: Tensor | None = None
    target: Tensor | None = None
    weight: Tensor | None = None


class SeenModule(nn.Module):
    """The neck and what it says of the kinds."""

    taught: Tensor

    def __init__(self, model: AvsegModel, taught: Tensor, device: torch.device) -> None:
        super().__init__()
        self.encoder, self.device = model.image_encoder, device
        self.register_buffer("taught", taught.float()[:, None, None], persistent=False)

    def _all(self, samples: Sequence[SeenSample], name: str) -> Tensor:
        return on_device([getattr(sample, name) for sample in samples], self.device)

    def logits(self, samples: Sequence[SeenSample]) -> Tensor:
        middle, last = (self._all(samples, name) for name in ("middle", "last"))
        return self.encoder.look(middle, last)[1].float()

    def forward(self, samples: Sequence[SeenSample]) -> Tensor:
        """One loss a view: cross-entropy, and the overlap of each kind that is there."""
        target, weight = (self._all(samples, name) for name in ("target", "weight"))
        weight, logits = weight * self.taught, self.logits(samples)
        cross = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight * (1 + 2 * target)
        seen = logits.sigmoid() * weight
        both, each = (seen * target).sum((2, 3)), seen.sum((2, 3)) + (target * weight).sum((2, 3))
        there = (target.sum((2, 3)) > 2) * self.taught[:, 0, 0]
        overlap = (1 - (2 * both + 1) / (each + 1)) * there
        return 10 * cross.mean((1, 2, 3)) + 0.3 * overlap.sum(1) * len(samples) / there.sum().clamp_min(1)


class KindsSeen(DrawnTask):
    """Views are drawn so that rare kinds come more often."""

    module: SeenModule

    def __init__(self, model: AvsegModel, setup: TaskSetup, features: PhotoFeatures) -> None:
        self.setup, self.features, self.seen = setup, features, model.config.seen_kinds
        self.train = [view for view in features.views if not view.held_out]
        self.val = [view for view in features.views if view.held_out and view.row % VIEWS == 0]
        refuse_few([view.held_out for view in features.views])
        counts = Counter(kind for view in self.train for kind in view.kinds)
        enough = torch.tensor([counts[kind] >= ENOUGH for kind in self.seen])
        named = model.image_encoder.members.any(0).cpu()  # a kind that nobody names is nowhere: that must be learnt too
        self.module = SeenModule(model, enough | ~named, setup.device)
        self.draws = len(self.train)
        rarity = {kind: min(1.0, (EVEN / count) ** 0.5) for kind, count in counts.items()}
        weight = np.array([max((rarity[kind] for kind in view.kinds), default=SELDOM) for view in self.train])
        self.chances = weight / weight.sum()

    def sample(self, number: int, row: int) -> SeenSample:
        features, (target, weight) = self.features.features(row), self._targets(row)
        return SeenSample(
            number, f"photograph view {row}", middle=features[2], last=features[3], target=target, weight=weight
        )

    def draw(self, rng: np.random.Generator, count: int) -> list[Sample]:
        picked = rng.choice(len(self.train), count, p=self.chances)
        return [self.sample(int(i), self.train[i].row) for i in picked]

    def loss(self, module: nn.Module, samples: list[Sample]) -> Tensor:
        return module(samples)

    def _targets(self, row: int) -> tuple[Tensor, Tensor]:
        return targets(self.features.labels(row), self.features.views[row].complete, self.seen)

    @torch.inference_mode()
    def validate(self, sharing: Sharing) -> list[tuple[dict[str, float], float]]:
        """IoU of each kind with photographs over those held out, averaged over the kinds."""
        both, either = (torch.zeros(len(self.seen)) for _ in range(2))
        for number, view in enumerate(self.val):
            sample = self.sample(number, view.row)
            assert sample.weight is not None and sample.target is not None
            said, known = self.module.logits([sample])[0].cpu() > 0, sample.weight > 0.9
            there = (sample.target > 0.5) & known
            both += (said & there).sum((1, 2))
            either += ((said & known) | there).sum((1, 2))
        shown = torch.tensor([any(kind in view.kinds for view in self.val) for kind in self.seen])
        taught = shown & self.module.taught[:, 0, 0].bool().cpu()
        iou = (both / either.clamp_min(1))[taught]
        mean = float(iou.mean()) if len(iou) else 0.0
        return [({"score": mean, "val_kind_iou": mean}, 1.0)]


def refuse_few(held_out: Sequence[bool]) -> None:
    """Raise ``DataError`` where all photographs are held out, or none."""
    if all(held_out) or not any(held_out):
        raise DataError("too few photographs to hold some out for choosing the best epoch; list more")


def targets(labels: Tensor, complete: bool, seen: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Labels (4g, 4g) -> for each kind of ``seen`` the share of each token that it takes, and how far it is known.

    Where a mask may not be complete, ground is doubted, and nothing is said of where people are not.
    """
    known, ground = _shares(labels != UNKNOWN), _shares(labels == 0)
    shares = {k - 1: _shares(labels == k) for k in labels.unique().tolist() if 0 < k <= len(seen)}
    target = torch.zeros(len(seen), *known.shape)
    weight = known.expand(len(seen), -1, -1).clone()
    if not complete:
        marked = sum(shares.values(), torch.zeros_like(known))
        weight[:] = marked + DOUBTED * ground
        if "person" in seen:
            weight[seen.index("person")] = marked
    for kind, share in shares.items():
        target[kind], weight[kind] = share, known
    for kind, share in shares.items():
        for other in ALIKE.get(seen[kind], ()):
            if other in seen and seen.index(other) not in shares:
                weight[seen.index(other)][share > 0] = 0
    return target, weight


def _shares(where: Tensor) -> Tensor:
    """(4g, 4g) -> (g, g)."""
    return F.avg_pool2d(where[None].float(), 4)[0]
