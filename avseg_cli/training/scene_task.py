"""Stage 2 on scenes that are composed as they are learnt from: adapters, finer features, ST-BAVA and the decoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from avseg_cli.base.sharing import Sharing
from avseg_cli.data.dataset import Sample
from avseg_cli.data.photo_features import PhotoFeatures
from avseg_cli.data.photo_views import UNKNOWN
from avseg_cli.data.sound_features import SoundFeatures
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.modes import in_eval
from avseg_cli.training.drawn import DrawnTask
from avseg_cli.training.losses import KNOWN_LOSSES
from avseg_cli.training.scenes import Scenes, SceneSample
from avseg_cli.training.tasks import TaskSetup, on_device

CROPS = (14, 16, 18, 20)  # sides, in parts of 32 of the grid
WHOLE = 0.08  # of the batches see whole pictures
VAL_SCENES = 160
LEAST_UNMET = 0.3  # how far a sound is heard as by a network that never met it, at least

Window = tuple[int, int, int]  # row and column of a corner, and side, in tokens


class SceneModule(nn.Module):
    """From scenes to their losses. The neck stays as it is; what is seen and heard is looked at as a whole, the rest
    in a window."""

    def __init__(self, model: AvsegModel, loss: str, device: torch.device) -> None:
        super().__init__()
        self.model, self.loss, self.device = model, KNOWN_LOSSES[loss], device

    def logits(self, scenes: Sequence[SceneSample], window: Window) -> Tensor:
        """(B, T, 4 side, 4 side), in the window of every scene."""
        encoder = self.model.image_encoder
        features = [on_device(each, self.device) for each in zip(*(s.features for s in scenes), strict=True)]
        sound = on_device([scene.sound for scene in scenes], self.device)  # (B, T, H)
        time = sound.shape[1]
        with torch.no_grad():
            tokens, seen = encoder.look(features[2], features[3])
        tokens = cut(tokens, window)[:, None].expand(-1, time, -1, -1, -1)
        if encoder.adapters is not None:
            with torch.no_grad():
                seconds = seen.sigmoid().repeat_interleave(time, 0)
                facts = cut(encoder.adapters.facts(seconds, sound.flatten(0, 1)), window)
            tokens = tokens + encoder.adapters.term(facts).unflatten(0, (-1, time))
        finer = encoder.finer(cut(features[0], window, 4), cut(features[1], window, 2))
        embeddings = torch.cat([tokens, finer[:, None].expand(-1, time, -1, -1, -1)], 2)
        return self.model.decode(embeddings, sound, window[:2]).float()

    def forward(self, scenes: Sequence[SceneSample], window: Window) -> Tensor:
        """One loss a scene."""
        truth = cut(on_device([scene.truth for scene in scenes], self.device), window, 4).flatten(0, 1)
        logits = self.logits(scenes, window).flatten(0, 1)
        return self.loss(logits, (truth == 1).float(), (truth != UNKNOWN).float()).view(len(scenes), -1).mean(1)


def cut(x: Tensor, window: Window, scale: int = 1) -> Tensor:
    """The window of (..., scale g, scale g)."""
    row, column, side = (scale * value for value in window)
    return x[..., row : row + side, column : column + side]


class SceneTask(DrawnTask):
    """Each epoch draws as many scenes as there are views; the best is chosen on scenes of photographs held out."""

    def __init__(
        self, model: AvsegModel, setup: TaskSetup, photos: PhotoFeatures, sounds: SoundFeatures, unmet: Tensor
    ) -> None:
        self.setup, self.grid = setup, model.config.grid
        self.module = SceneModule(model, setup.recipe.loss, setup.device)
        vectors = heard_vectors(model, sounds, unmet, setup)
        parts = [[view for view in photos.views if view.held_out is held] for held in (False, True)]
        self.train = Scenes(photos, parts[0], sounds, vectors, model.config)
        self.val = Scenes(photos, parts[1], sounds, unmet, model.config)
        self.draws = len(parts[0])

    def draw(self, rng: np.random.Generator, count: int) -> list[Sample]:
        return [self.train.draw(rng, number) for number in range(count)]

    def loss(self, module: nn.Module, samples: list[Sample]) -> Tensor:
        return module(samples, self._window())

    def _window(self) -> Window:
        """A part of the pictures, the same for a batch, by torch's global randomness: a resumed run restores it."""
        share = CROPS[int(torch.randint(len(CROPS), ()))] / 32
        whole = not self.setup.recipe.augment or float(torch.rand(())) < WHOLE
        side = self.grid if whole else max(1, round(share * self.grid))
        row, column = torch.randint(self.grid - side + 1, (2,)).tolist()
        return row, column, side

    @torch.inference_mode()
    def validate(self, sharing: Sharing) -> list[tuple[dict[str, float], float]]:
        """Mean IoU of seconds in which something is to be marked, and the share of the others kept empty."""
        figures = []
        for number in range(sharing.rank, VAL_SCENES, sharing.world):
            scene = self.val.draw(np.random.default_rng(number), number)
            with self.setup.autocast():
                masks = self.module.logits([scene], (0, 0, self.grid))[0].cpu() > 0
            for mask, truth in zip(masks, scene.truth, strict=True):
                figures.append(_figures(mask & (truth != UNKNOWN), truth == 1))
        return [_summed(figures)]


def _figures(mask: Tensor, truth: Tensor) -> tuple[bool, float]:
    """Whether something sounds, and IoU, or whether the mask is empty."""
    if truth.any():
        return True, float((mask & truth).sum() / (mask | truth).sum())
    return False, float(not mask.any())


def _summed(figures: list[tuple[bool, float]]) -> tuple[dict[str, float], float]:
    means = {}
    for name, sounding in (("val_miou", True), ("val_kept_empty", False)):
        values = [value for sounds, value in figures if sounds is sounding]
        means[name] = sum(values) / max(1, len(values))
    return {"score": sum(means.values()) / 2, **means}, float(len(figures))


@torch.inference_mode()
def heard_vectors(model: AvsegModel, sounds: SoundFeatures, unmet: Tensor, setup: TaskSetup) -> Tensor:
    """What the model learns to go by: between what it hears itself, and what it would of sounds that it never met."""
    with in_eval(model.vggish):
        parts = [model.vggish.describe(part.float().to(setup.device)).cpu() for part in sounds.features.split(4096)]
    share = torch.rand(len(unmet), 1, generator=torch.Generator().manual_seed(setup.seed))
    share = LEAST_UNMET + (1 - LEAST_UNMET) * share
    return share * unmet + (1 - share) * torch.cat(parts)
