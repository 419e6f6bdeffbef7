"""The model once more, word for word as published and in no hurry: what ours must agree with, and is timed against.

segment_anything's encoder and decoder and torchvggish's network and front end as they are, one frame at a time;
ST-BAVA is a plain transcription of the paper (section 3.3) with nn.MultiheadAttention over repeated tokens; three
masks are upsampled and then summed. Parameters have the names of the authors' published code.
"""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, TwoWayTransformer
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from torch import Tensor, nn
from torch.nn import functional as F
from torchvggish.torchvggish import VGG, make_layers
from torchvggish.vggish_input import waveform_to_examples

from avseg_cli.checkpoints.names import rename
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion import FUSIONS
from avseg_cli.model.fusion.stbava import STBAVA
from avseg_cli.model.log_mel import SAMPLE_RATE

MASK_SIZE = 224  # pixels; AVSBench's masks
HEADS = 8


def sam_encoder(config: ModelConfig) -> ImageEncoderViT:
    """segment_anything's image encoder for a configuration."""
    return ImageEncoderViT(
        img_size=config.image_size,
        patch_size=config.patch_size,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        out_chans=config.out_chans,
        use_rel_pos=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        window_size=config.window_size,
        global_attn_indexes=config.global_blocks,
    )


def sam_decoder(config: ModelConfig) -> MaskDecoder:
    """segment_anything's mask decoder for a configuration."""
    dim = config.out_chans
    transformer = TwoWayTransformer(depth=2, embedding_dim=dim, num_heads=HEADS, mlp_dim=config.decoder_mlp_dim)
    return MaskDecoder(transformer_dim=dim, transformer=transformer)


class Perceptron(nn.Module):
    """Linear, GELU, Linear."""

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
        """v (T, N, C), a (T, 1, C), p_v (1, N, C), p_a (T, 1, C) -> v and a."""
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
        v = self.norm5_2(v + seen)
        return self.norm6(v + self.embed_av(v)), a


class PromptGenerator(nn.Module):
    """SAMA-AVS's audio adapters: a term a block, added to every token of its input."""

    def __init__(self, depth: int, embed_dim: int, audio_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.depth = depth
        self.shared_mlp = nn.Linear(hidden_dim, embed_dim)
        for j in range(depth):
            setattr(self, f"lightweight_mlp_{j}", nn.Sequential(nn.Linear(audio_dim, hidden_dim), nn.GELU()))

    def forward(self, sound: Tensor) -> list[Tensor]:
        """(1, 128) -> a term (1, C) for each block."""
        return [self.shared_mlp(getattr(self, f"lightweight_mlp_{j}")(sound)) for j in range(self.depth)]


class ReferenceModel(nn.Module):
    """Everything but VGGish, with random weights; ``fusion_depth`` 0 and no adapters are the paper's other rows."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.out_chans
        self.config = config
        self.image_encoder = sam_encoder(config)
        if config.adapters:
            self.image_encoder.prompt_generator = PromptGenerator(
                config.depth, config.embed_dim, config.audio_dim, config.adapter_dim
            )
        self.mask_decoder = sam_decoder(config)
        self.pe_layer = PositionEmbeddingRandom(dim // 2)
        self.audio_embed_layer = nn.Linear(config.audio_dim, dim)
        blocks = config.fusion_depth if FUSIONS[config.fusion].build is STBAVA else 0
        self.layers = nn.ModuleList(ReferenceBlock(dim) for _ in range(blocks))

    @property
    def dtype(self) -> torch.dtype:
        return self.audio_embed_layer.weight.dtype

    def positions(self) -> Tensor:
        """SAM's encoding of the grid (1, C, g, g)."""
        return self.pe_layer((self.config.grid, self.config.grid))[None]

    def encode(self, frames: Tensor, sound: Tensor) -> Tensor:
        """One frame at a time: (N, 3, S, S) and its seconds' vectors (N, 128) -> (N, C, g, g)."""
        pairs = zip(frames.to(self.dtype).split(1), sound.to(self.dtype).split(1), strict=True)
        return torch.cat([self._encode_frame(*pair) for pair in pairs])

    def _encode_frame(self, frame: Tensor, sound: Tensor) -> Tensor:
        encoder = self.image_encoder
        terms = encoder.prompt_generator(sound) if self.config.adapters else None
        x = encoder.patch_embed(frame) + encoder.pos_embed
        for j, block in enumerate(encoder.blocks):
            x = block(x if terms is None else x + terms[j].view(1, 1, 1, -1))
        return encoder.neck(x.permute(0, 3, 1, 2))

    def embed_audio(self, sound: Tensor) -> Tensor:
        """VGGish vectors (T, 128) -> the normalised audio tokens A_0 (T, 1, C)."""
        return F.normalize(self.audio_embed_layer(sound.to(self.dtype)), dim=-1)[:, None]

    def fuse(self, embeddings: Tensor, a_0: Tensor) -> tuple[Tensor, Tensor]:
        """A clip's embeddings (T, C, g, g) and audio tokens (T, 1, C) -> dense (T, C, g, g), sparse (T, 1, C)."""
        if not self.layers:
            return torch.zeros_like(embeddings), a_0
        p_v = self.positions().flatten(2).mT  # (1, N, C)
        v, a = embeddings.flatten(2).transpose(1, 2), a_0
        for block in self.layers:
            v, a = block(v, a, p_v, a_0)
        return v.transpose(1, 2).reshape(embeddings.shape), a + a_0

    def decode(
        self, embeddings: Tensor, dense: Tensor, sparse: Tensor, size: tuple[int, int] = (MASK_SIZE, MASK_SIZE)
    ) -> Tensor:
        """One frame at a time through SAM's decoder: what ``fuse`` takes and gives -> logits (T, *size)."""
        frames = zip(embeddings.split(1), dense.split(1), sparse.split(1), strict=True)
        return torch.cat([self._decode_frame(*frame, size) for frame in frames])

    def _decode_frame(self, embedding: Tensor, dense: Tensor, sparse: Tensor, size: tuple[int, int]) -> Tensor:
        """Three masks, each upsampled by way of the input size, then summed: (1, *size)."""
        masks, _ = self.mask_decoder(
            image_embeddings=embedding,
            image_pe=self.positions(),
            sparse_prompt_embeddings=sparse.repeat(1, 2, 1),
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        side = (self.config.image_size, self.config.image_size)
        masks = F.interpolate(masks.float(), side, mode="bilinear", align_corners=False)
        return F.interpolate(masks, size, mode="bilinear", align_corners=False).sum(1)

    def forward(self, frames: Tensor, sound: Tensor, size: tuple[int, int] = (MASK_SIZE, MASK_SIZE)) -> Tensor:
        """A clip's normalised frames (T, 3, S, S) and VGGish vectors (T, 128) -> logits (T, *size)."""
        embeddings = self.encode(frames, sound)
        return self.decode(embeddings, *self.fuse(embeddings, self.embed_audio(sound)), size)


class Reference(ReferenceModel):
    """The same with VGGish and its front end, sharing the weights of one of our models (float32)."""

    given_positions: Tensor

    def __init__(self, model: AvsegModel) -> None:
        config = model.config
        with torch.device("meta"):
            super().__init__(config)
            self.vggish = VGG(make_layers(), postprocess=False)
        if config.vggish_width != 1:  # no published module has these shapes: only they are ours
            self.vggish.features, self.vggish.embeddings = copy.deepcopy([*model.vggish.children()])
        if config.stem != "patch":
            self.image_encoder.patch_embed = copy.deepcopy(model.image_encoder.patch_embed)
        own = model.state_dict()
        names = {name.removeprefix("vggish."): name for name in self.state_dict()}
        theirs = rename(names, "the reference")  # ours -> the published name
        self.load_state_dict({name: own[ours] for ours, name in theirs.items()}, assign=True)
        # in float32 whatever the precision of the rest, and ours: they are compared by themselves
        positions = model.positions(config.grid).detach().T.reshape(1, -1, config.grid, config.grid)
        self.register_buffer("given_positions", positions, persistent=False)
        self.eval()

    @property
    def device(self) -> torch.device:
        return self.given_positions.device

    def positions(self) -> Tensor:
        return self.given_positions

    def log_mel(self, waveform: np.ndarray, rate: int = SAMPLE_RATE) -> Tensor:
        """torchvggish's numpy front end (resampling by resampy): (samples,) -> (K, 1, 96, 64) float32."""
        return waveform_to_examples(waveform, rate).detach()

    def clip(self, frames: Tensor, log_mel: Tensor) -> Tensor:
        """Normalised frames (T, 3, S, S) and log-mel (T, 1, 96, 64) -> logits (T, 224, 224)."""
        return self(frames, self.vggish(log_mel.to(self.dtype)))
