"""An image encoder that knows what kinds of things make sounds: EfficientNet-Lite's features, a neck to SAM's tokens.

ImageNet's class vectors are put on every position of the last features; the probabilities of the classes of one kind
(all dogs, say) are summed. These maps, sharpened by what photographs with masks teach, say where each kind is
*seen*. The adapters multiply them with what is *heard*: where a kind is both, the token says so. Strides 4 and 8 go
with the tokens to the mask decoder, which joins them in at its upscaling (as SAM 2 does).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.model.config import ModelConfig
from avseg_cli.model.efficientnet import CLASSES, HEAD, LiteTrunk
from avseg_cli.model.float32 import in_float32
from avseg_cli.model.image_encoder import LayerNorm2d
from avseg_cli.model.transforms import statistics

_LEAST = 1e-4  # probability below which a class map says nothing


class HeardAndSeen(nn.Module):
    """The audio adapter: where what is heard is seen, and where other things are seen, as a term for every token.

    It never reads which kind it is, so kinds with few photographs gain by those with many.
    """

    FACTS = 6

    relation: Tensor

    def __init__(self, heard: int, seen: int, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.heard = heard
        self.register_buffer("relation", torch.zeros(heard, seen))  # how likely a sound of a kind is a thing of a kind
        self.lin1, self.lin2 = nn.Conv2d(self.FACTS, hidden, 1), nn.Conv2d(hidden, width, 1)

    def forward(self, seen: Tensor, sound: Tensor) -> Tensor:
        """Probabilities seen (B, S, g, g) and the raw sound vector (B, audio_dim) -> (B, C, g, g)."""
        return self.term(self.facts(seen, sound).to(seen.dtype))

    def term(self, facts: Tensor) -> Tensor:
        """(B, 6, g, g) -> (B, C, g, g), position by position."""
        return self.lin2(F.gelu(self.lin1(facts)))

    def wanted(self, sound: Tensor) -> Tensor:
        """(B, audio_dim) -> (B, S): the probability that a kind of thing sounds, by what is heard alone."""
        heard = sound[:, : self.heard].clamp(0, 1)
        return _any(heard[:, :, None] * self.relation, 1)

    def facts(self, seen: Tensor, sound: Tensor) -> Tensor:
        """(B, 6, g, g): the evidence, its logit, against the best of the picture, that best, what else is there.

        In float32: in 8 bits a probability near one is one, and its logit is infinite.
        """
        seen, sound = seen.float(), sound.float()
        wanted = self.wanted(sound)[:, :, None, None]
        both, other = _any(seen * wanted, 1, True), _any(seen * (1 - wanted), 1, True)  # (B, 1, g, g)
        best = both.amax((2, 3), keepdim=True)
        logit = torch.logit(both, _LEAST) / 5
        loudest = wanted.amax(1, keepdim=True).expand_as(both)
        return torch.cat([both, logit, both / (best + 0.02), best.expand_as(both), other, loudest], 1)


def _any(probabilities: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """The probability of at least one of independent events."""
    return 1 - torch.exp(torch.log1p(-probabilities.clamp(max=1 - _LEAST)).sum(dim, keepdim=keepdim))


class KindEncoder(nn.Module):
    """Frames (and the sound of each, through the adapters) -> tokens with finer features folded behind them."""

    members: Tensor
    packed = ()
    channels_last = True  # convolutions of few channels are fastest so

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, kinds = config.out_chans, len(config.seen_kinds)
        self.trunk = LiteTrunk(config.stem)
        fine4, fine8, middle, last = self.trunk.widths
        self.head, self.classes = nn.Conv2d(last, HEAD, 1), nn.Conv2d(HEAD, CLASSES, 1)
        self.register_buffer("members", torch.zeros(CLASSES, kinds))  # which ImageNet classes are of which kind
        self.neck = nn.Sequential(
            nn.Conv2d(middle + last + kinds, width, 1, bias=False),
            LayerNorm2d(width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            LayerNorm2d(width),
        )
        self.trust = nn.Parameter(torch.ones(1))  # in ImageNet's word for a kind
        self.usual = nn.Parameter(torch.zeros(kinds))
        self.sharpen = nn.Conv2d(width, kinds, 1)
        self.fine4, self.fine8 = nn.Conv2d(fine4, width // 8, 1), nn.Conv2d(fine8, width // 4, 1)
        self.adapters = HeardAndSeen(len(config.kinds), kinds, width) if config.adapters else None
        self.recompute = False  # of activations: its trunk is frozen and keeps none

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which frames and sound are taken."""
        return self.trust.dtype

    def forward(
        self, frames: Tensor, sound: Tensor | None = None, placed: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """(B, 3, S, S) normalised, (B, audio_dim) raw sound or None (adapters off) -> (B, C + fine, g, g).

        placed: also give (B, S, g, g), the probability that each kind of thing is seen there and heard; needs adapters.
        """
        features = self.features(frames)
        if not placed:
            return self.read(features, sound)
        assert self.adapters is not None and sound is not None, "what is heard is to be placed"
        tokens, seen = self.look(features[2], features[3])
        both = seen.sigmoid() * self.adapters.wanted(sound.float())[:, :, None, None]
        return self._joined(tokens, seen, features, sound), both

    def features(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the frozen trunk sees: (B, c, ., .) at strides 4, 8, 16 and 32. It takes (RGB - 127) / 128."""
        mean, std = (values.to(frames.dtype) for values in statistics(frames.device))
        return self.trunk((frames * std + mean - 127) / 128)

    def read(self, features: tuple[Tensor, Tensor, Tensor, Tensor], sound: Tensor | None = None) -> Tensor:
        """Features to (B, C + fine, g, g): the tokens, then strides 8 and 4 with their pixels folded into channels."""
        return self._joined(*self.look(features[2], features[3]), features, sound)

    def _joined(
        self, tokens: Tensor, seen: Tensor, features: tuple[Tensor, Tensor, Tensor, Tensor], sound: Tensor | None
    ) -> Tensor:
        if self.adapters is not None and sound is not None:
            tokens = tokens + self.adapters(seen.sigmoid(), sound)
        return torch.cat([tokens, self.finer(features[0], features[1])], 1)

    def finer(self, stride4: Tensor, stride8: Tensor) -> Tensor:
        """Strides 8 and 4 for the decoder, their pixels folded into channels: (B, fine, g, g)."""
        return torch.cat([F.pixel_unshuffle(self.fine8(stride8), 2), F.pixel_unshuffle(self.fine4(stride4), 4)], 1)

    def look(self, middle: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Strides 16 and 32 -> tokens (B, C, g, g) and the logits of each kind being there (B, S, g, g)."""
        maps = self.class_maps(last)
        maps, last = (F.interpolate(x, middle.shape[-2:], mode="bilinear", align_corners=False) for x in (maps, last))
        tokens = self.neck(torch.cat([middle, last, maps / 4], 1))
        return tokens, self.trust * maps + self.usual[:, None, None] + self.sharpen(tokens)

    @torch.no_grad()
    def class_maps(self, last: Tensor) -> Tensor:
        """Stride 32 -> (B, S, g/2, g/2): the logit that ImageNet's classes give each kind at each position."""
        classes = self.classes(F.relu6(self.head(last))).float().softmax(1)
        with in_float32(last.device):  # in 8 bits a probability near one is one, and its logit is infinite
            kinds = torch.einsum("bkhw,ks->bshw", classes, self.members.float())
            return torch.logit(kinds, _LEAST).to(last.dtype)
