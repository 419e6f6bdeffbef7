"""The whole model, as in the paper's figure: encoder and VGGish, ST-BAVA, mask decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.model.backbones import build_image_encoder, build_sound_network
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.edge import ModelEdge
from avseg_cli.model.float32 import in_float32
from avseg_cli.model.fusion import FUSIONS, build_fusion
from avseg_cli.model.mask_decoder import MaskDecoder
from avseg_cli.model.positional import RandomFourierPositions


class AvsegModel(ModelEdge, nn.Module):
    """Frames and their sound in, logits of "this pixel sounds" out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.vggish = build_sound_network(config)
        self.image_encoder = build_image_encoder(config)
        prompted = FUSIONS[config.fusion].prompts
        self.audio_embed = nn.Linear(config.audio_dim, config.out_chans) if prompted else None
        self.no_mask_embed = None if prompted else nn.Embedding(1, config.out_chans)
        self.positions = RandomFourierPositions(config.out_chans)
        self.fusion = build_fusion(config)
        self.mask_decoder = MaskDecoder(config)

    def set_precision(self, dtype: torch.dtype) -> AvsegModel:
        """Run encoder, fusion and decoder in ``dtype``; VGGish and the audio linear stay float32 (they are cheap)."""
        for part in (self.image_encoder, self.fusion, self.mask_decoder):
            if part is not None:
                part.to(dtype)
        return self

    def embed_sound(self, log_mel: Tensor) -> Tensor:
        """VGGish on (..., 1, 96, 64) log-mel -> (..., 128)."""
        flat = log_mel.reshape(-1, *log_mel.shape[-3:])
        with in_float32(flat.device):
            return self.vggish(flat).view(*log_mel.shape[:-3], -1)

    def embed_frames(self, frames: Tensor, sound: Tensor | None) -> Tensor:
        """Normalised frames (N, 3, S, S), each with its raw sound vector (N, 128) -> (N, E, g, g).

        E is C, and more where the encoder hands finer features to the decoder: folded, behind the tokens.

        A frame's embedding depends on that frame and its own sound only: compute it once, use it in
        every clip the frame is part of. ``sound`` None leaves the adapters out (training stage 1a).
        """
        dtype = self.image_encoder.dtype
        return self.image_encoder(frames.to(dtype), None if sound is None else sound.to(dtype))

    def embed_and_place(self, frames: Tensor, sound: Tensor) -> tuple[Tensor, Tensor | None]:
        if not (self.config.seen_kinds and self.config.adapters):  # the adapters relate what is heard to what is seen
            return super().embed_and_place(frames, sound)
        dtype = self.image_encoder.dtype
        return self.image_encoder(frames.to(dtype), sound.to(dtype), placed=True)

    def decode(self, embeddings: Tensor, sound: Tensor, corner: tuple[int, int] = (0, 0)) -> Tensor:
        """Fuse a clip and predict: embeddings (B, T, E, g, g), sound (B, T, 128) -> logits (B, T, 4g, 4g).

        Embeddings of a square cut out of the grid of tokens, whose ``corner`` is at (row, column), give its logits.

        The logits are the sum of the decoder's three masks; mask = sigmoid(logit) > 0.5 after
        ``upsample``. SAMA-AVS's are its decoder's single mask.
        """
        if self.no_mask_embed is not None:
            return self._decode_unprompted(embeddings)
        visual, audio, positions = self.fusion_inputs(embeddings, sound, corner)
        pixels = visual
        if self.fusion is not None:
            fused, audio = self.fusion(visual, audio, positions)
            pixels = visual + fused
        sparse = audio.flatten(0, 1)[:, None].repeat(1, 2, 1)  # the audio token, twice: (B*T, 2, C)
        logits = self.mask_decoder(pixels.flatten(0, 1), sparse, positions, self._fine(embeddings))
        return steadied(logits.float(), self.config.smoothing).view(*audio.shape[:2], *logits.shape[-2:])

    def fusion_inputs(
        self, embeddings: Tensor, sound: Tensor, corner: tuple[int, int] = (0, 0)
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What enters ST-BAVA: pixels V (B, T, N, C), sound A_0 (B, T, C), positions P_v (N, C)."""
        assert self.audio_embed is not None, "a model whose decoder is not prompted fuses nothing"
        visual, positions = self._seen(embeddings, corner)
        with in_float32(sound.device):
            audio = F.normalize(self.audio_embed(sound.to(self.audio_embed.weight.dtype)), dim=-1)
        audio = audio.to(visual.dtype)
        return visual, audio, positions

    def _seen(self, embeddings: Tensor, corner: tuple[int, int] = (0, 0)) -> tuple[Tensor, Tensor]:
        """Pixels (B, T, N, C) and their positions (N, C), as the decoder computes."""
        rows, columns = (slice(at, at + side) for at, side in zip(corner, embeddings.shape[-2:], strict=True))
        dtype = self.mask_decoder.iou_token.weight.dtype
        visual = embeddings[:, :, : self.config.out_chans].flatten(3).transpose(2, 3).to(dtype)
        positions = self.positions(self.config.grid).unflatten(0, (self.config.grid, -1))[rows, columns]
        return visual, positions.flatten(0, 1).to(dtype)

    def _fine(self, embeddings: Tensor) -> Tensor:
        """What the encoder has for the decoder behind the tokens: (B*T, N, E - C)."""
        fine = embeddings[:, :, self.config.out_chans :].flatten(3).transpose(2, 3).flatten(0, 1)
        return fine.to(self.mask_decoder.iou_token.weight.dtype)

    def _decode_unprompted(self, embeddings: Tensor) -> Tensor:
        """As SAMA-AVS: no sparse prompt, SAM's "no mask" as the dense one, the single mask instead of the three."""
        assert self.no_mask_embed is not None, "a model whose decoder is prompted"
        visual, positions = self._seen(embeddings)
        pixels = (visual + self.no_mask_embed.weight.to(visual.dtype)).flatten(0, 1)
        nothing = pixels.new_empty(len(pixels), 0, pixels.shape[-1])
        logits = self.mask_decoder(pixels, nothing, positions, self._fine(embeddings), single=True)
        return logits.float().view(*visual.shape[:2], *logits.shape[-2:])

    def forward(self, frames: Tensor, log_mel: Tensor) -> Tensor:
        """A clip, or a batch of clips, to low-resolution logits.

        frames: uint8 (T, H, W, 3) or (B, T, H, W, 3) RGB of any size, or float (T, 3, S, S) /
        (B, T, 3, S, S) already normalised; log_mel: (T, 1, 96, 64) or (B, T, 1, 96, 64).
        Returns (T, 4g, 4g) or (B, T, 4g, 4g).
        """
        one_clip = log_mel.dim() == 4
        if one_clip:
            frames, log_mel = frames[None], log_mel[None]
        batch, time = log_mel.shape[:2]
        flat = frames.flatten(0, 1)
        if not flat.is_floating_point():
            flat = self.preprocess(flat)
        sound = self.embed_sound(log_mel)  # (B, T, 128)
        embeddings = self.embed_frames(flat, sound.flatten(0, 1)).unflatten(0, (batch, time))
        logits = self.decode(embeddings, sound)
        return logits[0] if one_clip else logits


def steadied(logits: Tensor, side: int) -> Tensor:
    """The mean of the ``side`` x ``side`` logits around each, (N, h, w): single stray pixels go, outlines calm down."""
    if side == 1:
        return logits
    around = F.pad(logits[:, None], (side // 2,) * 4, mode="replicate")
    return F.avg_pool2d(around, side, 1)[:, 0]
