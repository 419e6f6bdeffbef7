"""What the model finds at one instant of a video."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from avseg_cli.base.errors import InputError
from avseg_cli.base.grids import resized
from avseg_cli.base.whole_files import write_whole
from avseg_cli.base.writing import writing
from avseg_cli.outputs.cleanup import Cleanup
from avseg_cli.outputs.heard import NOTHING, Heard, called, in_words, known
from avseg_cli.outputs.logits import logit, probability
from avseg_cli.outputs.sources import Sketch, Source, sketches, told_apart
from avseg_cli.outputs.stills import highlighted
from avseg_cli.outputs.style import Style
from avseg_cli.outputs.tidy import tidied
from avseg_cli.outputs.unmarked import PAUSE, QUIET
from avseg_cli.tracks.naming import Placed
from avseg_cli.tracks.pieces import territories
from avseg_cli.tracks.tracker import Tracked

USUAL = 0.11  # seconds, at most, from the time of a picture of 24 a second to the end of its step


@dataclass(frozen=True)
class MaskResult:
    """What sounds at one instant of a video.

    index counts the masks from 0; time is that of the frame the mask belongs to and end that of the step it stands for,
    both in seconds from the start of the file; the second of sound it was heard with ends ``ahead`` seconds after that
    step, where there are several masks a second. logits are the model's (h, w) float32, before upsampling; size is the
    (height, width) of the upright video. heard are the kinds of sounds of that second with their probabilities, the
    strongest first; empty where the model names none. loudness is the second's root mean square in dB of full scale,
    spectrum its log-mel in 16 bands each 10 ms, float16 (96, 16). frame is the picture that the mask belongs to, uint8
    RGB (H, W, 3), for ``segment_video(…, keep_frames=True)``, else None. placed says where kinds of things are both
    seen and heard, as probabilities (g, g); tracked which source each part of the mask belongs to, None where they are
    not told apart. cleanup is what is done to the mask, and to all that is drawn of it; the logits stay the model's.
    guide is the picture that outlines are fitted to, small, where they are. cuts are when, in seconds, the scene
    changed since the mask before. ruled_out is why nothing of this second was to be marked, whatever the model found,
    and faint whether it is too quiet for a name: see ``unmarked``.
    """

    index: int
    time: float
    end: float
    logits: np.ndarray
    size: tuple[int, int]
    image_size: int
    threshold: float = 0.5
    heard: Heard = ()
    loudness: float = 0.0
    spectrum: np.ndarray | None = None
    frame: np.ndarray | None = None
    placed: Placed = field(default_factory=dict)
    tracked: Tracked | None = None
    cleanup: Cleanup = Cleanup()
    guide: np.ndarray | None = None
    cuts: tuple[float, ...] = ()
    ruled_out: str = ""
    faint: bool = False
    ahead: float = 0.0

    @property
    def moment(self) -> float:
        """When it counts, in seconds: at the time of its picture, or of one that is held at each step that shows it."""
        return max(self.time, self.end - USUAL)

    @property
    def sound_end(self) -> float:
        """When the second of sound that was heard ends, in seconds."""
        return self.end + self.ahead

    def __repr__(self) -> str:
        return (
            f"MaskResult(index={self.index}, time={self.time:.3f}, size={self.size}, confidence={self.confidence:.3f})"
        )

    @cached_property
    def mask(self) -> np.ndarray:
        """What sounds, at the video's resolution: bool (H, W)."""
        return self.mask_at(self.size)

    def mask_at(self, size: tuple[int, int]) -> np.ndarray:
        """The mask at another (height, width)."""
        logits = self.cleaned
        if logits is self.logits:  # of the model's own grid: in two steps, as ``transforms.upsample_logits``
            logits = resized(logits, (self.image_size, self.image_size))
        return resized(logits, size) > logit(self.threshold)

    @cached_property
    def cleaned(self) -> np.ndarray:
        """The logits after clean-up, float32 on a grid of its own; the same array where nothing is cleaned."""
        return tidied(self.logits, logit(self.threshold), self.size, self.cleanup, self.guide)

    def save(self, path: str | Path) -> None:
        """Write the mask as a greyscale picture, 255 where something sounds; the name says which kind, as in .png.

        Raises ``OutputError`` when the system refuses.
        """
        path, picture = Path(path), Image.fromarray(255 * self.mask.astype(np.uint8))
        kind = Image.registered_extensions().get(path.suffix.lower())
        if kind is None:
            raise InputError(f"{path}: no kind of picture ends in {path.suffix!r}; take .png")
        with writing(path):
            write_whole(path, lambda partial: picture.save(partial, kind))

    def overlay(self, style: Style | None = None, frame: np.ndarray | None = None) -> np.ndarray:
        """The frame with what sounds highlighted as in the overlay of a video: uint8 RGB (H, W, 3).

        frame: another picture of the video's size than the one that was kept. Raises ``InputError`` without either.
        """
        pixels = self.frame if frame is None else frame
        if pixels is None:
            raise InputError("no frame was kept; ask for it with segment_video(…, keep_frames=True), or give one")
        drawn = self.cleaned, self.territories, self.image_size, self.threshold, style or Style(), self.tracked
        return highlighted(pixels, *drawn)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The things that sound, by their numbers, without crumbs of the mask; number 1 alone if not told apart."""
        if self.tracked is not None:
            return told_apart(self.mask, self.logits, self.tracked, self.cleanup.reach(self.size))
        return (Source(1, "", self.confidence, self.size, (0, 0), self.mask),) if self.mask.any() else ()

    @property
    def sketches(self) -> tuple[Sketch, ...]:
        """As ``sources``, without their pixels, which cost time; where clean-up changes the mask they are needed."""
        if self.tracked is not None and self.cleanup.idle:
            return sketches(self.tracked, self.size)
        return tuple(Sketch(source.id, source.label, source.area) for source in self.sources)

    @cached_property
    def territories(self) -> np.ndarray:
        """The number of the nearest source at each place of the logits, int32 (h, w); 0 where there is none."""
        if self.tracked is not None:
            return territories(np.maximum(self.tracked.numbers, 0))
        return np.full(self.logits.shape, int((self.logits > logit(self.threshold)).any()), np.int32)

    @cached_property
    def unmarked(self) -> str:
        """Why nothing is marked though something is heard: "a pause", "a voice, no face seen"; else empty.

        Empty too where the model finds nothing in a second as loud as others.
        """
        if (self.logits > logit(self.threshold)).any():
            return ""
        return PAUSE if self.faint else self.ruled_out

    @property
    def known(self) -> Heard:
        """The kinds of sounds that can be named with some confidence; none in a pause."""
        return () if self.unmarked == PAUSE else known(self.heard, self.loudness)

    @property
    def called(self) -> str:
        """The name of what is heard most: "dog", "unknown sound", "quiet" in a pause, "nothing"; empty where the model
        names nothing."""
        name = called(self.heard, self.loudness)
        return QUIET if self.unmarked == PAUSE and name != NOTHING else name

    def hears(self, most: int = 1) -> str:
        """As ``called``, with probabilities and ``most`` kinds at most: "dog 0.93, siren 0.41"."""
        return in_words(self.known, self.loudness, most) if self.known else self.called

    @property
    def area(self) -> int:
        """Pixels of the mask at the video's resolution."""
        return int(np.count_nonzero(self.mask))

    @property
    def confidence(self) -> float:
        """How sure the model is, 0 to 1: the mean probability inside the mask; for an empty mask, that of silence.

        The latter is 1 minus the highest probability of any pixel. Measured at the model's own resolution.
        """
        sure = probability(self.logits)
        inside = sure[sure > self.threshold]
        return float(inside.mean()) if inside.size else float(1 - sure.max())
