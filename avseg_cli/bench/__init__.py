"""``avseg bench``: our model and the straightforward one, side by side in one process on the same weights and clips."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from avseg_cli.bench import measure
from avseg_cli.bench.parts import PARTS, Part, Parts, build_model, make_clips
from avseg_cli.bench.reference import Reference
from avseg_cli.errors import AvsegError
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.checkpoint import choose_device, choose_precision, find_checkpoint, load_checkpoint
from avseg_cli.model.config import ModelConfig, preset
from avseg_cli.model.inference import prepare_for_inference

Report = dict[str, Any]


@dataclass(frozen=True)
class BenchOptions:
    """What to measure. ``blocks`` runs only that many of the encoder's blocks (windowed and global in
    their usual proportion), for machines on which the whole reference takes minutes; reports say so."""

    backbone: str = "vit_b"
    blocks: int | None = None
    checkpoint: str | None = None            # weights to use instead of random ones
    parts: tuple[str, ...] = PARTS
    device: str = "auto"
    precision: str = "auto"                  # ours
    reference_precision: str = "fp32"
    clips: int = 1
    batch: int = 1                           # frames per pass of our encoder
    repeats: int = 3
    threads: int | None = None
    compiled: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.parts) - set(PARTS))
        if unknown or not self.parts:
            raise AvsegError(f"no component {', '.join(unknown) or 'chosen'}; there are {', '.join(PARTS)}")
        for name in ("clips", "batch", "repeats"):
            if getattr(self, name) < 1:
                raise AvsegError(f"--{name} must be at least 1")


def run_bench(options: BenchOptions, on_part: Callable[[str], None] = lambda _: None) -> Report:
    """Measure and compare; returns what ``--json`` prints. ``on_part`` hears which component is next.

    Raises ``CheckpointError`` or ``DeviceError`` as ``load_model`` does, and ``AvsegError`` for options
    that do not go together.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    dtypes = [choose_precision(name, device) for name in (options.reference_precision, options.precision)]
    plain = _plain_model(options)
    config = plain.config
    frames, sound = make_clips(config, options.clips, options.seed)
    with torch.inference_mode():
        reference = Reference(plain).to(device, dtypes[0])
        model = prepare_for_inference(plain.set_precision(dtypes[1]).to(device), options.compiled)
        roofline = measure.measure_roofline(device, dtypes[1])
        rows = []
        for part in Parts(reference, model, frames, sound, options.batch).build(options.parts):
            on_part(f"{part.name}: {part.what}")
            rows.append(_row(part, device, options, roofline))
    return {
        "options": {**asdict(options), "truncated": _truncated(config)},
        "precision": {"reference": _name(dtypes[0]), "ours": _name(dtypes[1])},
        "machine": describe_machine(device),
        "roofline": {"flops_per_second": roofline.flops, "copy_bytes_per_second": roofline.bytes},
        "rows": rows,
    }


def _plain_model(options: BenchOptions) -> AvsegModel:
    if options.checkpoint is None:
        return build_model(_config(options), options.seed)
    if options.blocks:
        raise AvsegError("--blocks is for random weights; leave it out with --checkpoint")
    model, _ = load_checkpoint(find_checkpoint(options.checkpoint))
    if model.config.fusion != "stbava" or not (model.config.temporal and model.config.bidirectional):
        raise AvsegError(f"{options.checkpoint}: the reference is the full ST-BAVA; this checkpoint has another fusion")
    return model


def _config(options: BenchOptions) -> ModelConfig:
    config = preset(options.backbone)
    if options.blocks is None:
        return config
    if not 0 < options.blocks <= config.depth:
        raise AvsegError(f"{options.backbone} has {config.depth} blocks; --blocks must be 1 to {config.depth}")
    kept = tuple(j for j in config.global_blocks if j < options.blocks)
    return replace(config, depth=options.blocks, global_blocks=kept)


def _truncated(config: ModelConfig) -> str | None:
    whole = preset(config.backbone)
    if config.depth == whole.depth:
        return None
    return (
        f"encoder cut to {config.depth} of {whole.depth} blocks "
        f"({len(config.global_blocks)} of {len(whole.global_blocks)} global)"
    )


def _row(part: Part, device: torch.device, options: BenchOptions, roofline: measure.Roofline) -> Report:
    reference, ours = measure.compare(part.reference, part.ours, device, options.repeats)
    sides = {}
    for name, side, flops in zip(("reference", "ours"), (reference, ours), part.flops, strict=True):
        share = flops / side.seconds / roofline.flops if flops else None
        sides[name] = {
            "seconds": side.seconds, "all_seconds": side.times,
            "cpu_seconds": side.cpu_seconds, "peak_bytes": side.peak_bytes,
            "flops": flops or None, "share_of_roofline": share,
        }  # fmt: skip
    return {
        "part": part.name,
        "what": part.what,
        **sides,
        "speedup": reference.seconds / ours.seconds,
        "cpu_speedup": reference.cpu_seconds / ours.cpu_seconds,
        "memory_ratio": reference.peak_bytes / max(1, ours.peak_bytes),
        "relative_error": measure.relative_error(reference.output, ours.output),
        "mask_iou": mask_iou(reference.output, ours.output) if part.has_masks else None,
    }


def mask_iou(reference: Tensor, ours: Tensor) -> float:
    """Mean IoU of masks cut at each frame's median reference logit: half of every picture, whatever the weights."""
    cut = reference.flatten(1).median(1).values[:, None, None]
    theirs, mine = reference > cut, ours > cut
    union = (theirs | mine).sum((1, 2)).clamp(min=1)
    return ((theirs & mine).sum((1, 2)) / union).mean().item()


def describe_machine(device: torch.device) -> Report:
    """What the figures belong to."""
    machine = {
        "device": str(device), "processor": _processor(), "cores": os.cpu_count(),
        "threads": torch.get_num_threads(), "torch": torch.__version__, "system": platform.system(),
        "bf16_in_hardware": choose_precision("auto", device) == torch.bfloat16,
    }  # fmt: skip
    if device.type == "cuda":
        machine["gpu"] = torch.cuda.get_device_name(device)
    return machine


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:  # not Linux
        names = []
    return names[0] if names else platform.processor()


def _name(dtype: torch.dtype) -> str:
    return "bf16" if dtype == torch.bfloat16 else "fp32"
