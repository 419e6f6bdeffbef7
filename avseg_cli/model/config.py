"""The one configuration of the model; it is stored in every checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from avseg_cli.base.errors import CheckpointError
from avseg_cli.model.fusion import FUSIONS

MAX_GRID = 256  # tokens a side; SAM has 64
MAX_KINDS = 2048
LATER = ("kinds", "seen_kinds", "smoothing")  # fields that older checkpoints lack; their defaults describe them
RANGES = {       # what a model can be made of; ViT-H lies well inside
    "image_size": (8, 4096), "patch_size": (1, 64), "embed_dim": (1, 4096), "depth": (1, 64), "num_heads": (1, 64),
    "window_size": (0, 256), "out_chans": (1, 2048), "decoder_mlp_dim": (1, 16384), "adapter_dim": (1, 4096),
    "audio_dim": (1, 4096), "fusion_depth": (0, 64), "fusion_heads": (1, 64), "clip_frames": (1, 64),
    "smoothing": (1, 9),
}  # fmt: skip


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shape of the model.

    Backbone fields follow segment_anything's ``ImageEncoderViT``. The defaults are SAM's ViT-B and the
    paper's MS3 fusion (depth 7). Raises ``CheckpointError`` for values that cannot make a model.
    """

    backbone: str = "vit_b"
    image_size: int = 1024  # pixels, square
    patch_size: int = 16  # pixels per token side
    stem: str = "patch"  # how the encoder begins: SAM's one convolution; each encoder knows its own
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    window_size: int = 14  # tokens
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    out_chans: int = 256  # C, shared by neck, fusion and decoder
    decoder_mlp_dim: int = 2048
    adapters: bool = True
    adapter_dim: int = 512
    audio_dim: int = 128  # VGGish's output
    vggish_width: float = 1.0  # 1.0 is VGGish; tiny models use narrower layers
    fusion: str = "stbava"
    fusion_depth: int = 7  # paper: 5 for S4, 7 for MS3
    fusion_heads: int = 8
    temporal: bool = True  # ablation, paper Table 6.3
    bidirectional: bool = True  # ablation, paper Table 6.3
    clip_frames: int = 5  # T, one frame a second
    kinds: tuple[str, ...] = ()  # of sounds; with them a sound vector is their probabilities, in this order
    smoothing: int = 1  # side, in low-resolution pixels, of the mean that steadies the logits; 1: as SAM
    seen_kinds: tuple[str, ...] = ()  # of things that the image encoder knows

    def __post_init__(self) -> None:
        for name in ("global_blocks", "kinds", "seen_kinds"):
            if isinstance(getattr(self, name), list):  # as JSON has it
                object.__setattr__(self, name, tuple(getattr(self, name)))
        problem = self._ill_typed() or self._problem()
        if problem:
            raise CheckpointError(f"the model configuration is not valid: {problem}")

    def _ill_typed(self) -> str | None:
        """A field that no model can have: configurations come from files that anybody may have written."""
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                return f"{name} is {value!r}, not a whole number from {least} to {most}"
        for name in ("adapters", "temporal", "bidirectional"):
            if type(getattr(self, name)) is not bool:
                return f"{name} is {getattr(self, name)!r}, not true or false"
        if type(self.vggish_width) not in (int, float) or not 0 < self.vggish_width <= 1:
            return f"vggish_width is {self.vggish_width!r}, not more than 0 and at most 1"
        blocks = self.global_blocks
        if not isinstance(blocks, tuple) or any(type(b) is not int or not 0 <= b < self.depth for b in blocks):
            return f"global_blocks is {blocks!r}, not a list of block numbers"
        for name in ("kinds", "seen_kinds"):
            kinds = getattr(self, name)
            if not isinstance(kinds, tuple) or not all(isinstance(k, str) for k in kinds) or len(kinds) > MAX_KINDS:
                return f"{name} is not a list of at most {MAX_KINDS} names"
        wrong = (name for name in ("backbone", "stem") if not isinstance(getattr(self, name), str))
        return next((f"{name} is {getattr(self, name)!r}" for name in wrong), None)

    def _problem(self) -> str | None:
        if self.image_size % self.patch_size:
            return f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}"
        if self.grid > MAX_GRID:
            return f"image_size {self.image_size} makes {self.grid} tokens a side, more than {MAX_GRID}"
        if self.embed_dim % self.num_heads or self.out_chans % (2 * self.fusion_heads):
            return "a width is not divisible by its number of heads"
        if self.smoothing % 2 == 0:
            return f"smoothing is {self.smoothing}, not an odd number of pixels"
        if self.kinds and len(self.kinds) != self.audio_dim:
            return f"kinds has {len(self.kinds)} names, audio_dim says {self.audio_dim}"
        if self.fusion not in FUSIONS:
            return f"fusion is {self.fusion!r}, not one of {', '.join(FUSIONS)}"
        if not (FUSIONS[self.fusion].prompts or self.adapters):
            return f"fusion {self.fusion} hears with its adapters alone, and this model has none"
        return None

    @property
    def grid(self) -> int:
        """Tokens per image side."""
        return self.image_size // self.patch_size

    @property
    def low_res(self) -> int:
        """Side of the decoder's logit maps in pixels."""
        return 4 * self.grid

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Strict inverse of ``to_dict``; raises ``CheckpointError`` naming missing and unknown fields."""
        known = {field.name for field in fields(cls)}
        missing, unknown = sorted(known - set(values) - set(LATER)), sorted(set(values) - known)
        if missing or unknown:
            raise CheckpointError(
                "the checkpoint's configuration does not fit this version of avseg: "
                f"missing {missing or 'nothing'}, unknown {unknown or 'nothing'}"
            )
        try:
            return cls(**values)
        except TypeError as error:
            raise CheckpointError(f"the checkpoint's configuration is malformed: {error}") from error
