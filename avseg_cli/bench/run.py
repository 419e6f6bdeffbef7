"""``avseg bench``: our model and the straightforward one, side by side in one process on the same weights and clips.

Rows are measured for one pair of precisions or, asked for all, for three: both in fp32; ours in bf16 against the
reference in fp32; both in bf16, where each side is also held against the reference in fp32.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from avseg_cli.base.arithmetic import arithmetic
from avseg_cli.base.compiler import no_compiler, refuse_without_compiler
from avseg_cli.base.errors import AvsegError, named
from avseg_cli.base.processor import processor_field
from avseg_cli.bench import measure
from avseg_cli.bench.bench_options import TRAINING_PARTS, BenchOptions
from avseg_cli.bench.compiled import compiled
from avseg_cli.bench.parts import Part, Parts, build_model, make_clips
from avseg_cli.bench.reference import Reference
from avseg_cli.bench.scaling import measure_startup
from avseg_cli.bench.training_parts import TrainingParts
from avseg_cli.checkpoints.checkpoint import choose_device, find_checkpoint, load_checkpoint
from avseg_cli.checkpoints.packing import packing_pays
from avseg_cli.checkpoints.precision import PRECISIONS, choose_precision, has_bf16
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import BACKBONES, preset
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion.stbava import STBAVA
from avseg_cli.model.inference import prepare_for_inference

Report = dict[str, Any]


NO_BF16 = "rows in bf16 are left out: this device has no bf16 arithmetic, it would be emulated"


def check_ready(options: BenchOptions) -> None:
    """Raises for a device, a precision or a model with which ``run_bench`` could do nothing."""
    device = choose_device(options.device)
    _pairs(options, device)
    if options.compiled:
        refuse_without_compiler(device.type)
    if options.checkpoint:
        _plain_model(options)
    else:
        _config(options)


def run_bench(options: BenchOptions, on_part: Callable[[str], None] = lambda _: None) -> Report:
    """Measure and compare; returns what ``--json`` prints. ``on_part`` hears which component is next.

    Raises ``CheckpointError`` or ``DeviceError`` as ``load_model`` does, and ``AvsegError`` for options
    that do not go together.
    """
    with arithmetic(options.tf32):
        return _measured(options, on_part)


def _measured(options: BenchOptions, on_part: Callable[[str], None]) -> Report:
    check_ready(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    pairs, notes = _pairs(options, device)
    rooflines = {dtype: measure.measure_roofline(device, dtype) for dtype in dict.fromkeys(sum(pairs, ()))}
    rows: list[Report] = []
    kept: dict[str, Tensor] = {}  # the reference's outputs in fp32
    config = None
    for pair in pairs:
        config, measured = _rows(options, device, pair, rooflines, kept, notes, on_part)
        rows += measured
    report = {
        "options": {**asdict(options), "truncated": _truncated(config)},
        "machine": describe_machine(device),
        "roofline": {
            _name(dtype): {"flops_per_second": roofline.flops, "copy_bytes_per_second": roofline.bytes}
            for dtype, roofline in rooflines.items()
        },
        "notes": notes,
        "rows": rows,
    }
    if "startup" in options.parts:
        on_part("startup: --help, and a video of one second")
        report["startup"] = measure_startup(device=options.device)
    return report


Pair = tuple[torch.dtype, torch.dtype]  # the reference's precision, and ours


def _pairs(options: BenchOptions, device: torch.device) -> tuple[list[Pair], list[str]]:
    """The pairs of precisions to measure, and what has to be said about them."""
    if not options.all_precisions:
        pair = choose_precision(options.reference_precision, device), choose_precision(options.precision, device)
        emulated = torch.bfloat16 in pair and not has_bf16(device)
        said = "this device has no bf16 arithmetic: it is emulated, and these times say nothing about one that has"
        return [pair], [said] if emulated else []
    fp32, bf16 = torch.float32, torch.bfloat16
    if not has_bf16(device):
        return [(fp32, fp32)], [NO_BF16]
    return [(fp32, fp32), (fp32, bf16), (bf16, bf16)], []


def _rows(
    options: BenchOptions,
    device: torch.device,
    pair: Pair,
    rooflines: dict[torch.dtype, measure.Roofline],
    kept: dict[str, Tensor],
    notes: list[str],
    on_part: Callable[[str], None],
) -> tuple[ModelConfig, list[Report]]:
    """Measure every part in one pair of precisions."""
    plain = _plain_model(options)
    config = plain.config
    frames, sound = make_clips(config, options.clips, options.seed)
    rows: list[Report] = []
    missing = no_compiler(device.type)
    note = f"the reference under torch.compile is left out: {missing}"
    if options.compiled_reference and missing and note not in notes:
        notes.append(note)

    def measured(parts: Iterable[Part]) -> None:
        for part in parts:
            on_part(f"{part.name}: {part.what}, {_name(pair[0])} against {_name(pair[1])}")
            rows.append(_row(part, device, options, pair, rooflines, kept))
            if options.compiled_reference and not missing and part.flops[0]:
                on_part(f"{part.name}: the reference under torch.compile")
                _add_compiled(rows[-1], part, device, options.repeats, notes)

    with torch.inference_mode():
        reference = Reference(plain).to(device, pair[0])
        model = prepare_for_inference(plain.set_precision(pair[1]).to(device), options.compiled, packing_pays)
        parts = Parts(reference, model, frames, sound, options.batch)
        measured(parts.build(options.parts))
    wanted = [name for name in TRAINING_PARTS if name in options.parts]
    if wanted:
        training = TrainingParts(config, options.seed, parts.frames, parts.log_mel, device, pair)
        for name in wanted:
            measured(getattr(training, name)())
    _extrapolate(rows, config)
    return config, rows


def _plain_model(options: BenchOptions) -> AvsegModel:
    if options.checkpoint is None:
        return build_model(_config(options), options.seed)
    if options.blocks:
        raise AvsegError(f"{named('blocks')} is for random weights; leave it out with {named('checkpoint')}")
    model, _ = load_checkpoint(find_checkpoint(options.checkpoint))
    _refuse_other_networks(model.config, options.checkpoint)
    if not (isinstance(model.fusion, STBAVA) and model.config.temporal and model.config.bidirectional):
        raise AvsegError(f"{options.checkpoint}: the reference is the full ST-BAVA; this checkpoint has another fusion")
    if not model.fusion.blocks:
        raise AvsegError(f"{options.checkpoint}: the reference is ST-BAVA, and this checkpoint has none of its blocks")
    return model


def _config(options: BenchOptions) -> ModelConfig:
    config = preset(options.backbone)
    _refuse_other_networks(config, options.backbone)
    if options.blocks is None:
        return config
    if not 0 < options.blocks <= config.depth:
        raise AvsegError(f"{options.backbone} has {config.depth} blocks; {named('blocks')} must be 1 to {config.depth}")
    kept = tuple(j for j in config.global_blocks if j < options.blocks)
    return replace(config, depth=options.blocks, global_blocks=kept)


def _refuse_other_networks(config: ModelConfig, subject: str) -> None:
    if config.kinds:
        compared = [name for name in BACKBONES if not preset(name).kinds]
        raise AvsegError(
            f"{subject}: the reference is of SAM's encoder and VGGish, this model has other networks; compare "
            f"{', '.join(compared)}, or time it whole with {named('scaling')}"
        )


def _truncated(config: ModelConfig) -> str | None:
    whole = preset(config.backbone)
    if config.depth == whole.depth:
        return None
    return (
        f"encoder cut to {config.depth} of {whole.depth} blocks "
        f"({len(config.global_blocks)} of {len(whole.global_blocks)} global)"
    )


def _row(
    part: Part,
    device: torch.device,
    options: BenchOptions,
    pair: Pair,
    rooflines: dict[torch.dtype, measure.Roofline],
    kept: dict[str, Tensor],
) -> Report:
    reference, ours = measure.compare(part.reference, part.ours, device, options.repeats)
    sides = {}
    for name, side, flops, dtype in zip(("reference", "ours"), (reference, ours), part.flops, pair, strict=True):
        share = flops / side.seconds / rooflines[dtype].flops if flops else None
        sides[name] = {
            "precision": _name(dtype),
            "seconds": side.seconds,
            "all_seconds": side.times,
            "cpu_seconds": side.cpu_seconds,
            "peak_bytes": side.peak_bytes,
            "flops": flops or None,
            "share_of_roofline": share,
        }
    row = {
        "part": part.name,
        "what": part.what,
        "encoded_frames": part.encoded,
        **sides,
        "speedup": reference.seconds / ours.seconds,
        "cpu_speedup": reference.cpu_seconds / ours.cpu_seconds,
        "memory_ratio": reference.peak_bytes / max(1, ours.peak_bytes),
        **_agreement(reference.output, ours.output, part.has_masks),
    }
    if pair == (torch.float32, torch.float32):
        kept[part.name] = reference.output.cpu()
    elif pair == (torch.bfloat16, torch.bfloat16) and part.name in kept:
        row["against_fp32"] = {
            name: _agreement(kept[part.name], side.output.cpu(), part.has_masks)
            for name, side in (("reference", reference), ("ours", ours))
        }
    return row


def _add_compiled(row: Report, part: Part, device: torch.device, repeats: int, notes: list[str]) -> None:
    """The reference once more, compiled; a note where the compiler fails."""
    try:
        row["compiled_reference"] = compiled(part, device, repeats)
    except Exception as error:  # any of the compiler's, and of what it calls
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        notes.append(f"{part.name}: the reference could not be compiled ({reason})")


def _agreement(reference: Tensor, ours: Tensor, has_masks: bool) -> Report:
    """Of masks themselves, not of logits: the share of their pixels that differ."""
    if reference.dtype == torch.bool:
        return {"relative_error": (reference != ours).float().mean().item(), "mask_iou": _iou(reference, ours)}
    return {
        "relative_error": measure.relative_error(reference, ours),
        "mask_iou": mask_iou(reference, ours) if has_masks else None,
    }


def _extrapolate(rows: list[Report], config: ModelConfig) -> None:
    """Where the encoder was cut: what each row would take with the whole of it, by arithmetic.

    The time of the cut encoder, as measured, is scaled by the ratio of operations; the rest of a row stays.
    """
    encoder = next((row for row in rows if row["part"] == "encoder"), None)
    if encoder is None or _truncated(config) is None:
        return
    whole = _encoder_flops(preset(config.backbone))
    ratio = {name: whole[name] / flops for name, flops in _encoder_flops(config).items()}
    for row in rows:
        if row["encoded_frames"] is None:
            continue
        seconds = {}
        for index, name in enumerate(("reference", "ours")):
            share = row["encoded_frames"][index] / encoder["encoded_frames"][index]
            seconds[name] = row[name]["seconds"] + share * encoder[name]["seconds"] * (ratio[name] - 1)
        row["whole_by_arithmetic"] = {**seconds, "speedup": seconds["reference"] / seconds["ours"]}


def _encoder_flops(config: ModelConfig) -> dict[str, int]:
    with torch.device("meta"):
        model = AvsegModel(config).eval().requires_grad_(False)
        reference = Reference(model)
    return {
        "reference": measure.encoder_flops(reference.encode, config),
        "ours": measure.encoder_flops(model.embed_frames, config),
    }


def mask_iou(reference: Tensor, ours: Tensor) -> float:
    """Mean IoU of masks cut at each frame's median reference logit: half of every picture, whatever the weights."""
    cut = reference.flatten(1).median(1).values[:, None, None]
    return _iou(reference > cut, ours > cut)


def _iou(theirs: Tensor, mine: Tensor) -> float:
    union = (theirs | mine).sum((1, 2)).clamp(min=1)
    return ((theirs & mine).sum((1, 2)) / union).mean().item()


def describe_machine(device: torch.device) -> Report:
    """What the figures belong to."""
    machine = {
        "device": str(device),
        "processor": processor_field("model name"),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "system": platform.system(),
        "bf16_in_hardware": has_bf16(device),
    }
    if device.type == "cuda":
        machine["gpu"] = torch.cuda.get_device_name(device)
    return machine


def _name(dtype: torch.dtype) -> str:
    return next(name for name, kind in PRECISIONS.items() if kind == dtype)
