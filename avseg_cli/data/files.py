"""Reading a clip's files: frames, masks in every stored mode, sound, log-mel, object maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from avseg_cli.base.errors import DataError
from avseg_cli.data.clips import Clip
from avseg_cli.data.pickled_tensor import REMAKE, read_pickled_tensor
from avseg_cli.data.subsets import MASK_SIZE
from avseg_cli.model.log_mel import EXAMPLE_FRAMES, MEL_BANDS, SAMPLE_RATE, clip_log_mel

CHECK = "`avseg prepare --check` lists what a data root lacks"
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what opening a picture may end in
PREPARE = "`avseg prepare` makes it from the raw video"


def read_image(path: Path, mode: str | None = None, cure: str = CHECK) -> np.ndarray:
    """A picture as an array in the given PIL mode (None: as stored). Raises ``DataError``, with the cure of a gap."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode) if mode and image.mode != mode else image)
    except FileNotFoundError as error:
        raise DataError(f"{path}: missing; {cure}") from error
    except UNREADABLE as error:
        raise DataError(f"{path}: not a readable picture ({error})") from error


def read_frames(clip: Clip) -> np.ndarray:
    """The frames of a clip, uint8 (T, H, W, 3) RGB."""
    frames = [read_image(path, "RGB") for path in clip.frames]
    if len({frame.shape for frame in frames}) > 1:
        raise DataError(f"{clip.frames[0].parent}: the frames of this clip differ in size")
    return np.stack(frames)


def read_mask(path: Path) -> np.ndarray:
    """A ground-truth mask as bool (224, 224): gray 0/255, one bit, palette index or colour, true where > 0."""
    mask = _brightest(read_image(path)) > 0
    if mask.shape != (MASK_SIZE, MASK_SIZE):
        resized = Image.fromarray(mask).resize((MASK_SIZE, MASK_SIZE), Image.Resampling.NEAREST)
        mask = np.asarray(resized)
    return mask


def read_prediction(path: Path) -> np.ndarray:
    """A predicted mask as probabilities, float32 (224, 224): the brightness of grey and colour as a share of white;
    0 or 1 where a picture has one bit, or a palette, whose index counts."""
    picture = _brightest(read_image(path))
    white = {np.dtype(bool): 1, np.dtype(np.uint8): 255}.get(picture.dtype, 65535)
    soft = picture.astype(np.float32) / np.float32(1 if _has_palette(path) else white)
    soft = soft.clip(0, 1)
    if soft.shape != (MASK_SIZE, MASK_SIZE):
        soft = np.asarray(Image.fromarray(soft).resize((MASK_SIZE, MASK_SIZE), Image.Resampling.NEAREST))
    return soft


def _has_palette(path: Path) -> bool:
    with Image.open(path) as image:
        return image.mode == "P"


def _brightest(picture: np.ndarray) -> np.ndarray:
    """The largest channel of a picture in grey or colour, (H, W); alpha is not part of a label."""
    if picture.ndim == 2:
        return picture
    return picture[..., : 1 if picture.shape[-1] == 2 else 3].max(-1)


def read_masks(clip: Clip) -> np.ndarray:
    """The annotated frames' masks, bool (A, 224, 224)."""
    return np.stack([read_mask(path) for path in clip.masks])


def read_object_maps(clip: Clip) -> np.ndarray:
    """The category of every pixel, uint8 (T, H, W): 0 background, 1-based category, 255 an object without one."""
    if not clip.object_maps:
        raise DataError(f"{clip.name}: no object map; this needs data made by `avseg synth`")
    return np.stack([read_image(path) for path in clip.object_maps])


def read_waveform(path: Path, cure: str = PREPARE) -> np.ndarray:
    """A sound file as mono float32 at 16 kHz, the mean of its channels. Raises ``DataError``, with the cure."""
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        cause = "missing" if not path.exists() else f"not a readable sound file ({error})"
        raise DataError(f"{path}: {cause}; {cure}") from error
    mono = samples.mean(axis=1)
    if rate == SAMPLE_RATE:
        return mono
    import soxr

    return soxr.resample(mono, rate, SAMPLE_RATE)


def read_log_mel(clip: Clip) -> Tensor:
    """A clip's log-mel (T, 1, 96, 64): from its wav, else from AVSBench's pickled tensor. Raises ``DataError``."""
    if clip.wav.exists() or clip.log_mel is None or not clip.log_mel.exists():
        return clip_log_mel(read_waveform(clip.wav), len(clip.frames))
    return _read_pickled_log_mel(clip.log_mel, len(clip.frames))


def _read_pickled_log_mel(path: Path, frames: int) -> Tensor:
    tensor = read_pickled_tensor(path)
    shape = (frames, 1, EXAMPLE_FRAMES, MEL_BANDS)
    if tuple(tensor.shape) != shape or not tensor.is_floating_point():
        raise DataError(f"{path}: expected floats of shape {shape}; {REMAKE}")
    if tensor.layout != torch.strided or not torch.isfinite(tensor).all():
        raise DataError(f"{path}: has values that are not finite numbers; {REMAKE}")
    return tensor.float()
