"""The straightforward pipeline that ``avseg bench`` measures against, on the weights of one of our models.

segment_anything's encoder and decoder and torchvggish's network and front end are used as published, one
frame at a time; ST-BAVA is a plain transcription of the paper (section 3.3) with nn.MultiheadAttention
over repeated tokens. Nothing here is made fast: it is also what the tests compare the fast model with.
"""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import torch
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling import MaskDecoder as SamMaskDecoder
from segment_anything.modeling import TwoWayTransformer as SamTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torchvggish.torchvggish import VGG, make_layers
from torchvggish.vggish_input import waveform_to_examples

from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.log_mel import SAMPLE_RATE

MASK_SIZE = 224  # pixels; AVSBench's masks


class ReferenceEncoder(ImageEncoderViT):
    """SAM's encoder with SAMA-AVS's audio adapters: a term per block, added to every token of its input."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(
            img_size=config.image_size, patch_size=config.patch_size, embed_dim=config.embed_dim,
            depth=config.depth, num_heads=config.num_heads, out_chans=config.out_chans, use_rel_pos=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6), window_size=config.window_size,
            global_attn_indexes=config.global_blocks,
        )  # fmt: skip
        hidden = config.adapter_dim
        self.own = nn.ModuleList(nn.Linear(config.audio_dim, hidden) for _ in range(config.depth))
        self.shared = nn.Linear(hidden, config.embed_dim)

    def forward(self, frame: Tensor, sound: Tensor) -> Tensor:
        """One frame (1, 3, S, S) and its sound (1, 128) -> (1, C, g, g)."""
        x = self.patch_embed(frame) + self.pos_embed
        for block, own in zip(self.blocks, self.own, strict=True):
            x = block(x + self.shared(F.gelu(own(sound)))[:, None, None])
        return self.neck(x.permute(0, 3, 1, 2))


class PlainMLP(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(F.gelu(self.lin1(x)))


class PlainBlock(nn.Module):
    """One ST-BAVA block as the paper writes it; module names are those of the authors' checkpoints."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.embed_audio, self.embed_vis = PlainMLP(dim), PlainMLP(dim)
        self.embed_audio2, self.embed_av = PlainMLP(dim), PlainMLP(dim)
        self.avt_attention = nn.MultiheadAttention(dim, heads, dropout=0.1)
        self.avs_attention = nn.MultiheadAttention(dim, heads, dropout=0.1, batch_first=True)
        for name in ("norm1", "norm2", "norm3_1", "norm3_2", "norm4", "norm5_1", "norm5_2", "norm6"):
            setattr(self, name, nn.LayerNorm(dim))

    def forward(self, pixels: Tensor, sound: Tensor, positions: Tensor, sound_0: Tensor) -> tuple[Tensor, Tensor]:
        """pixels (T, N, C), sound (T, 1, C), positions P_v (N, C), sound_0 P_a (T, 1, C) -> the same shapes."""
        sound = self.norm1(sound + self.embed_audio(sound))
        pixels = self.norm2(pixels + self.embed_vis(pixels))
        sound = self.norm3_1(sound + self._temporal(pixels + positions, sound + sound_0, sound).mean(1, keepdim=True))
        seen, _ = self.avs_attention(pixels + positions, sound + sound_0, sound)
        sound = self.norm3_2(sound + seen.mean(1, keepdim=True))
        sound = self.norm4(sound + self.embed_audio2(sound))
        pixels = self.norm5_1(pixels + self._temporal(sound + sound_0, pixels + positions, pixels))
        seen, _ = self.avs_attention(sound + sound_0, pixels + positions, pixels)
        pixels = self.norm5_2(pixels + seen)
        return self.norm6(pixels + self.embed_av(pixels)), sound

    def _temporal(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention over T, which already comes first, with a batch of N; a frame's one token is repeated N times."""
        tokens = max(query.shape[1], key.shape[1])
        out, _ = self.avt_attention(*(x.repeat(1, tokens // x.shape[1], 1) for x in (query, key, value)))
        return out


class PlainFusion(nn.Module):
    """L plain blocks; A_vq = A_L + A_0."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            PlainBlock(config.out_chans, config.fusion_heads) for _ in range(config.fusion_depth)
        )

    def forward(self, pixels: Tensor, sound: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """pixels (T, N, C), sound (T, 1, C), positions (N, C) -> V_aq (T, N, C), A_vq (T, 1, C)."""
        sound_0 = sound
        for layer in self.layers:
            pixels, sound = layer(pixels, sound, positions, sound_0)
        return pixels, sound + sound_0


# Authors' name of a module in an ST-BAVA block -> ours.
BLOCK_NAMES = {
    "embed_audio": "audio_mlp", "embed_vis": "visual_mlp",
    "embed_audio2": "audio_out_mlp", "embed_av": "visual_out_mlp",
    "avt_attention": "temporal_attention", "avs_attention": "spatial_attention",
    "norm1": "norm_audio_mlp", "norm2": "norm_visual_mlp",
    "norm3_1": "norm_audio_temporal", "norm3_2": "norm_audio_spatial", "norm4": "norm_audio_out",
    "norm5_1": "norm_visual_temporal", "norm5_2": "norm_visual_spatial", "norm6": "norm_visual_out",
}  # fmt: skip


class Reference(nn.Module):
    """The published parts in one place, sharing the weights of ``model`` (float32, full ST-BAVA)."""

    def __init__(self, model: AvsegModel) -> None:
        super().__init__()
        config = model.config
        self.config = config
        with torch.device("meta"):
            self.vggish = VGG(make_layers(), postprocess=False)
            self.encoder = ReferenceEncoder(config)
            self.fusion = PlainFusion(config)
            transformer = SamTransformer(
                depth=2, embedding_dim=config.out_chans, num_heads=8, mlp_dim=config.decoder_mlp_dim
            )
            self.decoder = SamMaskDecoder(transformer_dim=config.out_chans, transformer=transformer)
        if config.backbone == "tiny":  # no published module has these shapes: only they are ours
            self.vggish.features, self.vggish.embeddings = copy.deepcopy([*model.vggish.children()])
            self.encoder.patch_embed = copy.deepcopy(model.image_encoder.patch_embed)
        self.audio_embed = copy.deepcopy(model.audio_embed)
        self._share(model)
        positions = model.positions(config.grid).detach()  # (N, C)
        self.register_buffer("positions", positions)
        self.eval()

    def _share(self, model: AvsegModel) -> None:
        self.vggish.load_state_dict(model.vggish.state_dict(), assign=True)
        self.decoder.load_state_dict(model.mask_decoder.state_dict(), assign=True)
        encoder = {name.removeprefix("adapters."): tensor for name, tensor in model.image_encoder.state_dict().items()}
        self.encoder.load_state_dict(encoder, assign=True)
        for layer, block in zip(self.fusion.layers, model.fusion.blocks, strict=True):
            for theirs, ours in BLOCK_NAMES.items():
                getattr(layer, theirs).load_state_dict(getattr(block, ours).state_dict(), assign=True)

    def log_mel(self, waveform: np.ndarray, rate: int = SAMPLE_RATE) -> Tensor:
        """torchvggish's numpy front end (resampling by resampy): (samples,) -> (K, 1, 96, 64) float32."""
        return waveform_to_examples(waveform, rate).detach()

    def encode(self, frames: Tensor, sound: Tensor) -> Tensor:
        """One frame at a time: (N, 3, S, S), (N, 128) -> (N, C, g, g)."""
        dtype = self.positions.dtype
        pairs = zip(frames.to(dtype).split(1), sound.to(dtype).split(1), strict=True)
        return torch.cat([self.encoder(frame, heard) for frame, heard in pairs])

    def embed_audio(self, sound: Tensor) -> Tensor:
        """VGGish vectors (T, 128) -> the normalised audio tokens A (T, 1, C)."""
        return F.normalize(self.audio_embed(sound.to(self.positions.dtype)), dim=-1)[:, None]

    def fuse(self, embeddings: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """A clip's embeddings (T, C, g, g) and audio tokens (T, 1, C) -> dense (T, C, g, g), sparse (T, 1, C)."""
        pixels, sound = self.fusion(embeddings.flatten(2).transpose(1, 2), audio, self.positions)
        return pixels.transpose(1, 2).reshape(embeddings.shape), sound

    def decode(self, embeddings: Tensor, dense: Tensor, sparse: Tensor) -> Tensor:
        """One frame at a time through SAM's decoder, the three masks upsampled, then summed -> (T, 224, 224)."""
        return torch.cat(
            [self._decode_frame(*frame) for frame in zip(embeddings.split(1), dense.split(1), sparse, strict=True)]
        )

    def _decode_frame(self, embedding: Tensor, dense: Tensor, sparse: Tensor) -> Tensor:
        grid = self.config.grid
        low, _ = self.decoder(
            image_embeddings=embedding, image_pe=self.positions.T.reshape(1, -1, grid, grid),
            sparse_prompt_embeddings=sparse[None].repeat(1, 2, 1), dense_prompt_embeddings=dense,
            multimask_output=True,
        )  # fmt: skip
        size = (self.config.image_size,) * 2
        high = F.interpolate(low.float(), size, mode="bilinear", align_corners=False)
        return F.interpolate(high, (MASK_SIZE, MASK_SIZE), mode="bilinear", align_corners=False).sum(1)

    def clip(self, frames: Tensor, log_mel: Tensor) -> Tensor:
        """Normalised frames (T, 3, S, S) and log-mel (T, 1, 96, 64) -> logits (T, 224, 224)."""
        sound = self.vggish(log_mel.to(self.positions.dtype))
        embeddings = self.encode(frames, sound)
        dense, sparse = self.fuse(embeddings, self.embed_audio(sound))
        return self.decode(embeddings, dense, sparse)
