"""Who predicts: a model, a folder of anyone's masks, SAM prompted with the truth, or a baseline that ignores sound.

A predictor maps samples to probabilities (clips, T, 224, 224); those that do not hear ignore ``log_mel``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from avseg_cli.base.errors import DataError, InputError, named
from avseg_cli.base.extras import extra
from avseg_cli.data.augment import nearest
from avseg_cli.data.clips import Clip
from avseg_cli.data.dataset import Sample
from avseg_cli.data.files import read_prediction
from avseg_cli.data.subsets import MASK_SIZE
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import sam_backbones
from avseg_cli.model.transforms import MEAN, STD
from avseg_cli.tracks.naming import Placed, placed

FRAMES_AT_ONCE = 10  # through the encoder
PROMPTS = "prompting SAM with the truth"  # as messages call it


class Predictor(Protocol):
    """``needs`` names the parts of a sample that it reads."""

    needs: frozenset[str]

    def predict(self, samples: Sequence[Sample]) -> list[Tensor]:
        """Probabilities of each clip, (T, 224, 224)."""
        ...


class ModelPredictor:
    """The model. Each frame goes through the encoder once; with other sound again only if it has adapters."""

    needs: frozenset[str] = frozenset(("frames", "log_mel"))

    def __init__(self, model: AvsegModel) -> None:
        self.model = model
        self._silent: dict[int, Tensor] = {}  # the last batch's embeddings, for a model without adapters

    def predict(self, samples: Sequence[Sample]) -> list[Tensor]:
        return [self.predict_clip(sample, sample.log_mel) for sample in samples]

    @torch.inference_mode()
    def predict_clip(self, sample: Sample, log_mel: Tensor) -> Tensor:
        """Probabilities (T, 224, 224) of a clip's frames heard with ``log_mel`` (T, 1, 96, 64)."""
        sound = self.model.embed_sound(log_mel.to(self.model.device))  # (T, 128)
        embeddings = self._embeddings(sample, sound)
        low = self.model.decode(embeddings[None], sound[None])[0]
        return self.model.postprocess(low, (MASK_SIZE, MASK_SIZE))

    @torch.inference_mode()
    def placed(self, sample: Sample) -> list[Placed]:
        """Where in each frame which kinds of things are seen and heard."""
        assert sample.log_mel is not None
        sound = self.model.embed_sound(sample.log_mel.to(self.model.device))
        _, maps = self.model.embed_and_place(self.model.preprocess(sample.frames), sound)
        return placed(self.model.config.seen_kinds, maps, len(sound))

    def _embeddings(self, sample: Sample, sound: Tensor) -> Tensor:
        adapted = self.model.config.adapters
        if not adapted and sample.index in self._silent:
            return self._silent[sample.index]
        frames = self.model.preprocess(sample.frames)
        parts = [
            self.model.embed_frames(f, s if adapted else None)
            for f, s in zip(frames.split(FRAMES_AT_ONCE), sound.split(FRAMES_AT_ONCE), strict=True)
        ]
        embeddings = torch.cat(parts)
        if not adapted:
            self._silent = {sample.index: embeddings}
        return embeddings


class FolderPredictor:
    """Anyone's masks, binary or grey: ``[{category}/]{name}/{name}_{k}.png``, k from 0 (as the authors name theirs)
    or 1 (as the truth is named)."""

    needs: frozenset[str] = frozenset()

    def __init__(self, folder: Path, clips: Sequence[Clip]) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder of predictions")
        self.paths = [_predicted(folder, clip) for clip in clips]
        self.graded = False  # whether any mask so far had values between 0 and 1
        self.brightest = 0.0

    def predict(self, samples: Sequence[Sample]) -> list[Tensor]:
        return [self._read(self.paths[sample.index]) for sample in samples]

    def _read(self, paths: Sequence[Path]) -> Tensor:
        masks = np.stack([read_prediction(path) for path in paths])
        self.graded = self.graded or bool(((masks > 0) & (masks < 1)).any())
        self.brightest = max(self.brightest, float(masks.max()))
        return torch.from_numpy(masks)

    @property
    def note(self) -> str:
        """What has to be said of figures from these masks."""
        if 0 < self.brightest < 2 / 255:
            return "no mask is brighter than 1 of 255, so all count as empty: write what sounds as 255"
        if self.graded:
            return "mIoU is of the masks cut at half grey, F of their grey values"
        return (
            "F is of binary masks, which its 255 thresholds cannot change: not comparable with published F, "
            "which is of probabilities"
        )


def prediction_folders(root: Path, clip: Clip) -> list[Path]:
    """Where a clip's predicted masks may be: below its category (S4) or not (MS3), below the split or not."""
    inside = [Path(clip.category) / clip.name] if clip.category else []
    inside.append(Path(clip.name))
    return [root / path for path in inside] + [root / clip.split / path for path in inside]


def _predicted(root: Path, clip: Clip) -> list[Path]:
    """A clip's predicted masks; raises ``DataError`` for the first that is missing."""
    folder = next((path for path in prediction_folders(root, clip) if path.is_dir()), None)
    if folder is None:
        raise DataError(f"{root}: no masks of clip {clip.name} there; expected {clip.name}/{clip.name}_0.png")
    first = 0 if (folder / f"{clip.name}_0.png").is_file() else 1
    paths = [folder / f"{clip.name}_{k + first}.png" for k in range(len(clip.masks))]
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: missing; write a mask for each of the {len(paths)} frames that have a truth")
    return paths


class ForegroundPredictor:
    """Every object that could sound, whether it does or not: what a model that ignores sound can reach."""

    needs: frozenset[str] = frozenset(("object_maps",))

    def predict(self, samples: Sequence[Sample]) -> list[Tensor]:
        return [self._at_size(sample).float() for sample in samples]

    def _at_size(self, sample: Sample) -> Tensor:
        maps = nearest(sample.object_maps, MASK_SIZE)
        return (maps > 0) & (maps < 255)


class CategoryPredictor:
    """Every object of one category, always."""

    needs: frozenset[str] = frozenset(("object_maps",))

    def __init__(self, number: int) -> None:
        self.number = number  # 1-based, as in the object maps

    def predict(self, samples: Sequence[Sample]) -> list[Tensor]:
        return [(nearest(sample.object_maps, MASK_SIZE) == self.number).float() for sample in samples]


class PromptPredictor:
    """SAM prompted with points or boxes of the truth's largest regions, untrained (Table 6.2, top).

    All points go into one prompt; each box is a prompt of its own and the masks are united. SAM gives one
    mask a prompt (multimask off). A frame with an empty truth gets an empty mask.
    """

    needs: frozenset[str] = frozenset(("frames", "masks"))

    def __init__(self, sam: torch.nn.Module, kind: str, count: int, seed: int = 0) -> None:
        with extra("reference", PROMPTS):
            from segment_anything import SamPredictor
        self.predictor, self.kind, self.count = SamPredictor(sam), kind, count
        self.random = np.random.default_rng(seed)

    @torch.inference_mode()
    def predict(self, samples: Sequence[Sample]) -> list[Tensor]:
        return [
            torch.stack([self._frame(f, m) for f, m in zip(sample.frames, sample.masks, strict=False)])
            for sample in samples
        ]

    def _frame(self, frame: Tensor, truth: Tensor) -> Tensor:
        regions = largest_regions(truth.numpy(), self.count)
        if not regions:
            return torch.zeros(MASK_SIZE, MASK_SIZE)
        height, width = frame.shape[:2]
        scale = np.array([width, height]) / MASK_SIZE  # the truth is at 224, SAM's prompts in the frame's pixels
        self.predictor.set_image(frame.numpy())
        if self.kind == "points":
            points = np.array([region_point(region, self.random) for region in regions]) * scale
            masks, _, _ = self.predictor.predict(points, np.ones(len(points)), multimask_output=False)
        else:
            boxes = np.array([region_box(region) for region in regions]) * np.tile(scale, 2)
            masks = np.concatenate([self.predictor.predict(box=box, multimask_output=False)[0] for box in boxes])
        united = torch.from_numpy(masks.any(0))
        return nearest(united[None], MASK_SIZE)[0].float()


def largest_regions(truth: np.ndarray, count: int) -> list[np.ndarray]:
    """The ``count`` largest connected regions of a mask, largest first, each bool (H, W)."""
    with extra("reference", PROMPTS):
        from scipy import ndimage
    labels, found = cast("tuple[np.ndarray, int]", ndimage.label(truth, structure=np.ones((3, 3))))
    areas = ndimage.sum_labels(truth, labels, range(1, found + 1))
    order = np.argsort(-np.asarray(areas), kind="stable")[:count]
    return [labels == number + 1 for number in order]


def region_point(region: np.ndarray, random: np.random.Generator) -> tuple[float, float]:
    """Its centre of mass (x, y), or a random inside point when that is outside."""
    y, x = np.argwhere(region).mean(0)
    if region[round(y), round(x)]:
        return float(x), float(y)
    rows, columns = np.nonzero(region)
    pick = random.integers(len(rows))
    return float(columns[pick]), float(rows[pick])


def region_box(region: np.ndarray) -> tuple[float, float, float, float]:
    """Its tight box (x0, y0, x1, y1), the last pixel included."""
    rows, columns = np.nonzero(region)
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)


def load_sam(backbone: str, device: torch.device) -> torch.nn.Module:
    """segment_anything's own SAM from the public file. Raises ``CheckpointError`` when it is not downloaded."""
    from avseg_cli.checkpoints.manifest import find
    from avseg_cli.checkpoints.state_files import read_state

    files = sam_backbones()
    if backbone not in files:
        raise InputError(f"{named('prompts')} needs one of SAM's backbones ({', '.join(files)}), not {backbone!r}")
    with extra("reference", PROMPTS):
        from segment_anything import sam_model_registry
    state = read_state(find(files[backbone]))
    with torch.device("meta"):  # else its weights are drawn at random first
        sam = sam_model_registry[backbone]()
    sam.load_state_dict(state, assign=True)
    sam.pixel_mean, sam.pixel_std = (
        torch.tensor(values).view(3, 1, 1) * 255 for values in (MEAN, STD)
    )  # not in the file
    return sam.to(device).eval()
