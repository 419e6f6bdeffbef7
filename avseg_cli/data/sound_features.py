"""What a frozen network hears in single seconds of recordings, as they are and changed, with the kinds of each."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from avseg_cli.base.errors import DataError
from avseg_cli.data.disk_rows import DiskRows, FillSetup, Place, hashed
from avseg_cli.data.listed import ListedRecording, digest, read_recordings
from avseg_cli.data.sound_seconds import SoundSecond, as_recorded, changed, cut_recordings
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.kinds import NO_SOUND
from avseg_cli.model.modes import in_eval

VERSIONS = 3  # of a second: as it is, and twice changed
CHUNK = 32
RECIPE = "4"  # one more when seconds are changed otherwise, or something else is read of what is heard


class SoundFeatures:
    """Features (N, F), kinds (N, H) and the source and fold of every version of every second."""

    def __init__(self, rows: DiskRows, seconds: list[SoundSecond]) -> None:
        self.features = torch.from_numpy(np.array(rows.arrays["features"]))
        self.kinds = torch.from_numpy(np.array(rows.arrays["kinds"])).float()
        self.folds = torch.tensor([second.fold for second in seconds]).repeat_interleave(VERSIONS)
        sources = np.unique([second.source for second in seconds], return_inverse=True)[1]
        self.sources = torch.from_numpy(sources).repeat_interleave(VERSIONS)
        self.as_recorded = torch.arange(len(self.features)) % VERSIONS == 0

    @classmethod
    def prepared(cls, root: Path, folder: str, model: AvsegModel, setup: FillSetup, limit: int | None) -> SoundFeatures:
        """Those of the recordings in ``folder``, kept under ``root``, with what is lacking computed now.

        limit: so many seconds of a kind. Raises ``DataError`` for recordings that cannot be used, and where there is
        no sound that is nobody's.
        """
        kinds = model.config.kinds
        recordings = read_recordings(folder, kinds)
        seconds = cut_recordings(recordings, limit)
        refuse_no_noise(folder, seconds)

        @torch.inference_mode()
        def compute(items: range) -> dict[str, np.ndarray]:
            heard = [_version(seconds, i) for i in items]
            examples = torch.cat([model.front_end(wave) for wave, _ in heard]).to(setup.device)
            labels = np.array([[kind in named for kind in kinds] for _, named in heard], np.uint8)
            return {"features": model.vggish.features(examples).half().cpu().numpy(), "kinds": labels}

        rows = {"features": ("float16", (model.vggish.FEATURES,)), "kinds": ("uint8", (len(kinds),))}
        count = len(seconds) * VERSIONS
        place = Place(root / f"sounds-{_key(folder, recordings, model, limit)}", count, rows, compute, CHUNK)
        with in_eval(model):
            (made,) = DiskRows.prepared([place], setup, "features of sounds")
        return cls(made, seconds)


def refuse_no_noise(folder: str, sounds: Sequence[SoundSecond | ListedRecording]) -> None:
    """Raise ``DataError`` where no sound is nobody's."""
    if not any(sound.kind == NO_SOUND for sound in sounds):
        raise DataError(f"{folder}: no sounds of {NO_SOUND!r}; noises that nothing visible makes are needed too")


def _version(seconds: list[SoundSecond], row: int) -> tuple[np.ndarray, set[str]]:
    """A version of a second by the number of its row: 0 as it is, the others changed, each in its own way."""
    second, version = seconds[row // VERSIONS], row % VERSIONS
    if version == 0:
        return as_recorded(second).astype(np.float32), {second.kind}
    return changed(second, seconds, np.random.default_rng((zlib.crc32(second.source.encode()), row)))


def _key(folder: str, recordings: Sequence[ListedRecording], model: AvsegModel, limit: int | None) -> str:
    """What features and labels depend on: the recordings, the network's weights, kinds, how seconds are changed."""
    weights = hashed(model.vggish.cnn.state_dict()).hexdigest()
    return digest(folder, recordings, json.dumps([weights, model.config.kinds, limit, VERSIONS, RECIPE]))
