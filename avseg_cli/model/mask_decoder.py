"""SAM's mask decoder for one prompt a frame, all frames in one batch, its three masks already summed.

Exactly segment_anything's ``MaskDecoder`` with multimask_output=True (tests compare), in a cheaper order:
projections are folded into the 7 tokens instead of running over every pixel; a transposed convolution
whose stride is its kernel is a matrix product; masks are linear in the hyper-network vectors, so these
are summed first. The parameters SAM has and this path never reads (quality head, single-mask token's
network) are kept, so that a decoder loads and saves strictly.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.model.config import ModelConfig
from avseg_cli.model.image_encoder import LayerNorm2d


class TokenAttention(nn.Module):
    """SAM decoder attention; ``rate`` narrows its inner width."""

    def __init__(self, dim: int, num_heads: int = 8, rate: int = 1) -> None:
        super().__init__()
        self.num_heads = num_heads
        inner = dim // rate
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(dim, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, dim)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, h, n, d)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Plain attention among few tokens, (B, n, C) each."""
        out = F.scaled_dot_product_attention(
            self._split(self.q_proj(q)), self._split(self.k_proj(k)), self._split(self.v_proj(v))
        )
        return self.out_proj(out.transpose(1, 2).flatten(2))

    def tokens_to_pixels(self, q: Tensor, pixels: Tensor, positions: Tensor) -> Tensor:
        """Tokens (B, n, C) look at pixels (B, N, C) at positions (N, C): key and value projections folded.

        The key bias adds the same to every logit of a query and cancels in the softmax.
        """
        heads = self._split(self.q_proj(q))  # (B, h, n, d)
        key_weight = self.k_proj.weight.unflatten(0, (self.num_heads, -1))  # (h, d, C)
        folded = (heads @ key_weight / sqrt(heads.shape[-1])).flatten(1, 2)  # (B, h*n, C)
        logits = folded @ pixels.transpose(1, 2) + folded @ positions.transpose(0, 1)  # (B, h*n, N)
        pooled = (logits.softmax(-1) @ pixels).unflatten(1, (self.num_heads, -1))  # (B, h, n, C)
        value_weight = self.v_proj.weight.unflatten(0, (self.num_heads, -1))  # (h, d, C)
        out = pooled @ value_weight.transpose(1, 2)  # (B, h, n, d)
        return self.out_proj(out.transpose(1, 2).flatten(2) + self.v_proj.bias)

    def pixels_to_tokens(self, pixels: Tensor, positions: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Pixels (B, N, C) look at tokens k, v (B, n, C): query and output projections folded into the tokens."""
        keys, values = self._split(self.k_proj(k)), self._split(self.v_proj(v))  # (B, h, n, d)
        query_weight = self.q_proj.weight.unflatten(0, (self.num_heads, -1))  # (h, d, C)
        query_bias = self.q_proj.bias.unflatten(0, (self.num_heads, -1))  # (h, d)
        keys = keys / sqrt(keys.shape[-1])
        folded = (keys @ query_weight).flatten(1, 2).transpose(1, 2)  # (B, C, h*n)
        constant = torch.einsum("bhnd,hd->bhn", keys, query_bias).flatten(1)[:, None]
        logits = pixels @ folded + (positions @ folded + constant)  # (B, N, h*n)
        weights = logits.unflatten(-1, keys.shape[1:3]).softmax(-1).flatten(2)
        out_weight = self.out_proj.weight.unflatten(1, (self.num_heads, -1))  # (C, h, d)
        out = torch.einsum("bhnd,chd->bhnc", values, out_weight).flatten(1, 2)  # (B, h*n, C)
        return weights @ out + self.out_proj.bias


class TokenMLP(nn.Module):
    """Linear, ReLU, Linear."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(dim, hidden_dim), nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(F.relu(self.lin1(x)))


class TwoWayBlock(nn.Module):
    """Tokens look at themselves, then at the pixels; then the pixels look at the tokens."""

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, first: bool) -> None:
        super().__init__()
        self.self_attn = TokenAttention(dim, num_heads)
        self.cross_attn_token_to_image = TokenAttention(dim, num_heads, rate=2)
        self.mlp = TokenMLP(dim, mlp_dim)
        self.cross_attn_image_to_token = TokenAttention(dim, num_heads, rate=2)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(dim) for _ in range(4))
        self.first = first

    def forward(self, tokens: Tensor, pixels: Tensor, prompt: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:  # SAM: no positional term, and no residual, in the first self-attention
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            query = tokens + prompt
            tokens = self.norm1(tokens + self.self_attn(query, query, tokens))
        seen = self.cross_attn_token_to_image.tokens_to_pixels(tokens + prompt, pixels, positions)
        tokens = self.norm2(tokens + seen)
        tokens = self.norm3(tokens + self.mlp(tokens))
        told = self.cross_attn_image_to_token.pixels_to_tokens(pixels, positions, tokens + prompt, tokens)
        return tokens, self.norm4(pixels + told)


class TwoWayTransformer(nn.Module):
    """Two blocks and a last look of the tokens at the pixels."""

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, depth: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(dim, num_heads, mlp_dim, i == 0) for i in range(depth))
        self.final_attn_token_to_image = TokenAttention(dim, num_heads, rate=2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(self, prompt: Tensor, pixels: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        tokens = prompt
        for layer in self.layers:
            tokens, pixels = layer(tokens, pixels, prompt, positions)
        seen = self.final_attn_token_to_image.tokens_to_pixels(tokens + prompt, pixels, positions)
        return self.norm_final_attn(tokens + seen), pixels


class HyperMLP(nn.Module):
    """Token -> weights of the last, per-pixel, product: three Linear layers with ReLU between."""

    def __init__(self, dim: int, hidden_dim: int, out_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Linear(dim, hidden_dim), nn.Linear(hidden_dim, hidden_dim), nn.Linear(hidden_dim, out_dim)]
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[2](F.relu(self.layers[1](F.relu(self.layers[0](x)))))


def quarter(x: Tensor, conv: nn.ConvTranspose2d) -> Tensor:
    """ConvTranspose2d, kernel and stride 2, as one matrix product. (..., C) -> (..., 2, 2, C'), not yet (2H, 2W)."""
    assert conv.bias is not None
    weight = conv.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (2*2*C', C)
    return F.linear(x, weight, conv.bias.repeat(4)).unflatten(-1, (2, 2, -1))


class MaskDecoder(nn.Module):
    """Parameter names are segment_anything's."""

    MASKS = 3  # multimask outputs, summed

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.out_chans
        self.transformer = TwoWayTransformer(dim, 8, config.decoder_mlp_dim)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(1 + self.MASKS, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(HyperMLP(dim, dim, dim // 8) for _ in range(1 + self.MASKS))
        self.iou_prediction_head = HyperMLP(dim, 256, 1 + self.MASKS)

    def forward(
        self, pixels: Tensor, sparse: Tensor, positions: Tensor, fine: Tensor | None = None, single: bool = False
    ) -> Tensor:
        """pixels (B, N, C) = embedding + dense prompt, sparse (B, n, C), positions (N, C) -> logits (B, 4g, 4g).

        fine: (B, N, 2*2*C/4 + 4*4*C/8), an encoder's finer features, which are added in the upscaling; (B, N, 0) and
        None are SAM's decoder. single: SAM's one mask (multimask_output=False) rather than the sum of its three.
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(len(pixels), -1, -1)
        prompt = torch.cat([own, sparse], dim=1)
        out, pixels = self.transformer(prompt, pixels, positions)
        masks = (0,) if single else range(1, 1 + self.MASKS)
        hyper = sum(self.output_hypernetworks_mlps[i](out[:, 1 + i]) for i in masks)
        return self._masks(pixels, hyper, fine if fine is not None and fine.shape[-1] else None)

    def _masks(self, pixels: Tensor, hyper: Tensor, fine: Tensor | None) -> Tensor:
        """Upscale (B, N, C) four times and multiply with hyper (B, C/8) -> (B, 4g, 4g).

        All of it goes pixel by pixel, so the four quarters of each pixel are put in their places at the end.
        """
        grid = int(sqrt(pixels.shape[1]))
        up1, norm, _, up2, _ = self.output_upscaling
        x = quarter(pixels, up1)  # (B, N, 2, 2, C/4)
        if fine is not None:
            halves, quarters = self._unfolded(fine, x.shape[-1])
            x = x + halves
        x = F.gelu(F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, norm.eps))
        x = quarter(x, up2)  # (B, N, 2, 2, 2, 2, C/8): quarters (y, x) of quarters (y, x)
        x = F.gelu(x if fine is None else x + quarters)
        masks = (x.flatten(1, -2) @ hyper[:, :, None]).view(-1, grid, grid, 2, 2, 2, 2)
        return masks.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, 4 * grid, 4 * grid)

    @staticmethod
    def _unfolded(fine: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Strides 8 and 4 as torch's pixel_unshuffle folds them -> (B, N, 2, 2, C/4), (B, N, 2, 2, 2, 2, C/8)."""
        stride8, stride4 = fine.split((4 * width, 8 * width), -1)
        halves = stride8.unflatten(-1, (width, 2, 2)).permute(0, 1, 3, 4, 2)
        quarters = stride4.unflatten(-1, (width // 2, 2, 2, 2, 2))  # channel, then y and x, each in two steps
        return halves, quarters.permute(0, 1, 3, 5, 4, 6, 2)
