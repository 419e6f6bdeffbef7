"""The model once more, word for word as specified and in no hurry: what ours must agree with.

segment_anything's own modules, nn.MultiheadAttention over repeated tokens, one decoder call a frame, three
masks upsampled and then summed. Parameters have the names of the authors' published code.
"""

from __future__ import annotations

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.model.config import ModelConfig

HEADS = 8


def relative_error(ours: Tensor, reference: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((ours - reference).abs().max() / reference.abs().max())


def shake(module: nn.Module, scale: float = 0.2) -> nn.Module:
    """Seeded noise on every parameter, so that none can be mistaken for another."""
    if any(parameter.is_meta for parameter in module.parameters()):
        return module
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            spread = max(scale * float(parameter.std()) if parameter.numel() > 1 else 0.0, scale * 0.25)
            parameter.add_(torch.randn(parameter.shape, generator=generator) * spread)
    return module


def sam_encoder(config: ModelConfig) -> ImageEncoderViT:
    """segment_anything's encoder for a configuration, relative positions not zero."""
    encoder = ImageEncoderViT(
        img_size=config.image_size, patch_size=config.patch_size, embed_dim=config.embed_dim,
        depth=config.depth, num_heads=config.num_heads, mlp_ratio=4.0, out_chans=config.out_chans,
        qkv_bias=True, norm_layer=lambda dim: nn.LayerNorm(dim, eps=1e-6), use_rel_pos=True,
        window_size=config.window_size, global_attn_indexes=config.global_blocks,
    )  # fmt: skip
    return shake(encoder).eval()


def sam_decoder(config: ModelConfig) -> MaskDecoder:
    """segment_anything's mask decoder for a configuration."""
    dim = config.out_chans
    transformer = TwoWayTransformer(depth=2, embedding_dim=dim, num_heads=HEADS, mlp_dim=config.decoder_mlp_dim)
    return shake(MaskDecoder(transformer_dim=dim, transformer=transformer)).eval()


class Perceptron(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(F.gelu(self.lin1(x)))


class ReferenceBlock(nn.Module):
    """One ST-BAVA block; ``temporal`` and ``bidirectional`` leave parts out, as in the paper's ablation."""

    def __init__(self, dim: int, dropout: float = 0.1, temporal: bool = True, bidirectional: bool = True) -> None:
        super().__init__()
        self.temporal, self.bidirectional = temporal, bidirectional
        for name in ("embed_vis", "embed_audio", "embed_audio2", "embed_av"):
            setattr(self, name, Perceptron(dim))
        self.avt_attention = nn.MultiheadAttention(dim, HEADS, dropout)
        self.avs_attention = nn.MultiheadAttention(dim, HEADS, dropout, batch_first=True)
        for name in ("norm1", "norm2", "norm3_1", "norm3_2", "norm4", "norm5_1", "norm5_2", "norm6"):
            setattr(self, name, nn.LayerNorm(dim))

    def forward(self, v: Tensor, a: Tensor, p_v: Tensor, p_a: Tensor) -> tuple[Tensor, Tensor]:
        """v (T, N, C), a (T, 1, C), p_v (1, N, C), p_a (T, 1, C)."""
        pixels = v.shape[1]
        a = self.norm1(a + self.embed_audio(a))
        v = self.norm2(v + self.embed_vis(v))
        if self.bidirectional:
            if self.temporal:  # sequence T, batch N: the token stands at every pixel
                keys, values = (a + p_a).repeat(1, pixels, 1), a.repeat(1, pixels, 1)
                heard = self.avt_attention(v + p_v, keys, values)[0]  # (T, N, C)
                a = self.norm3_1(a + heard.mean(1, keepdim=True))
            heard = self.avs_attention(v + p_v, a + p_a, a)[0]
            a = self.norm3_2(a + heard.mean(1, keepdim=True))
            a = self.norm4(a + self.embed_audio2(a))
        if self.temporal:
            v = self.norm5_1(v + self.avt_attention((a + p_a).repeat(1, pixels, 1), v + p_v, v)[0])
        seen = self.avs_attention(a + p_a, v + p_v, v)[0]  # (T, 1, C)
        v = self.norm5_2(v + seen.repeat(1, pixels, 1))
        return self.norm6(v + self.embed_av(v)), a


class PromptGenerator(nn.Module):
    """The audio adapters under their published names."""

    def __init__(self, depth: int, embed_dim: int, audio_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.depth = depth
        self.shared_mlp = nn.Linear(hidden_dim, embed_dim)
        for j in range(depth):
            setattr(self, f"lightweight_mlp_{j}", nn.Sequential(nn.Linear(audio_dim, hidden_dim), nn.GELU()))

    def forward(self, sound: Tensor) -> list[Tensor]:
        return [self.shared_mlp(getattr(self, f"lightweight_mlp_{j}")(sound)) for j in range(self.depth)]


class ReferenceModel(nn.Module):
    """Everything but VGGish; ``fusion_depth`` 0 and no adapters are the paper's other rows."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, grid = config.out_chans, config.grid
        self.config = config
        self.image_encoder = sam_encoder(config)
        if config.adapters:
            self.image_encoder.prompt_generator = PromptGenerator(
                config.depth, config.embed_dim, config.audio_dim, config.adapter_dim
            )
        self.prompt_encoder = PromptEncoder(dim, (grid, grid), (config.image_size, config.image_size), 16)
        self.mask_decoder = sam_decoder(config)
        self.pe_layer = PositionEmbeddingRandom(dim // 2)
        self.audio_embed_layer = nn.Linear(config.audio_dim, dim)
        blocks = config.fusion_depth if config.fusion == "stbava" else 0
        self.layers = nn.ModuleList(ReferenceBlock(dim) for _ in range(blocks))

    def encode(self, frame: Tensor, sound: Tensor) -> Tensor:
        """One frame (1, 3, S, S) and its sound (1, 128) -> (1, C, g, g)."""
        encoder = self.image_encoder
        x = encoder.patch_embed(frame) + encoder.pos_embed
        for j, block in enumerate(encoder.blocks):
            if self.config.adapters:
                x = x + encoder.prompt_generator(sound)[j].view(1, 1, 1, -1)
            x = block(x)
        return encoder.neck(x.permute(0, 3, 1, 2))

    def fuse(self, embeddings: Tensor, a_0: Tensor) -> tuple[Tensor, Tensor]:
        """embeddings (T, C, g, g), a_0 (T, 1, C) -> dense (T, C, g, g), sparse (T, 1, C)."""
        if not self.layers:
            return torch.zeros_like(embeddings), a_0
        grid = self.config.grid
        p_v = self.pe_layer((grid, grid)).flatten(1).T[None]  # (1, N, C)
        v, a = embeddings.flatten(2).transpose(1, 2), a_0
        for block in self.layers:
            v, a = block(v, a, p_v, a_0)
        return v.transpose(1, 2).reshape(embeddings.shape), a + a_0

    def forward(self, frames: Tensor, sound: Tensor, size: tuple[int, int]) -> Tensor:
        """A clip's frames (T, 3, S, S) and VGGish vectors (T, 128) -> logits (T, *size)."""
        embeddings = torch.cat([self.encode(frames[t : t + 1], sound[t : t + 1]) for t in range(len(frames))])
        a_0 = F.normalize(self.audio_embed_layer(sound[:, None]), dim=-1)
        dense, sparse = self.fuse(embeddings, a_0)
        image_pe = self.pe_layer((self.config.grid, self.config.grid))[None]
        return torch.cat(
            [
                self.one_mask(embeddings[t : t + 1], image_pe, sparse[t : t + 1], dense[t : t + 1], size)
                for t in range(len(frames))
            ]
        )

    def one_mask(
        self, embedding: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """One frame's three masks, each upsampled by way of the input size, then summed: (1, *size)."""
        masks, _ = self.mask_decoder(
            image_embeddings=embedding, image_pe=image_pe, sparse_prompt_embeddings=sparse.repeat(1, 2, 1),
            dense_prompt_embeddings=dense, multimask_output=True,
        )  # fmt: skip
        side = (self.config.image_size, self.config.image_size)
        masks = F.interpolate(masks, side, mode="bilinear", align_corners=False)
        return F.interpolate(masks, size, mode="bilinear", align_corners=False).sum(1)
