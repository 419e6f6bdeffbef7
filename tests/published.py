"""The published model (bench/reference.py) with weights that cannot be mistaken for each other."""

from __future__ import annotations

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder
from torch import Tensor, nn

from avseg_cli.bench import reference
from avseg_cli.model.config import ModelConfig


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
    return shake(reference.sam_encoder(config)).eval()


def sam_decoder(config: ModelConfig) -> MaskDecoder:
    """segment_anything's mask decoder for a configuration."""
    return shake(reference.sam_decoder(config)).eval()


def published_model(config: ModelConfig) -> reference.ReferenceModel:
    """All that a checkpoint of the authors' code holds but VGGish: SAM's prompt encoder is in it, and not used."""
    model = reference.ReferenceModel(config)
    size = (config.image_size, config.image_size)
    model.prompt_encoder = PromptEncoder(config.out_chans, (config.grid, config.grid), size, 16)
    return shake(model).eval()
