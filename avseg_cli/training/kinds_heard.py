"""Stage pretrain-sound of a model that names kinds: a small head learns them from single seconds of recordings.

Beside the head that ships, one for each fold of the sources learns from the others alone. What these say of their
own fold is how sounds are heard that were never met: it chooses the best epoch, and stage 2 learns from it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.base.device_copies import to_device
from avseg_cli.base.errors import DataError, named
from avseg_cli.base.sharing import Sharing
from avseg_cli.base.whole_files import write_whole
from avseg_cli.data.dataset import Sample
from avseg_cli.data.disk_rows import hashed
from avseg_cli.data.sound_features import SoundFeatures
from avseg_cli.data.sound_seconds import FOLDS
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.float32 import in_float32
from avseg_cli.model.modes import in_eval
from avseg_cli.model.sound_events import SoundEventsNet
from avseg_cli.training.drawn import DrawnTask
from avseg_cli.training.pretraining import average_precision
from avseg_cli.training.tasks import TaskSetup

HELD_OUT = "held_out.safetensors"  # what the heads say of the seconds that they never met
FEWEST = 3  # seconds of a kind that are scored
RARE = 20  # seconds below which a kind is drawn no more often
NOISE = 0.05  # standard deviations added to features
SELDOM = -3.0  # logit of a kind before anything is learnt
# Kinds that may play in recordings which are only known to be music
IN_MUSIC = (
    "singing", "acoustic_guitar", "electric_guitar", "violin", "cello", "piano", "organ", "drums", "cymbal", "flute",
    "saxophone", "clarinet", "trumpet", "harp", "mallets", "glockenspiel", "bell", "accordion", "tabla",
)  # fmt: skip


class HeardModule(nn.Module):
    """The head that ships, and those that each leave a fold out. None learns of a kind that it has no recording of."""

    spread: Tensor
    recorded: Tensor  # (H,), of the head that ships
    met: Tensor  # (FOLDS, H), of the others

    def __init__(self, model: AvsegModel, features: SoundFeatures, device: torch.device) -> None:
        super().__init__()
        self.vggish, self.features, self.device = model.vggish, features, device
        self.vggish.train()  # as a whole: it leaves out at random what it is taught; its frozen layers know no modes
        self.kinds = model.config.kinds
        values = features.features.float()
        self.register_buffer("spread", values.std(0, correction=0) + 0.03, persistent=False)
        kinds, folds = features.kinds.bool(), features.folds
        self.register_buffer("recorded", kinds.any(0).float(), persistent=False)
        met = torch.stack([(kinds & (folds != fold)[:, None]).any(0) for fold in range(FOLDS)])
        self.register_buffer("met", met.float(), persistent=False)
        _start(self.vggish, values.mean(0), self.spread)
        self.held_out = nn.ModuleList(_head(self.vggish) for _ in range(FOLDS))

    def forward(self, rows: Tensor) -> Tensor:
        """A loss for each of some rows of the features: that of all heads, (rows,)."""
        values, labels, known, folds = self._batch(rows)
        values = values + NOISE * self.spread * torch.randn_like(values)
        loss = _loss(self.vggish, values, labels, known * self.recorded)
        for fold, head in enumerate(self.held_out):
            learnt = (folds != fold).float()
            own = _loss(head, values, labels, known * self.met[fold])
            loss = loss + own * learnt / learnt.mean().clamp_min(1e-6)
        return loss

    def _batch(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features, labels, which labels are known, and folds."""
        source = self.features
        labels = source.kinds[rows]
        features, known = source.features[rows].float(), known_labels(labels, self.kinds)
        there = partial(to_device, device=self.device)
        return there(features), there(labels), there(known), there(source.folds[rows])

    @torch.inference_mode()
    def unmet(self) -> Tensor:
        """The probabilities of the kinds in every row, each by the head that never met its source: (N, H)."""
        said = torch.zeros(self.features.kinds.shape)
        for fold, head in enumerate(self.held_out):
            rows = torch.nonzero(self.features.folds == fold)[:, 0]
            for part in rows.split(4096):
                with in_eval(head):
                    said[part] = head.describe(self.features.features[part].float().to(self.device)).cpu()
        return said


def _start(net: SoundEventsNet, mean: Tensor, spread: Tensor) -> None:
    """A first layer for features of a mean and a spread; YAMNet's word alone, and without one a kind is seldom heard.

    Kinds of which there are no recordings stay as YAMNet has them.
    """
    with torch.no_grad():
        net.lin1.weight.normal_(0, (2 / net.lin1.in_features) ** 0.5).div_(spread.to(net.lin1.weight))
        net.lin1.bias.copy_(-(net.lin1.weight @ mean.to(net.lin1.weight)))
        net.heard.weight.zero_()
        net.heard.bias.zero_()
        net.usual.copy_(torch.where(net.members.any(0), 0.0, SELDOM))


def _head(net: nn.Module) -> nn.Module:
    """A copy of the head alone."""
    network, net.cnn = net.cnn, nn.Identity()
    head = copy.deepcopy(net)
    net.cnn = network
    return head


def _loss(net: nn.Module, values: Tensor, labels: Tensor, known: Tensor) -> Tensor:
    """In float32, as the network hears in a model: in 16 bits an event that is all but certain has no finite logit."""
    with in_float32(values.device):
        loss = F.binary_cross_entropy_with_logits(net.logits(values), labels, reduction="none")
    return (loss * known).sum(1)


def known_labels(labels: Tensor, kinds: Sequence[str]) -> Tensor:
    """1 where a label says whether a kind is heard: music does not say which instruments play it."""
    music = labels[:, kinds.index("music")] > 0 if "music" in kinds else torch.zeros(len(labels), dtype=torch.bool)
    playing = torch.tensor([kind in IN_MUSIC for kind in kinds])
    return (~(music[:, None] & playing) | (labels > 0)).float()


class KindsHeard(DrawnTask):
    """Seconds are drawn evenly, as far as it goes, over the kinds and the sources of each."""

    def __init__(self, model: AvsegModel, setup: TaskSetup, features: SoundFeatures) -> None:
        self.setup, self.features = setup, features
        self.module = HeardModule(model, features, setup.device)
        self.draws = len(features.kinds)
        self.chances = chances(features)

    def draw(self, rng: np.random.Generator, count: int) -> list[Sample]:
        return [Sample(int(i), f"second {i}") for i in rng.choice(self.draws, count, p=self.chances)]

    def loss(self, module: nn.Module, samples: list[Sample]) -> Tensor:
        return module(torch.tensor([sample.index for sample in samples]))

    def validate(self, sharing: Sharing) -> list[tuple[dict[str, float], float]]:
        """Mean average precision and the share of seconds named rightly, of sources that were not met."""
        rows = self.features.as_recorded
        said, kinds = self.module.unmet()[rows], self.features.kinds[rows]
        enough = kinds.sum(0) > FEWEST
        precision = float(average_precision(said[:, enough], kinds[:, enough]).mean()) if enough.any() else 0.0
        named = float((said.argmax(1) == kinds.argmax(1)).float().mean())
        return [({"score": precision, "val_map": precision, "val_named": named}, 1.0)]

    def keep(self, folder: Path) -> None:
        said = {"heard": self.module.unmet().half()}
        of = {"sounds": _digest(self.features)}
        write_whole(folder / HELD_OUT, lambda partial: save_file(said, partial, of))


def chances(features: SoundFeatures) -> np.ndarray:
    """Of being drawn, for each row: rare kinds and small sources more often than their share, (N,)."""
    rarity = (1 / features.kinds.sum(0).clamp_min(RARE)).sqrt()
    sizes = torch.bincount(features.sources)[features.sources]
    weight = (features.kinds * rarity).amax(1).double() / sizes.sqrt()
    return (weight / weight.sum()).numpy()


def _digest(sounds: SoundFeatures) -> str:
    """Of which seconds they are, on whatever machine the features were computed."""
    return hashed({"kinds": sounds.kinds, "sources": sounds.sources, "folds": sounds.folds}).hexdigest()


def unmet_file(folder: Path) -> Path:
    """Where ``KindsHeard.keep`` wrote. Raises ``DataError`` where it did not."""
    path = folder / HELD_OUT
    if not path.is_file():
        raise DataError(
            f"{path}: missing; stage 2 learns from how pretrain-sound hears what it did not meet: run that stage "
            f"first, or name its run with {named('pretrained')}"
        )
    return path


def unmet_sounds(folder: Path, sounds: SoundFeatures) -> Tensor:
    """What ``KindsHeard.keep`` wrote: (N, H). Raises ``DataError`` where it did not, or of other sounds."""
    path = unmet_file(folder)
    with safe_open(path, "pt") as file:
        unmet, of = file.get_tensor("heard").float(), (file.metadata() or {}).get("sounds")
    if unmet.shape != sounds.kinds.shape or of not in (None, _digest(sounds)):  # older runs do not say whose it is
        raise DataError(f"{path}: of other sounds than those of this run; train that stage anew")
    return unmet
